//! The answer to a request for embeddings, which is not trusted: read within a bound of bytes, then checked for the
//! number, order, dimensions and numbers of its vectors. Invariant: what comes out is one vector of finite numbers for
//! each text, in the order of the texts. No message repeats what stands in an answer.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::spec::{EncodingFormat, ProviderSpec};

/// The setting of an answer's bytes, for messages.
pub(super) const ANSWER_BYTES: &str = "provider.answer_bytes";

/// A request's body.
#[derive(Serialize)]
pub(super) struct EmbeddingRequest<'a> {
    model: &'a str,
    input: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
    /// Left out for numbers, which are the default: some services refuse a field that they do not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_format: Option<EncodingFormat>,
}

impl<'a> EmbeddingRequest<'a> {
    pub(super) fn new(spec: &'a ProviderSpec, texts: &'a [String]) -> EmbeddingRequest<'a> {
        let encoding_format = Some(spec.encoding_format).filter(|format| *format != EncodingFormat::Float);
        EmbeddingRequest { model: &spec.model, input: texts, dimensions: spec.dimensions, encoding_format }
    }
}

#[derive(Deserialize)]
struct EmbeddingAnswer {
    data: Vec<EmbeddingRow>,
}

#[derive(Deserialize)]
struct EmbeddingRow {
    index: usize,
    embedding: Coordinates,
}

/// The numbers of a vector, as numbers or as base64. A buffer for either form, as serde's untagged enums have, would
/// take many times the bytes.
struct Coordinates(Vec<f32>);

impl<'de> Deserialize<'de> for Coordinates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CoordinatesVisitor)
    }
}

struct CoordinatesVisitor;

impl<'de> Visitor<'de> for CoordinatesVisitor {
    type Value = Coordinates;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, or their bytes in base64")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Coordinates, A::Error> {
        let mut coordinates = Vec::new();
        while let Some(number) = numbers.next_element()? {
            coordinates.push(number);
        }
        Ok(Coordinates(coordinates))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Coordinates, E> {
        let bytes = STANDARD.decode(text).map_err(|_| E::custom("no base64"))?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(E::custom("no whole number of f32"));
        }
        Ok(Coordinates(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect()))
    }
}

/// What is wrong with an answer of status 200.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AnswerError {
    #[error("its answer has more than {limit} bytes, the most that the vectors asked for could have")]
    TooLong { limit: usize },
    #[error("its answer has more than {limit} bytes: ask for fewer texts at once, or raise the limit ({ANSWER_BYTES})")]
    OverLimit { limit: usize },
    #[error("its answer ended early, after {bytes} bytes")]
    Cut { bytes: usize },
    #[error("it answered with a web page: check that the url is that of its API, and look for a login page or a proxy")]
    Page,
    #[error(
        "its answer cannot be read: expected the JSON of OpenAI's embeddings, `data` with `index` and `embedding`, got \
         something else at line {line}, column {column}"
    )]
    Unreadable { line: usize, column: usize },
    #[error("expected {expected} vectors for as many texts, got {came}")]
    Count { expected: usize, came: usize },
    #[error("expected each index from 0 to {last} once, got {index} twice or out of that range")]
    Index { index: usize, last: usize },
    #[error("its vector for text {text} has a number that is not finite")]
    NotFinite { text: usize },
    #[error("one of its vectors has a number that is not finite or missing, at line {line}, column {column}")]
    NoNumber { line: usize, column: usize },
    #[error(
        "expected vectors of dimension {expected}, got {came} for text {text}: check the model and `dimensions`, or use \
         a collection of that dimension"
    )]
    Dimension { expected: usize, came: usize, text: usize },
}

/// What a batch's answer must have.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExpectedVectors {
    /// The number of texts.
    pub(super) texts: usize,
    /// The place of the first of them in the call, for messages.
    pub(super) first_text: usize,
    /// The vectors' dimension; `None` for any that all have in common.
    pub(super) dimension: Option<usize>,
}

impl ExpectedVectors {
    /// Bytes that an honest answer has at most, within `limit`.
    pub(super) fn bytes(&self, limit: usize) -> usize {
        /// A number of 17 digits with sign, point, exponent and comma, on an indented line of its own.
        const NUMBER: usize = 48;
        /// What stands around a vector, and around all of them.
        const AROUND: usize = 1_024;
        let Some(dimension) = self.dimension else { return limit };
        let vector = dimension.saturating_mul(NUMBER).saturating_add(AROUND);
        self.texts.saturating_mul(vector).saturating_add(AROUND).min(limit)
    }

    /// Reads the vectors of an answer.
    pub(super) fn read(&self, body: &[u8], page: bool) -> Result<Vec<Vec<f32>>, AnswerError> {
        if page || body.trim_ascii_start().first() == Some(&b'<') {
            return Err(AnswerError::Page);
        }
        let answer: EmbeddingAnswer = serde_json::from_slice(body).map_err(|error| unreadable(&error, body))?;
        let vectors = self.ordered(answer.data)?;
        let mut dimension = self.dimension;
        for (place, vector) in vectors.iter().enumerate() {
            let (text, came) = (self.first_text + place, vector.len());
            let expected = *dimension.get_or_insert(came.max(1));
            if came != expected {
                return Err(AnswerError::Dimension { expected, came, text });
            }
            if vector.iter().any(|number| !number.is_finite()) {
                return Err(AnswerError::NotFinite { text });
            }
        }
        Ok(vectors)
    }

