//! The arithmetic of distances: inner product and squared Euclidean distance of `f32` vectors, inner product of `i8`
//! codes, the Hadamard transform. Each has one form per instruction set, chosen once at run time. Beside
//! `codes/kernel` this is the only unsafe code of the index.
//! Invariant: a form is reachable only through [`Kernels::available`], which lists it only if the CPU has its
//! instructions. A form only gets slices whose lengths agree and rows that exist. Every SIMD form is tested against
//! the scalar one.
//! The SIMD forms are plain loops. `map` and `fold` are compiled for any CPU: unless all is inlined, which takes luck or
//! a single codegen unit, they call a closure with a form's features once for each register.

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

/// Codes of equal length, one row after the other.
#[derive(Debug, Clone, Copy)]
pub struct CodeRows<'a> {
    codes: &'a [i8],
    dim: usize,
    rows: usize,
}

impl<'a> CodeRows<'a> {
    /// The rows of `codes` (n × `dim`, row-major; a remainder belongs to no row).
    #[inline]
    pub fn new(codes: &'a [i8], dim: usize) -> CodeRows<'a> {
        CodeRows { codes, dim, rows: codes.len().checked_div(dim).unwrap_or(0) }
    }

    /// The code of `row`; empty past the end.
    #[inline]
    pub fn get(&self, row: u32) -> &'a [i8] {
        let start = row as usize * self.dim;
        self.codes.get(start..start + self.dim).unwrap_or_default()
    }
}

/// Takes a query, codes, rows and products. Row r is as many codes as the query has, starting at r times that number.
type RowsForm = unsafe fn(&[i8], &[i8], &[u32], &mut [i32]);

/// Takes columns of codes, their units, and sums, of which no column has fewer.
type SumCodes = unsafe fn(&[&[u8]], &[f32], &mut [f32]);

/// The forms of one instruction set. The inner function pointers require equal lengths and the CPU features of their
/// set; the methods ensure both.
#[derive(Debug, Clone, Copy)]
pub struct Kernels {
    /// The instruction set's name, for logs and benches.
    pub name: &'static str,
    dot_f32: unsafe fn(&[f32], &[f32]) -> f32,
    l2_f32: unsafe fn(&[f32], &[f32]) -> f32,
    dot_i8: unsafe fn(&[i8], &[i8]) -> i32,
    dot_i8_rows: RowsForm,
    hadamard: unsafe fn(&mut [f32]),
    sum_codes: SumCodes,
    mark_at_least: unsafe fn(&[f32], f32, &mut [u64]),
}

impl Kernels {
    /// Σ aᵢ·bᵢ over the shorter of the two lengths.
    #[inline]
    pub fn dot_f32(&self, a: &[f32], b: &[f32]) -> f32 {
        let n = a.len().min(b.len());
        // SAFETY: equal lengths; this CPU has the features, or `available` had not listed the form.
        unsafe { (self.dot_f32)(&a[..n], &b[..n]) }
    }

    /// Σ (aᵢ − bᵢ)² over the shorter of the two lengths.
    #[inline]
    pub fn l2_f32(&self, a: &[f32], b: &[f32]) -> f32 {
        let n = a.len().min(b.len());
        // SAFETY: as in `dot_f32`.
        unsafe { (self.l2_f32)(&a[..n], &b[..n]) }
    }

    /// Σ aᵢ·bᵢ of codes over the shorter of the two lengths, exact up to 131,071 dimensions
    /// (131,071 × 128² < 2³¹).
    #[inline]
    pub fn dot_i8(&self, a: &[i8], b: &[i8]) -> i32 {
        let n = a.len().min(b.len());
        // SAFETY: as in `dot_f32`.
        unsafe { (self.dot_i8)(&a[..n], &b[..n]) }
    }

