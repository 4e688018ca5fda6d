//! Reads two-dimensional .npy files (NumPy's format 1 to 3, C order, little-endian) of float32, and of
//! int32 or int64 for row numbers. Whatever else a file holds is refused with what was expected.

use std::fs;

use arrow::buffer::{Buffer, MutableBuffer, ScalarBuffer};

const MAGIC: &[u8] = b"\x93NUMPY";

/// A matrix, row-major; floats start at a multiple of 64 bytes, as they do in a collection.
pub struct Matrix {
    /// Rows.
    pub rows: usize,
    /// Values per row, at least 1.
    pub columns: usize,
    /// `rows` × `columns`.
    pub values: ScalarBuffer<f32>,
}

impl Matrix {
    /// All rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.columns)
    }

    /// Row `i`, if there is one.
    #[inline]
    pub fn row(&self, i: usize) -> Option<&[f32]> {
        self.values.get(i * self.columns..(i + 1) * self.columns)
    }
}

/// The float32 matrix in the file at `path`.
pub fn read_floats(path: &str) -> Result<Matrix, String> {
    let file = fs::read(path).map_err(|e| format!("{path}: {e}"))?;
    let array = parse(&file).map_err(|e| format!("{path}: {e}"))?;
    if array.kind != "<f4" {
        return Err(format!("{path}: expected float32 ('<f4'), got {:?}; convert with .astype('float32')", array.kind));
    }
    let buffer: Buffer = array.values::<4>().map(f32::from_le_bytes).collect::<MutableBuffer>().into();
    let (rows, columns) = (array.rows, array.columns);
    Ok(Matrix { rows, columns, values: ScalarBuffer::new(buffer, 0, rows * columns) })
}

/// The rows of row numbers in the file at `path`.
pub fn read_row_numbers(path: &str) -> Result<Vec<Vec<usize>>, String> {
    let file = fs::read(path).map_err(|e| format!("{path}: {e}"))?;
    let array = parse(&file).map_err(|e| format!("{path}: {e}"))?;
    let values: Vec<i64> = match array.kind {
        "<i4" => array.values::<4>().map(|bytes| i64::from(i32::from_le_bytes(bytes))).collect(),
        "<i8" => array.values::<8>().map(i64::from_le_bytes).collect(),
        other => return Err(format!("{path}: expected int32 or int64 ('<i4', '<i8'), got {other:?}")),
    };
    let number = |value: &i64| usize::try_from(*value).map_err(|_| format!("{path}: {value} is no row number"));
    values.chunks_exact(array.columns).map(|row| row.iter().map(number).collect()).collect()
}

/// What a file holds, its values still bytes.
struct Array<'a> {
    /// NumPy's name of the type, as `<f4`.
    kind: &'a str,
    rows: usize,
    columns: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    fn values<const WIDTH: usize>(&self) -> impl Iterator<Item = [u8; WIDTH]> + use<'a, WIDTH> {
        self.bytes.as_chunks::<WIDTH>().0.iter().copied()
    }
}

fn parse(file: &[u8]) -> Result<Array<'_>, String> {
    let rest = file.strip_prefix(MAGIC).ok_or("not an .npy file")?;
    let (header, bytes) = match rest {
        [1, _, a, b, rest @ ..] => rest.split_at_checked(usize::from(u16::from_le_bytes([*a, *b]))),
        [2 | 3, _, a, b, c, d, rest @ ..] => rest.split_at_checked(u32::from_le_bytes([*a, *b, *c, *d]) as usize),
        _ => return Err("expected .npy format 1, 2 or 3".to_owned()),
    }
    .ok_or("the file ends within its header")?;
    let header = std::str::from_utf8(header).map_err(|e| format!("the header is not text: {e}"))?;
    if field(header, "fortran_order")? != "False" {
        return Err("expected C order; save np.ascontiguousarray(x)".to_owned());
    }
    let kind = field(header, "descr")?.trim_matches('\'');
    let shape: Result<Vec<usize>, _> = field(header, "shape")?
        .trim_matches(['(', ')'])
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| part.parse::<usize>().map_err(|_| format!("the shape has {part:?}")))
        .collect();
    let [rows, columns] = shape?[..] else { return Err("expected two dimensions".to_owned()) };
    let width: usize = kind.trim_start_matches(['<', 'f', 'i']).parse().unwrap_or(0);
    let expected = rows.checked_mul(columns).and_then(|values| values.checked_mul(width));
    if rows == 0 || columns == 0 || width == 0 || expected != Some(bytes.len()) {
        return Err(format!("{rows} × {columns} values of {kind:?} are not {} bytes", bytes.len()));
    }
    Ok(Array { kind, rows, columns, bytes })
}

/// The text of `name`'s value in the header, a Python dictionary: `{'descr': '<f4', 'shape': (2, 3), …}`.
fn field<'a>(header: &'a str, name: &str) -> Result<&'a str, String> {
    let missing = || format!("the header has no {name:?}: {header:?}");
    let (_, rest) = header.split_once(&format!("'{name}':")).ok_or_else(missing)?;
    let rest = rest.trim_start();
    let end = if rest.starts_with('(') { rest.find(')').map(|at| at + 1) } else { rest.find([',', '}']) };
    rest.get(..end.ok_or_else(missing)?).map(str::trim_end).ok_or_else(missing)
}
