//! Sparse vectors of `chroma_bm25`: terms as 32-bit hashes, and BM25's weight of a term in a text against a constant
//! average length.
//! Invariant: indices ascend and are distinct; with the default settings they and the values are exactly those of
//! Python's `ChromaBm25EmbeddingFunction`.

use super::tokeniser::Tokeniser;

/// The sparse vector of a text: parallel lists, by ascending index.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Encoded {
    /// Hashes of terms.
    pub indices: Vec<u32>,
    /// Weights.
    pub values: Vec<f32>,
    /// The terms. Of several with one hash, the first in the text.
    pub tokens: Vec<String>,
}

impl Tokeniser<'_> {
    /// The sparse vector of a text, which is a document or a query: `chroma_bm25` makes no difference. Its tokens are
    /// empty unless they are to be included.
    pub fn encode(&mut self, text: &str, include_tokens: bool) -> Encoded {
        let mut terms: Vec<(u32, usize)> = Vec::new();
        let (mut letters, mut ends) = (String::new(), Vec::new());
        self.each(text, |token| {
            terms.push((token.index, ends.len()));
            if include_tokens {
                letters.push_str(token.term);
                ends.push(letters.len());
            }
        });
        // Of terms with one hash, the first in the text comes first.
        terms.sort_unstable();
        let settings = self.analyser().settings();
        let (k1, b) = (settings.k1, settings.b);
        let length = terms.len() as f64;
        let mut encoded = Encoded::default();
        for equal in terms.chunk_by(|(one, _), (other, _)| one == other) {
            let Some(&(index, first)) = equal.first() else { continue };
            let tf = equal.len() as f64;
            // In this order, so that the sum is rounded as Chroma's is.
            let denominator = tf + k1 * (1.0 - b + (b * length) / settings.avg_doc_length);
            encoded.indices.push(index);
            encoded.values.push((tf * (k1 + 1.0) / denominator) as f32);
            if let Some(end) = ends.get(first) {
                let start = first.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or_default();
                encoded.tokens.push(letters.get(start..*end).unwrap_or_default().to_owned());
            }
        }
        encoded
    }
}

/// The index of a term: |MurmurHash3 x86 32 (UTF-8, seed 0) as i32|. 2³¹ has no positive i32, but a u32.
pub fn term_index(term: &str) -> u32 {
    murmur3(term.as_bytes()).cast_signed().unsigned_abs()
}

/// MurmurHash3 x86 32 with seed 0 (Austin Appleby, public domain): blocks of four bytes, then the rest.
fn murmur3(bytes: &[u8]) -> u32 {
    let scramble = |block: u32| block.wrapping_mul(0xCC9E_2D51).rotate_left(15).wrapping_mul(0x1B87_3593);
    let (blocks, rest) = bytes.as_chunks::<4>();
    let mut hash = blocks.iter().fold(0u32, |hash, block| {
        let mixed = hash ^ scramble(u32::from_le_bytes(*block));
        mixed.rotate_left(13).wrapping_mul(5).wrapping_add(0xE654_6B64)
    });
    let tail = rest.iter().rev().fold(0u32, |tail, byte| tail << 8 | u32::from(*byte));
    hash ^= scramble(tail) ^ bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85EB_CA6B);
    hash = (hash ^ hash >> 13).wrapping_mul(0xC2B2_AE35);
    hash ^ hash >> 16
}

#[cfg(test)]
#[path = "bm25_tests.rs"]
mod tests;
