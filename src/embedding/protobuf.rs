//! Reading Protocol Buffers from untrusted bytes without copying them: the fields of one message, in order.
//! Nothing is allocated, and nothing recurs: whoever wants a nested message asks for its fields.
//! Invariant: no value reaches beyond the message that it is in.

use crate::error::{Error, Result};

/// One field: its number and what it holds.
pub(crate) type ProtoField<'a> = (u64, ProtoValue<'a>);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ProtoValue<'a> {
    Varint(u64),
    /// A string, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
    /// A number of 4 or 8 bytes, as they are.
    Fixed,
}

/// The fields of a message.
#[derive(Debug, Clone)]
pub(crate) struct ProtoFields<'a> {
    rest: &'a [u8],
}

impl<'a> ProtoFields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> ProtoFields<'a> {
        ProtoFields { rest: message }
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let split = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let (taken, rest) = split.ok_or_else(|| {
            Error::invalid(format!(
                "the ONNX file is damaged: a field of {length} bytes, but {} are left; was it copied whole?",
                self.rest.len()
            ))
        })?;
        self.rest = rest;
        Ok(taken)
    }

    /// 7 bits per byte, the lowest first; the top bit says that more follow.
    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?.first().copied().unwrap_or_default();
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::invalid("the ONNX file is damaged: a number of more than 64 bits"))
    }

    fn field(&mut self) -> Result<ProtoField<'a>> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => ProtoValue::Varint(self.varint()?),
            1 => self.take(8).map(|_| ProtoValue::Fixed)?,
            2 => {
                let length = self.varint()?;
                ProtoValue::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| ProtoValue::Fixed)?,
            other => return Err(Error::invalid(format!("this is not an ONNX file: a field of wire type {other}"))),
        };
        Ok((tag >> 3, value))
    }
}

impl<'a> Iterator for ProtoFields<'a> {
    type Item = Result<ProtoField<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// The numbers of a repeated integer field, packed or one by one.
pub(crate) fn push_integers(numbers: &mut Vec<u64>, value: ProtoValue<'_>) -> Result<()> {
    match value {
        ProtoValue::Varint(number) => numbers.push(number),
        ProtoValue::Bytes(packed) => {
            let mut packed = ProtoFields::of(packed);
            while !packed.rest.is_empty() {
                numbers.push(packed.varint()?);
            }
        }
        ProtoValue::Fixed => return Err(Error::invalid("this is not an ONNX file: an integer field of fixed width")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_order() {
        let message = [0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 0, 0, 0, 0];
        let fields: Result<Vec<ProtoField<'_>>> = ProtoFields::of(&message).collect();
        let expected = vec![(1, ProtoValue::Varint(150)), (2, ProtoValue::Bytes(b"hi")), (3, ProtoValue::Fixed)];
        assert_eq!(fields.unwrap(), expected);
    }

    #[test]
    fn every_prefix_of_a_message_is_read_or_refused() {
        let message = [0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 0, 0, 0, 0];
        for cut in 0..message.len() {
            let whole = [0, 3, 7].contains(&cut);
            assert_eq!(ProtoFields::of(&message[..cut]).all(|field| field.is_ok()), whole, "{cut}");
        }
        let long = ProtoFields::of(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).next().unwrap();
        assert!(long.unwrap_err().message().contains("but 0 are left"));
    }
}
