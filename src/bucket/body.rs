//! The buffer that collects the bytes of a read object. It is one allocation, and its start is aligned to 64 bytes:
//! Arrow uses arrays in place only if they are aligned.

use std::io;

use bytes::Bytes;

/// Alignment of the first byte.
const ALIGNMENT: usize = 64;

/// A body whose length is known beforehand.
pub(super) struct Body {
    buffer: Vec<u8>,
    start: usize,
}

impl Body {
    /// Room for `length` bytes; an error if there is not enough memory.
    pub(super) fn with_capacity(length: u64) -> io::Result<Self> {
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut buffer: Vec<u8> = Vec::new();
        let padded = length.checked_add(ALIGNMENT).ok_or(io::ErrorKind::OutOfMemory)?;
        buffer.try_reserve_exact(padded).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let start = buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        buffer.resize(start, 0);
        Ok(Body { buffer, start })
    }

    /// The buffer, to which the body is appended. Beyond the announced length it grows and loses only the alignment.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> u64 {
        (self.buffer.len() - self.start) as u64
    }

    /// The collected bytes.
    pub(super) fn finish(self) -> Bytes {
        Bytes::from(self.buffer).slice(self.start..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_the_announced_length_starts_aligned() {
        for length in [0_usize, 1, 63, 64, 65, 1_000, 1 << 20] {
            let content: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let mut body = Body::with_capacity(length as u64).unwrap();
            body.buffer().extend_from_slice(&content);
            assert_eq!(body.len(), length as u64);
            let bytes = body.finish();
            assert_eq!(bytes, content);
            assert!(length == 0 || bytes.as_ptr().addr().is_multiple_of(ALIGNMENT), "{length} bytes are not aligned");
        }
    }

    #[test]
    fn an_announced_length_beyond_all_memory_is_an_error() {
        let refused = Body::with_capacity(u64::MAX).err().map(|error| error.kind());
        assert_eq!(refused, Some(io::ErrorKind::OutOfMemory));
    }
}
