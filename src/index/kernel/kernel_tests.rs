//! Every form against the definition, at all lengths and alignments.

use super::*;
use proptest::prelude::*;

/// Pairs of equal length 0..=200, starting `skip` floats into a larger buffer: any alignment.
fn floats() -> impl Strategy<Value = (Vec<f32>, Vec<f32>, usize)> {
    (0usize..=200, 0usize..8).prop_flat_map(|(n, skip)| {
        let values = prop::collection::vec(-100f32..100f32, n + skip);
        (values.clone(), values, Just(skip))
    })
}

fn codes() -> impl Strategy<Value = (Vec<i8>, Vec<i8>, usize)> {
    (0usize..=300, 0usize..8).prop_flat_map(|(n, skip)| {
        let values = prop::collection::vec(any::<i8>(), n + skip);
        (values.clone(), values, Just(skip))
    })
}

proptest! {
    #[test]
    fn every_f32_form_equals_the_scalar_one((a, b, skip) in floats()) {
        let (a, b) = (&a[skip..], &b[skip..]);
        let dot: f64 = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
        let l2: f64 = a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
        let magnitude: f64 = a.iter().zip(b).map(|(x, y)| f64::from(*x * *y).abs()).sum();
        for form in Kernels::available() {
            let (got_dot, got_l2) = (f64::from(form.dot_f32(a, b)), f64::from(form.l2_f32(a, b)));
            prop_assert!((got_dot - dot).abs() <= magnitude * 1e-5, "{}: dot {got_dot} for {dot}", form.name);
            prop_assert!((got_l2 - l2).abs() <= l2 * 1e-5, "{}: l2 {got_l2} for {l2}", form.name);
        }
    }

    #[test]
    fn every_i8_form_equals_the_scalar_one((a, b, skip) in codes()) {
        let (a, b) = (&a[skip..], &b[skip..]);
        let dot: i64 = a.iter().zip(b).map(|(x, y)| i64::from(*x) * i64::from(*y)).sum();
        for form in Kernels::available() {
            prop_assert_eq!(i64::from(form.dot_i8(a, b)), dot, "{}", form.name);
        }
    }

    #[test]
    fn every_hadamard_form_follows_the_definition_and_gives_the_same_bits(
        values in prop::collection::vec(-100f32..100f32, 256), power in 0u32..=8, skip in 0usize..8,
    ) {
        let n = 1usize << power;
        let values = &values[skip.min(256 - n)..][..n];
        let signed = |i: usize, j: usize| if (i & j).count_ones() % 2 == 1 { -1.0 } else { 1.0 };
        let want: Vec<f64> =
            (0..n).map(|i| values.iter().enumerate().map(|(j, x)| signed(i, j) * f64::from(*x)).sum()).collect();
        let mut portable = values.to_vec();
        scalar::KERNELS.hadamard(&mut portable);
        prop_assert!(portable.iter().zip(&want).all(|(got, want)| (f64::from(*got) - want).abs() < 0.05));
        for form in Kernels::available() {
            let mut got = values.to_vec();
            form.hadamard(&mut got);
            prop_assert_eq!(&got, &portable, "{}", form.name);
        }
    }

    #[test]
    fn every_form_adds_up_columns_of_codes(
        columns in prop::collection::vec(prop::collection::vec(any::<u8>(), 300), 0..6),
        units in prop::collection::vec(0f32..10.0, 6), rows in 0usize..=300, skip in 0usize..8,
    ) {
        let rows = rows.min(300 - skip);
        let codes: Vec<&[u8]> = columns.iter().map(|codes| &codes[skip..]).collect();
        let units = &units[..codes.len()];
        for form in Kernels::available() {
            let mut sums = vec![7.0; rows];
            form.sum_codes(&codes, units, &mut sums);
            for (row, sum) in sums.iter().enumerate() {
                let want: f32 = codes.iter().zip(units).map(|(codes, unit)| unit * f32::from(codes[row])).sum();
                prop_assert!((sum - want).abs() <= want * 1e-6, "{}: {sum} for {want}", form.name);
            }
        }
    }

    #[test]
    fn every_form_marks_the_sums_that_reach_a_cut(
        sums in prop::collection::vec(prop_oneof![Just(-0.0f32), Just(1.0), -2f32..2.0], 0..400), cut in -1f32..=1.0,
    ) {
        for cut in [cut, 1.0, f32::NEG_INFINITY] {
            for form in Kernels::available() {
                let mut marks = vec![9u64; sums.len() / 64];
                form.mark_at_least(&sums, cut, &mut marks);
                for (at, sum) in sums.iter().enumerate().take(marks.len() * 64) {
                    prop_assert_eq!(marks[at / 64] >> (at % 64) & 1 == 1, *sum >= cut, "{}, sum {}", form.name, at);
                }
            }
        }
    }

    #[test]
    fn products_with_rows_equal_those_with_each_row(
        (query, codes, skip) in codes(), dim in 1usize..=150, rows in prop::collection::vec(any::<u32>(), 0..14),
    ) {
        let dim = dim.min(query.len());
        let (query, codes) = (&query[..dim], CodeRows::new(&codes[skip..], dim));
        let count = (codes.rows as u32).max(1);
        let rows: Vec<u32> = rows.into_iter().map(|row| row % count).collect();
        let want: Vec<i32> = rows.iter().map(|row| scalar::KERNELS.dot_i8(query, codes.get(*row))).collect();
        for form in Kernels::available() {
            let mut products = vec![7; 3];
            form.dot_i8_rows(query, codes, &rows, &mut products);
            prop_assert_eq!(&products, &want, "{}", form.name);
        }
    }
}

