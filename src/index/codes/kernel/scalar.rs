//! The portable forms, which are also what the others do with the bytes that fill no register.

use super::{CodeKernels, Forms};

pub const KERNELS: CodeKernels = CodeKernels {
    name: "scalar",
    nibbles: Forms { one: nibbles::<1>, abreast: nibbles::<4> },
    bits: Forms { one: bits::<1>, abreast: bits::<4> },
};

fn nibbles<const N: usize>(query: &[i8], codes: [&[u8]; N]) -> [i32; N] {
    codes.map(|code| nibbles_from(0, query, code))
}

fn bits<const N: usize>(query: &[i8], codes: [&[u8]; N]) -> [i32; N] {
    codes.map(|code| bits_from(0, query, code))
}

/// The product over the bytes of the code from `first` on.
pub(super) fn nibbles_from(first: usize, query: &[i8], code: &[u8]) -> i32 {
    let (low, high) = query.split_at(query.len() / 2);
    let term = |((byte, low), high): ((&u8, &i8), &i8)| {
        i32::from(byte & 15) * i32::from(*low) + i32::from(byte >> 4) * i32::from(*high)
    };
    code.iter().zip(low).zip(high).skip(first).map(term).sum()
}

/// The product over the bytes of the code from `first` on.
pub(super) fn bits_from(first: usize, query: &[i8], code: &[u8]) -> i32 {
    let eights = query.as_chunks::<8>().0;
    let term = |(byte, eight): (&u8, &[i8; 8])| -> i32 {
        eight.iter().enumerate().map(|(bit, d)| i32::from(byte >> bit & 1) * i32::from(*d)).sum()
    };
    code.iter().zip(eights).skip(first).map(term).sum()
}
