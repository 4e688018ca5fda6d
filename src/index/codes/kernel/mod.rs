//! Products of a query of 8 bits a dimension with codes of 4 bits and of 1 bit. Each has one form per instruction set,
//! chosen once at run time. Beside `index/kernel` this is the only unsafe code of the index.
//! Layout: byte j of a 4-bit code of n bytes holds dimension j in its low half and dimension n + j in its high half;
//! bit i of byte j of a 1-bit code holds dimension 8 j + i. What is past the last dimension meets zeros of the query.
//! So no form needs a code to be padded to its registers.
//! Invariant: a form is reachable only through [`CodeKernels::available`], which lists it only if the CPU has its
//! instructions, and only gets codes that are as long as the query says. All forms give the same integers.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(test)]
mod kernel_tests;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod vnni;

use std::sync::OnceLock;

use crate::index::kernel::CodeRows;

/// How many codes are multiplied side by side: a part of the query is then read once for all of them, and no sum waits
/// for the one before.
pub const ABREAST: usize = 4;

/// Takes a query and N codes of equal length.
type Form<const N: usize> = unsafe fn(&[i8], [&[u8]; N]) -> [i32; N];

/// The forms of one kind of code.
#[derive(Debug, Clone, Copy)]
struct Forms {
    one: Form<1>,
    abreast: Form<ABREAST>,
}

/// The forms of one instruction set.
#[derive(Debug, Clone, Copy)]
pub struct CodeKernels {
    /// The instruction set's name, for benches.
    pub name: &'static str,
    nibbles: Forms,
    bits: Forms,
}

/// How many bits of a code stand for a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// 4 bits, from 0 to 15.
    Nibbles,
    /// 1 bit.
    Bits,
}

impl Packing {
    /// Dimensions in a byte of a code.
    pub fn per_byte(self) -> usize {
        match self {
            Packing::Nibbles => 2,
            Packing::Bits => 8,
        }
    }
}

/// Bytes as the signed codes of 8 bits that they hold.
#[inline]
pub fn signed(codes: &[u8]) -> &[i8] {
    // SAFETY: the same bytes; u8 and i8 have one size and alignment, and every value is valid.
    unsafe { std::slice::from_raw_parts(codes.as_ptr().cast(), codes.len()) }
}

/// Codes of equal length, one row after the other.
#[derive(Debug, Clone, Copy)]
pub struct PackedRows<'a> {
    codes: &'a [u8],
    width: usize,
}

impl<'a> PackedRows<'a> {
    /// The rows of `codes` (n × `width` bytes, row-major; a remainder belongs to no row).
    pub fn new(codes: &'a [u8], width: usize) -> PackedRows<'a> {
        PackedRows { codes, width }
    }

    /// The same rows, where each byte is a code of 8 bits.
    #[inline]
    pub fn bytes(&self) -> CodeRows<'a> {
        CodeRows::new(signed(self.codes), self.width)
    }

    /// Bytes of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The code of `row`; empty past the end.
    #[inline]
    pub fn get(&self, row: u32) -> &'a [u8] {
        let start = row as usize * self.width;
        self.codes.get(start..start + self.width).unwrap_or_default()
    }
}

impl CodeKernels {
    /// Σ uᵢ·dᵢ of a code u and a query d, exact up to 2¹⁹ dimensions (15 × 128 × 2¹⁹ < 2³¹). 0 if the code is not as
    /// long as the query says.
    #[inline]
    pub fn dot(&self, packing: Packing, query: &[i8], code: &[u8]) -> i32 {
        if code.len() * packing.per_byte() != query.len() {
            return 0;
        }
        // SAFETY: the code is as long as the query says; this CPU has the features, or `available` had not listed the
        // form.
        let [product] = unsafe { (self.forms(packing).one)(query, [code]) };
        product
    }

    /// Writes [`CodeKernels::dot`] of `query` with each of `rows` to `products`, in their order. A row that does not
    /// exist has 0.
    #[inline]
    pub fn dot_rows(
        &self,
        packing: Packing,
        query: &[i8],
        codes: PackedRows<'_>,
        rows: &[u32],
        products: &mut Vec<i32>,
    ) {
        let forms = self.forms(packing);
        products.clear();
        let last = rows.iter().fold(0, |last, row| last.max(*row));
        if codes.width * packing.per_byte() != query.len() || codes.get(last).len() != codes.width {
            products.extend(rows.iter().map(|row| self.dot(packing, query, codes.get(*row))));
            return;
        }
        let (fours, rest) = rows.as_chunks::<ABREAST>();
        for [a, b, c, d] in fours {
            let abreast = [codes.get(*a), codes.get(*b), codes.get(*c), codes.get(*d)];
            // SAFETY: the last row exists, so all do; each is as long as the query says; this CPU has the features.
            products.extend(unsafe { (forms.abreast)(query, abreast) });
        }
        if let Some(first) = rest.first() {
            // What is missing is the first one again: cheaper than a loop of its own.
            let mut abreast = [codes.get(*first); ABREAST];
            abreast.iter_mut().zip(rest).for_each(|(code, row)| *code = codes.get(*row));
            // SAFETY: as above.
            let found = unsafe { (forms.abreast)(query, abreast) };
            products.extend(found.iter().take(rest.len()));
        }
    }

    #[inline]
    fn forms(&self, packing: Packing) -> Forms {
        match packing {
            Packing::Nibbles => self.nibbles,
            Packing::Bits => self.bits,
        }
    }

    /// All forms that this CPU can run, the scalar one first, the fastest last.
    pub fn available() -> Vec<CodeKernels> {
        let mut forms = vec![scalar::KERNELS];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                forms.push(avx2::KERNELS);
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
                forms.push(avx512::KERNELS);
                if is_x86_feature_detected!("avx512vnni") {
                    forms.push(vnni::KERNELS);
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            forms.push(neon::KERNELS);
        }
        forms
    }
}

/// The fastest form that this CPU can run.
#[inline]
pub fn code_kernels() -> &'static CodeKernels {
    static CHOSEN: OnceLock<CodeKernels> = OnceLock::new();
    CHOSEN.get_or_init(|| CodeKernels::available().last().copied().unwrap_or(scalar::KERNELS))
}
