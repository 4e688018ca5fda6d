//! Every form against the definition, at all lengths and alignments.

use super::*;
use proptest::prelude::*;

const PACKINGS: [Packing; 2] = [Packing::Nibbles, Packing::Bits];

/// Dimension i of a code, by the layout that the room documents.
fn unpacked(packing: Packing, code: &[u8], i: usize) -> i64 {
    i64::from(match packing {
        Packing::Nibbles if i < code.len() => code[i] & 15,
        Packing::Nibbles => code[i - code.len()] >> 4,
        Packing::Bits => code[i / 8] >> (i % 8) & 1,
    })
}

fn defined(packing: Packing, query: &[i8], code: &[u8]) -> i64 {
    query.iter().enumerate().map(|(i, d)| i64::from(*d) * unpacked(packing, code, i)).sum()
}

proptest! {
    #[test]
    fn every_form_gives_the_integers_of_the_definition(
        values in prop::collection::vec(any::<i8>(), 2600), bytes in prop::collection::vec(any::<u8>(), 1500),
        width in 0usize..=300, skip in 0usize..8, rows in prop::collection::vec(any::<u32>(), 0..11),
    ) {
        for packing in PACKINGS {
            let width = width * 2 / packing.per_byte();
            let query = &values[skip..][..width * packing.per_byte()];
            let codes = PackedRows::new(&bytes[skip..], width);
            let count = ((bytes.len() - skip) / width.max(1)).min(40) as u32;
            let rows: Vec<u32> = rows.iter().map(|row| row % count).collect();
            let want: Vec<i64> = rows.iter().map(|row| defined(packing, query, codes.get(*row))).collect();
            for form in CodeKernels::available() {
                let mut products = vec![7];
                form.dot_rows(packing, query, codes, &rows, &mut products);
                let products: Vec<i64> = products.into_iter().map(i64::from).collect();
                prop_assert_eq!(&products, &want, "{} {:?} {}", form.name, packing, width);
                for (row, want) in rows.iter().zip(&want) {
                    prop_assert_eq!(i64::from(form.dot(packing, query, codes.get(*row))), *want, "{}", form.name);
                }
            }
        }
    }
}

#[test]
fn extreme_codes_of_the_largest_dimension_do_not_overflow() {
    for packing in PACKINGS {
        let code = vec![u8::MAX; 16_384 / packing.per_byte()];
        for d in [i8::MIN, i8::MAX] {
            let query = vec![d; 16_384];
            for form in CodeKernels::available() {
                assert_eq!(
                    i64::from(form.dot(packing, &query, &code)),
                    defined(packing, &query, &code),
                    "{}",
                    form.name
                );
            }
        }
    }
}

#[test]
fn rows_that_do_not_exist_and_queries_of_another_length_have_product_zero() {
    let codes = PackedRows::new(&[u8::MAX; 12], 4);
    for packing in PACKINGS {
        let whole = vec![1i8; 4 * packing.per_byte()];
        let all = whole.len() as i32 * unpacked(packing, codes.codes, 0) as i32;
        for form in CodeKernels::available() {
            let mut products = Vec::new();
            form.dot_rows(packing, &whole, codes, &[0, 3, 2], &mut products);
            assert_eq!(products, [all, 0, all], "{}", form.name);
            form.dot_rows(packing, &whole[1..], codes, &[0, 1], &mut products);
            assert_eq!(products, [0, 0], "{}", form.name);
        }
    }
}