#[test]
fn extreme_codes_of_the_largest_dimension_do_not_overflow() {
    for (x, y) in [(-128i8, -128i8), (-128, 127), (127, 127)] {
        let (a, b) = (vec![x; 16_384], vec![y; 16_384]);
        for form in Kernels::available() {
            let want = i32::from(x) * i32::from(y) * 16_384;
            assert_eq!(form.dot_i8(&a, &b), want, "{}", form.name);
            let mut products = Vec::new();
            form.dot_i8_rows(&a, CodeRows::new(&b, 16_384), &[0, 0, 0, 0, 0], &mut products);
            assert_eq!(products, vec![want; 5], "{}", form.name);
        }
    }
}

#[test]
fn slices_of_unequal_length_are_compared_over_the_shorter() {
    for form in Kernels::available() {
        assert_eq!(form.dot_f32(&[1.0, 2.0, 3.0], &[4.0, 5.0]), 14.0, "{}", form.name);
        assert_eq!(form.l2_f32(&[1.0], &[4.0, 5.0]), 9.0, "{}", form.name);
        assert_eq!(form.dot_i8(&[3], &[2, 7]), 6, "{}", form.name);
    }
}

#[test]
fn columns_that_are_too_short_or_have_no_unit_are_not_added_up() {
    for form in Kernels::available() {
        let mut sums = vec![7.0; 3];
        form.sum_codes(&[&[1, 2]], &[1.0], &mut sums);
        form.sum_codes(&[&[1, 2, 3]], &[], &mut sums);
        assert_eq!(sums, [7.0; 3], "{}", form.name);
    }
}

#[test]
fn rows_that_do_not_exist_and_queries_of_another_length_have_product_zero() {
    let codes = [1i8; 12];
    for form in Kernels::available() {
        let mut products = Vec::new();
        for (query, rows) in [(&[1i8; 4][..], [0, 3]), (&[1; 3], [0, 1]), (&[], [0, 0])] {
            form.dot_i8_rows(query, CodeRows::new(&codes, 4), &rows, &mut products);
            assert_eq!(products, vec![0, 0], "{}", form.name);
        }
        form.dot_i8_rows(&[], CodeRows::new(&codes, 0), &[0, 9], &mut products);
        assert_eq!(products, vec![0, 0], "{}", form.name);
    }
}
