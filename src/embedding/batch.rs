//! Texts of about the same length, computed together: many short texts cost half of what they cost one by one.
//! Invariants: a batch has at most [`BATCH_TOKENS`] tokens with its padding, unless it is one text; every text is in
//! exactly one batch.

use std::cmp::Reverse;

/// Tokens of one batch. More did not make the computation faster, and its memory grows with them.
pub(crate) const BATCH_TOKENS: usize = 1024;

/// A text as the encoder takes it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tokens {
    pub ids: Vec<i32>,
    /// 0, or 1 for the second text of a pair.
    pub types: Vec<i32>,
}

/// b texts of up to s tokens: matrices of b × s, row-major, padded at the end.
#[derive(Debug)]
pub(crate) struct TextBatch {
    /// Of each row: which text it is.
    pub texts: Vec<usize>,
    pub lengths: Vec<usize>,
    /// s
    pub width: usize,
    pub ids: Vec<i32>,
    pub types: Vec<i32>,
}

impl TextBatch {
    fn of(members: &[usize], texts: &[Tokens]) -> TextBatch {
        let members: Vec<(usize, &Tokens)> =
            members.iter().filter_map(|index| Some((*index, texts.get(*index)?))).collect();
        let width = members.iter().map(|(_, tokens)| tokens.ids.len()).max().unwrap_or(0);
        let padded = |of: fn(&Tokens) -> &[i32]| {
            let rows = members.iter().flat_map(|(_, tokens)| {
                let values = of(tokens);
                values.iter().copied().chain(std::iter::repeat_n(0, width - values.len()))
            });
            rows.collect()
        };
        TextBatch {
            texts: members.iter().map(|(index, _)| *index).collect(),
            lengths: members.iter().map(|(_, tokens)| tokens.ids.len()).collect(),
            width,
            ids: padded(|tokens| &tokens.ids),
            types: padded(|tokens| &tokens.types),
        }
    }

    /// b × s: 0 where there is a token, `masked` where there is padding.
    pub(crate) fn mask(&self, masked: f32) -> Vec<f32> {
        let row =
            |length: &usize| std::iter::repeat_n(0.0, *length).chain(std::iter::repeat_n(masked, self.width - *length));
        self.lengths.iter().flat_map(row).collect()
    }
}

/// All texts in batches, the longest first, so that what is padded is little.
pub(crate) fn batches(texts: &[Tokens]) -> impl Iterator<Item = TextBatch> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    let length = |index: &usize| texts.get(*index).map_or(0, |tokens| tokens.ids.len());
    order.sort_by_key(|index| Reverse(length(index)));
    let mut rest = order.into_iter().peekable();
    std::iter::from_fn(move || {
        let first = rest.next()?;
        let width = texts.get(first).map_or(0, |tokens| tokens.ids.len()).max(1);
        let mut members = vec![first];
        members.extend(rest.by_ref().take((BATCH_TOKENS / width).saturating_sub(1)));
        Some(TextBatch::of(&members, texts))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(length: usize) -> Tokens {
        Tokens { ids: vec![7; length], types: vec![0; length] }
    }

    #[test]
    fn every_text_is_in_one_batch_and_batches_are_bounded() {
        let texts: Vec<Tokens> = (0..500).map(|index| text(1 + index * 7919 % 600)).collect();
        let mut seen = Vec::new();
        for batch in batches(&texts) {
            assert!(batch.width * batch.texts.len() <= BATCH_TOKENS, "{} × {}", batch.texts.len(), batch.width);
            assert_eq!(batch.ids.len(), batch.width * batch.texts.len());
            seen.extend(batch.texts);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..500).collect::<Vec<usize>>());
    }

    #[test]
    fn shorter_texts_are_padded_and_masked() {
        let batch = batches(&[text(1), text(3)]).next().unwrap();
        assert_eq!((batch.texts.as_slice(), batch.width), ([1, 0].as_slice(), 3));
        assert_eq!(batch.ids, [7, 7, 7, 7, 0, 0]);
        assert_eq!(batch.mask(-9.0), [0.0, 0.0, 0.0, 0.0, -9.0, -9.0]);
    }
}