    /// Puts the rows into the order of the texts.
    fn ordered(&self, rows: Vec<EmbeddingRow>) -> Result<Vec<Vec<f32>>, AnswerError> {
        if rows.len() != self.texts {
            return Err(AnswerError::Count { expected: self.texts, came: rows.len() });
        }
        let mut vectors = vec![None; self.texts];
        for row in rows {
            match vectors.get_mut(row.index) {
                Some(free @ None) => *free = Some(row.embedding.0),
                _ => return Err(AnswerError::Index { index: row.index, last: self.texts.saturating_sub(1) }),
            }
        }
        // As many rows as places and none twice: every place is taken.
        Ok(vectors.into_iter().flatten().collect())
    }
}

/// Sorts an answer that serde refused. Its own message could repeat the answer's text.
fn unreadable(error: &serde_json::Error, body: &[u8]) -> AnswerError {
    let (line, column) = (error.line(), error.column());
    if error.is_eof() {
        return AnswerError::Cut { bytes: body.len() };
    }
    // Too large for an f32, as serde_json says it.
    let too_large = error.to_string().starts_with("number out of range");
    match too_large || is_no_number(body, line, column) {
        true => AnswerError::NoNumber { line, column },
        false => AnswerError::Unreadable { line, column },
    }
}

/// Whether JSON stops at what programs write for a number that is none. JSON itself has no word for it.
fn is_no_number(body: &[u8], line: usize, column: usize) -> bool {
    let lines = body.split(|byte| *byte == b'\n').take(line.saturating_sub(1));
    let at = lines.fold(column, |at, line| at + line.len() + 1);
    // serde stands at the first letter, or behind the last.
    let around = body.get(at.saturating_sub(6)..body.len().min(at + 9)).unwrap_or_default();
    ["NaN", "nan", "Infinity", "null"].iter().any(|word| holds(around, word.as_bytes()))
}

