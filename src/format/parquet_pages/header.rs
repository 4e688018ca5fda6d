//! The header of a page. Its numbers are read unchecked; the reader of pages judges whether they are possible.

use parquet::basic::Encoding;
use parquet::errors::Result;

use super::contradiction;
use super::thrift::{FieldNumbers, Read, STRUCT, Stop, Thrift};

/// The kind of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageKind {
    /// An index, or a kind of a later version of the format.
    Other,
    Dictionary {
        encoding: Encoding,
        sorted: bool,
    },
    Data {
        encoding: Encoding,
        definition: Encoding,
        repetition: Encoding,
    },
    DataV2 {
        encoding: Encoding,
        nulls: u32,
        rows: u32,
        definition_bytes: u32,
        repetition_bytes: u32,
        compressed: bool,
    },
}

/// A page's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageHeader {
    pub kind: PageKind,
    /// Values, nulls included.
    pub values: u32,
    /// Bytes of the page as stored, and once expanded.
    pub stored_bytes: u64,
    pub expanded_bytes: u64,
    /// Bytes of this header.
    pub header_bytes: u64,
}

/// Reads a header at the start of `bytes`; `None` where the header continues past their end.
pub(super) fn read_header(bytes: &[u8]) -> Result<Option<PageHeader>> {
    let mut thrift = Thrift::new(bytes);
    match read(&mut thrift) {
        Ok(header) => Ok(Some(PageHeader { header_bytes: thrift.position() as u64, ..header })),
        Err(Stop::End) => Ok(None),
        Err(Stop::Wrong(what)) => Err(contradiction(format_args!("a page's header: {what}"))),
    }
}

fn read(thrift: &mut Thrift<'_>) -> Read<PageHeader> {
    let mut outer: FieldNumbers = [None; 12];
    let mut inner: [Option<FieldNumbers>; 3] = [None; 3];
    thrift.structure(|thrift, field, kind| {
        let place = match field {
            5 => 0,
            7 => 1,
            8 => 2,
            _ => return thrift.number_or_skip(field, kind, &mut outer),
        };
        let mut numbers: FieldNumbers = [None; 12];
        if kind != STRUCT {
            return Err(Stop::Wrong("expected a structure"));
        }
        thrift.structure(|thrift, field, kind| thrift.number_or_skip(field, kind, &mut numbers))?;
        if let Some(place) = inner.get_mut(place) {
            *place = Some(numbers);
        }
        Ok(())
    })?;
    let [data, dictionary, data_v2] = inner;
    let (kind, values) = match (field(&outer, 1)?, data, dictionary, data_v2) {
        (0, Some(data), _, _) => (
            PageKind::Data {
                encoding: encoding(&data, 2)?,
                definition: encoding(&data, 3)?,
                repetition: encoding(&data, 4)?,
            },
            unsigned(&data, 1)?,
        ),
        (2, _, Some(dictionary), _) => (
            PageKind::Dictionary { encoding: encoding(&dictionary, 2)?, sorted: flag(&dictionary, 3, false) },
            unsigned(&dictionary, 1)?,
        ),
        (3, _, _, Some(data)) => (
            PageKind::DataV2 {
                encoding: encoding(&data, 4)?,
                nulls: unsigned(&data, 2)?,
                rows: unsigned(&data, 3)?,
                definition_bytes: unsigned(&data, 5)?,
                repetition_bytes: unsigned(&data, 6)?,
                compressed: flag(&data, 7, true),
            },
            unsigned(&data, 1)?,
        ),
        (0 | 2 | 3, ..) => return Err(Stop::Wrong("it does not say what its kind says")),
        _ => (PageKind::Other, 0),
    };
    let (expanded_bytes, stored_bytes) = (unsigned(&outer, 2)?.into(), unsigned(&outer, 3)?.into());
    Ok(PageHeader { kind, values, stored_bytes, expanded_bytes, header_bytes: 0 })
}

fn field(numbers: &FieldNumbers, field: usize) -> Read<i64> {
    numbers.get(field).copied().flatten().ok_or(Stop::Wrong("a number is missing"))
}

fn unsigned(numbers: &FieldNumbers, at: usize) -> Read<u32> {
    u32::try_from(field(numbers, at)?).map_err(|_| Stop::Wrong("a number is out of range"))
}

fn flag(numbers: &FieldNumbers, at: usize, otherwise: bool) -> bool {
    numbers.get(at).copied().flatten().map_or(otherwise, |value| value != 0)
}

fn encoding(numbers: &FieldNumbers, at: usize) -> Read<Encoding> {
    Ok(match field(numbers, at)? {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        #[expect(deprecated, reason = "old files have levels in it")]
        4 => Encoding::BIT_PACKED,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        _ => return Err(Stop::Wrong("an unknown encoding")),
    })
}