    /// Writes [`Kernels::dot_i8`] of `query` with each of `rows` to `products`, in their order: one call for many
    /// short codes. Writes zeros if the query's length is not that of the codes, or a row does not exist.
    #[inline]
    pub fn dot_i8_rows(&self, query: &[i8], codes: CodeRows<'_>, rows: &[u32], products: &mut Vec<i32>) {
        products.clear();
        products.resize(rows.len(), 0);
        let last = rows.iter().fold(0, |last, row| last.max(*row));
        if query.len() == codes.dim && (last as usize) < codes.rows {
            // SAFETY: all of `rows` are rows of `codes`, as long as the query; as many products as rows;
            // this CPU has the features.
            unsafe { (self.dot_i8_rows)(query, codes.codes, rows, products) }
        }
    }

    /// The Hadamard transform, in place and not normalised: value i becomes the sum of all values j, each negated
    /// where i and j have an odd number of bits in common. Every form gives the same bits. Unless the length is a
    /// power of two, nothing happens.
    #[inline]
    pub fn hadamard(&self, values: &mut [f32]) {
        if values.len().is_power_of_two() {
            // SAFETY: this CPU has the features, or `available` had not listed the form.
            unsafe { (self.hadamard)(values) }
        }
    }

    /// Writes for each row Σ unit·code over the columns. Writes nothing if a column has fewer rows, or no unit. Forms
    /// differ in how they round.
    #[inline]
    pub fn sum_codes(&self, columns: &[&[u8]], units: &[f32], sums: &mut [f32]) {
        if columns.len() == units.len() && columns.iter().all(|codes| codes.len() >= sums.len()) {
            // SAFETY: a unit per column, each as long as the sums; this CPU has the features.
            unsafe { (self.sum_codes)(columns, units, sums) }
        }
    }

    /// Marks the sums that are at least `cut`: bit i % 64 of word i / 64. Only whole words are written, as many as there
    /// are.
    #[inline]
    pub fn mark_at_least(&self, sums: &[f32], cut: f32, marks: &mut [u64]) {
        let words = marks.len().min(sums.len() / 64);
        // SAFETY: 64 sums for each word; this CPU has the features.
        unsafe { (self.mark_at_least)(&sums[..words * 64], cut, &mut marks[..words]) }
    }

    /// All forms that this CPU can run, the scalar one first, the fastest last.
    pub fn available() -> Vec<Kernels> {
        let mut forms = vec![scalar::KERNELS];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
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
pub fn kernels() -> &'static Kernels {
    static CHOSEN: OnceLock<Kernels> = OnceLock::new();
    CHOSEN.get_or_init(|| Kernels::available().last().copied().unwrap_or(scalar::KERNELS))
}

/// Bytes of a cache line.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const LINE: usize = 64;
/// The most lines to prefetch. After these, the CPU recognises the pattern by itself.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const LINES: usize = 32;

/// Asks the CPU to load at least the first 2 KiB of the slice into its cache. Never faults; does nothing where the
/// instruction set has no such hint.
#[inline]
pub fn prefetch<T>(values: &[T]) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = values.as_ptr().cast::<i8>();
        let past = start.addr() % LINE;
        for line in 0..(past + size_of_val(values)).div_ceil(LINE).min(LINES) {
            // SAFETY: a hint; each line holds a byte of a live slice. SSE is part of x86_64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_sub(past).wrapping_add(line * LINE)) };
        }
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = values;
}

/// Asks the system for large pages for `size_bytes` of memory from `start` on, ideally before the first write.
/// Searches jump about in it, and each jump to a small page costs a table walk. Only a hint.
pub fn prefer_large_pages(start: *const u8, size_bytes: usize) {
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        use rustix::mm::{Advice, madvise};
        /// Bytes of a large page.
        const LARGE: usize = 2 << 20;
        let past = start.align_offset(LARGE);
        if let Some(whole) = size_bytes.checked_sub(past).map(|left| left - left % LARGE).filter(|whole| *whole > 0) {
            // SAFETY: the call changes how addresses are backed, not what they hold; unmapped addresses are refused.
            let _ = unsafe { madvise(start.wrapping_add(past).cast_mut().cast(), whole, Advice::LinuxHugepage) };
        }
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = (start, size_bytes);
}