fn holds(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// Why a body could not be collected.
pub(super) enum BodyError {
    TooLong,
    Broken(reqwest::Error),
}

/// Reads a body of at most `limit` bytes. What it announces counts before its first byte is awaited.
pub(super) async fn collect(mut response: reqwest::Response, limit: usize) -> Result<Bytes, BodyError> {
    if response.content_length().is_some_and(|announced| announced > limit as u64) {
        return Err(BodyError::TooLong);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Broken)? {
        if body.len().saturating_add(chunk.len()) > limit {
            return Err(BodyError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    const TWO: ExpectedVectors = ExpectedVectors { texts: 2, first_text: 10, dimension: Some(2) };

    fn read(body: &str) -> Result<Vec<Vec<f32>>, AnswerError> {
        TWO.read(body.as_bytes(), false)
    }

    fn rows(rows: &[(usize, &str)]) -> String {
        let rows: Vec<String> = rows
            .iter()
            .map(|(index, numbers)| format!(r#"{{"object":"embedding","index":{index},"embedding":{numbers}}}"#))
            .collect();
        format!(r#"{{"object":"list","data":[{}],"model":"m","usage":{{"total_tokens":3}}}}"#, rows.join(","))
    }

    #[test]
    fn vectors_come_in_the_order_of_the_texts() {
        let expected = vec![vec![1.0, 2.0], vec![3.0, 4.5e-3]];
        assert_eq!(read(&rows(&[(0, "[1,2]"), (1, "[3.0, 4.5e-3]")])).unwrap(), expected);
        assert_eq!(read(&rows(&[(1, "[3.0,4.5e-3]"), (0, "[1,2]")])).unwrap(), expected);
    }

    #[test]
    fn base64_and_numbers_give_the_same_vectors() {
        let base64 = |numbers: [f32; 2]| format!("{:?}", STANDARD.encode(numbers.map(f32::to_le_bytes).concat()));
        let body = rows(&[(0, &base64([1.0, -0.25])), (1, "[3,4]")]);
        assert_eq!(read(&body).unwrap(), [[1.0, -0.25], [3.0, 4.0]]);
        for bad in ["\"!\"", "\"AAA=\"", "\"AAAAAAA=\""] {
            let refused = read(&rows(&[(0, bad), (1, "[3,4]")]));
            assert!(matches!(refused, Err(AnswerError::Unreadable { .. })), "{bad}: {refused:?}");
        }
        let infinite = rows(&[(0, "[1,2]"), (1, &base64([1.0, f32::INFINITY]))]);
        assert_eq!(read(&infinite), Err(AnswerError::NotFinite { text: 11 }));
    }

    #[test]
    fn answers_that_lie_are_refused_by_what_is_wrong() {
        use AnswerError::{Count, Cut, Dimension, Index, NoNumber, Page, Unreadable};
        let whole = rows(&[(0, "[1,2]"), (1, "[3,4]")]);
        for (body, expected) in [
            (rows(&[(0, "[1,2]")]), Count { expected: 2, came: 1 }),
            (rows(&[]), Count { expected: 2, came: 0 }),
            (rows(&[(0, "[1,2]"), (1, "[1,2]"), (2, "[1,2]")]), Count { expected: 2, came: 3 }),
            (rows(&[(0, "[1,2]"), (0, "[1,2]")]), Index { index: 0, last: 1 }),
            (rows(&[(1, "[1,2]"), (2, "[1,2]")]), Index { index: 2, last: 1 }),
            (rows(&[(0, "[1,2]"), (1, "[1,2,3]")]), Dimension { expected: 2, came: 3, text: 11 }),
            (rows(&[(0, "[]"), (1, "[]")]), Dimension { expected: 2, came: 0, text: 10 }),
            (rows(&[(0, "[1,NaN]"), (1, "[1,2]")]), NoNumber { line: 1, column: 73 }),
            (rows(&[(0, "[-Infinity,2]"), (1, "[1,2]")]), NoNumber { line: 1, column: 72 }),
            (rows(&[(0, "\n[null,2]"), (1, "[1,2]")]), NoNumber { line: 2, column: 5 }),
            (rows(&[(0, "[1e39,2]"), (1, "[1,2]")]), NoNumber { line: 1, column: 74 }),
            (whole[..whole.len() - 3].to_owned(), Cut { bytes: whole.len() - 3 }),
            (String::new(), Cut { bytes: 0 }),
            (" \n<!DOCTYPE html>".to_owned(), Page),
            ("Gateway is happy".to_owned(), Unreadable { line: 1, column: 1 }),
        ] {
            assert_eq!(read(&body), Err(expected), "{body}");
        }
        assert_eq!(TWO.read(whole.as_bytes(), true), Err(Page));
        for body in [r#"{"error":"secret"}"#, r#"{"data":"secret"}"#, r#"{"data":[{"embedding":[1,2]}]}"#, "[]", "7"] {
            let refused = read(body).unwrap_err();
            assert!(matches!(refused, Unreadable { .. }), "{body}: {refused:?}");
            assert!(!refused.to_string().contains("secret"));
        }
        let deep = format!(r#"{{"data":{}"#, "[".repeat(100_000));
        assert!(matches!(read(&deep), Err(Unreadable { .. })));
    }

    #[test]
    fn without_a_known_dimension_the_first_vector_decides() {
        let any = ExpectedVectors { dimension: None, ..TWO };
        let read = |body: &str| any.read(body.as_bytes(), false);
        assert_eq!(read(&rows(&[(0, "[1,2,3]"), (1, "[4,5,6]")])).unwrap(), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        let mixed = read(&rows(&[(0, "[1,2,3]"), (1, "[4,5]")]));
        assert_eq!(mixed, Err(AnswerError::Dimension { expected: 3, came: 2, text: 11 }));
        let empty = read(&rows(&[(0, "[]"), (1, "[]")]));
        assert_eq!(empty, Err(AnswerError::Dimension { expected: 1, came: 0, text: 10 }));
    }

    #[test]
    fn of_damaged_answers_nothing_comes_but_an_error_or_vectors_of_the_right_shape() {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let base64 = format!("{:?}", STANDARD.encode([1.0_f32, -0.25].map(f32::to_le_bytes).concat()));
        let right = rows(&[(0, "[1.5,-2e-3]"), (1, &base64)]).into_bytes();
        for _ in 0..20_000 {
            let mut body = right.clone();
            for _ in 0..random.random_range(1..4) {
                let place = random.random_range(0..body.len());
                match random.random_range(0..3) {
                    0 => body[place] = random.random(),
                    1 => body[place] = b"0123456789[]{}\",:eE+-.nN"[random.random_range(0..24)],
                    _ => body.truncate(place.max(1)),
                }
            }
            if let Ok(vectors) = TWO.read(&body, false) {
                let shape = vectors.len() == 2 && vectors.iter().all(|vector| vector.len() == 2);
                assert!(shape && vectors.iter().flatten().all(|number| number.is_finite()), "{body:?}");
            }
        }
    }

    #[test]
    fn the_bytes_of_an_honest_answer_are_within_what_is_expected() {
        let vector = format!("[\n{}]", vec!["                -1.2345678901234567e-38"; 1_536].join(",\n"));
        let body = rows(&[(0, &vector), (1, &vector)]);
        let expected = ExpectedVectors { dimension: Some(1_536), ..TWO };
        assert!(body.len() <= expected.bytes(usize::MAX), "{} {}", body.len(), expected.bytes(usize::MAX));
        assert_eq!(expected.bytes(1_000), 1_000);
        assert_eq!(ExpectedVectors { dimension: None, ..expected }.bytes(1_000), 1_000);
    }
}
