//! Thrift's compact protocol, as far as Parquet's headers and footers need it: reads numbers by their field, and skips
//! everything else. Invariant: reading allocates no memory, and nests at most [`MOST_DEPTH`] deep.

/// Most levels of nested structures.
pub(super) const MOST_DEPTH: usize = 16;

/// Why reading stopped.
pub(super) enum Stop {
    /// More bytes are needed.
    End,
    Wrong(&'static str),
}

pub(super) type Read<T> = std::result::Result<T, Stop>;

/// Numbers of one structure by their field, for the few fields that a header has.
pub(super) type FieldNumbers = [Option<i64>; 12];

/// Types of the compact protocol.
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
const SET: u8 = 10;
pub(super) const STRUCT: u8 = 12;

/// Bytes in Thrift's compact protocol.
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Thrift<'a> {
        Thrift { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Read<u8> {
        let byte = self.bytes.get(self.at).ok_or(Stop::End)?;
        self.at += 1;
        Ok(*byte)
    }

    fn pass(&mut self, count: u64) -> Read<()> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        match end {
            Some(end) if end <= self.bytes.len() => {
                self.at = end;
                Ok(())
            }
            _ => Err(Stop::End),
        }
    }

    /// A ULEB128 number.
    fn unsigned(&mut self) -> Read<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Stop::Wrong("a number beyond all bounds"))
    }

    /// A signed number: a varint in zigzag.
    fn signed(&mut self) -> Read<i64> {
        let number = self.unsigned()?;
        Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    /// Calls `take` for every field of a structure, with its number and type.
    pub(super) fn structure(&mut self, mut take: impl FnMut(&mut Self, i64, u8) -> Read<()>) -> Read<()> {
        let mut field = 0i64;
        loop {
            let byte = self.byte()?;
            let kind = byte & 0x0f;
            if kind == 0 {
                return Ok(());
            }
            field = match byte >> 4 {
                0 => self.signed()?,
                delta => field.saturating_add(delta.into()),
            };
            take(self, field, kind)?;
        }
    }

    /// Notes a number or a flag, and skips everything else.
    pub(super) fn number_or_skip(&mut self, field: i64, kind: u8, into: &mut FieldNumbers) -> Read<()> {
        let value = match kind {
            TRUE => 1,
            FALSE => 0,
            BYTE => self.byte()?.cast_signed().into(),
            4..=I64 => self.signed()?,
            _ => return self.skip(kind, MOST_DEPTH),
        };
        if let Some(place) = usize::try_from(field).ok().and_then(|field| into.get_mut(field)) {
            *place = Some(value);
        }
        Ok(())
    }

    /// The head of a list: the number of items, and their type. In a list a flag is a byte.
    pub(super) fn list(&mut self) -> Read<(u64, u8)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.unsigned()? } else { u64::from(head >> 4) };
        let item = if matches!(head & 0x0f, TRUE | FALSE) { BYTE } else { head & 0x0f };
        Ok((count, item))
    }

    pub(super) fn skip(&mut self, kind: u8, depth: usize) -> Read<()> {
        let depth = depth.checked_sub(1).ok_or(Stop::Wrong("structures too deep"))?;
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.pass(1),
            4..=I64 => self.unsigned().map(drop),
            DOUBLE => self.pass(8),
            BINARY => {
                let length = self.unsigned()?;
                self.pass(length)
            }
            LIST | SET => {
                let (count, item) = self.list()?;
                (0..count).try_for_each(|_| self.skip(item, depth))
            }
            STRUCT => self.structure(|thrift, _, kind| thrift.skip(kind, depth)),
            _ => Err(Stop::Wrong("an unknown type")),
        }
    }
}
