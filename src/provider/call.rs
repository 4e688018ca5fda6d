//! One call: its texts in batches, several under way at once, each repeated where that can help. Invariants: no request
//! outlives its call, so dropping a call ends its requests; every wait ends with the call's deadline.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::answer::{AnswerError, BodyError, EmbeddingRequest, ExpectedVectors, collect};
use super::failure::{FailedAnswer, Remedy, RequestFailure};
use super::hosts::Admitted;
use super::settings::ProviderSettings;
use super::spec::{Endpoint, ProviderSpec};
use crate::compute::off_thread;
use crate::error::{Error, Result};

/// The longest pause before the second attempt; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause at all.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// Bytes of a failed answer that are read, for its words.
const FAILURE_BYTES: usize = 64 << 10;
/// Bytes of an answer that are read where they came.
const READ_IN_PLACE: usize = 64 << 10;

/// What the batches of one call have in common.
pub(super) struct ProviderCall<'a> {
    pub(super) client: &'a reqwest::Client,
    pub(super) limits: &'a ProviderSettings,
    pub(super) spec: &'a ProviderSpec,
    pub(super) endpoint: &'a Endpoint,
    pub(super) host: &'a Admitted,
    pub(super) dimension: Option<usize>,
    pub(super) texts: &'a [String],
    pub(super) deadline: Instant,
    /// The last failure that was to be cured by a repetition, for the message when time runs out.
    pub(super) last_failure: Mutex<Option<String>>,
}

impl ProviderCall<'_> {
    /// The vectors of all texts, in their order.
    pub(super) async fn vectors(&self) -> Result<Vec<Vec<f32>>> {
        let batches = batches(self.texts, self.limits.batch_texts, self.limits.batch_bytes);
        let answers = stream::iter(batches).map(|batch| async {
            let first_text = batch.start;
            self.batch(batch).await.map(|vectors| (first_text, vectors))
        });
        // In the order in which they end: the first failure ends the call, whatever the batches before it do.
        let answers = answers.buffer_unordered(self.limits.requests_at_once.max(1));
        let mut answers: Vec<(usize, Vec<Vec<f32>>)> = answers.try_collect().await?;
        answers.sort_unstable_by_key(|(first_text, _)| *first_text);
        let vectors: Vec<Vec<f32>> = answers.into_iter().flat_map(|(_, vectors)| vectors).collect();
        let dimension = vectors.first().map_or(0, Vec::len);
        match vectors.iter().position(|vector| vector.len() != dimension) {
            None => Ok(vectors),
            Some(text) => {
                let came = vectors.get(text).map_or(0, Vec::len);
                let error = AnswerError::Dimension { expected: dimension, came, text };
                Err(self.endpoint.bad_answer(&error).error)
            }
        }
    }

    /// The vectors of a batch, which is halved for as long as the service finds it too large.
    async fn batch(&self, batch: Range<usize>) -> Result<Vec<Vec<f32>>> {
        let mut vectors = Vec::with_capacity(batch.len());
        // A stack, with the first texts on top.
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            match self.repeat(&part).await {
                Ok(more) => vectors.extend(more),
                Err(RequestFailure { remedy: Remedy::Split, .. }) if part.len() > 1 => {
                    let middle = part.start + part.len() / 2;
                    parts.extend([middle..part.end, part.start..middle]);
                }
                Err(failure) => return Err(failure.error),
            }
        }
        Ok(vectors)
    }

    async fn repeat(&self, part: &Range<usize>) -> Result<Vec<Vec<f32>>, RequestFailure> {
        let texts = self.texts.get(part.clone()).unwrap_or_default();
        let body = serde_json::to_vec(&EmbeddingRequest::new(self.spec, texts));
        let body = body.map_err(|error| internal(Error::internal(format!("a request was not written: {error}"))))?;
        let body = Bytes::from(body);
        let expected = ExpectedVectors { texts: texts.len(), first_text: part.start, dimension: self.dimension };
        let mut failed = 0;
        loop {
            let Some(turn) = self.host.turn(self.deadline).await else { return Err(self.asked_for_too_long()) };
            let outcome = self.attempt(&body, &expected).await;
            drop(turn);
            let failure = match outcome {
                Err(failure) if matches!(failure.remedy, Remedy::Repeat { .. }) => failure,
                other => return other,
            };
            failed += 1;
            if failed >= self.limits.attempts {
                return Err(RequestFailure { error: after(&failure.error, failed), ..failure });
            }
            *self.last_failure.lock() = Some(failure.error.message().to_owned());
            tracing::debug!(failed, message = %failure.error, "repeating a request to an embedding provider");
            if let Remedy::Repeat { asked: Some(asked) } = failure.remedy {
                self.host.pause(asked);
            }
            tokio::time::sleep(jittered(failed - 1)).await;
        }
    }

    /// Sends a batch once.
    async fn attempt(&self, body: &Bytes, expected: &ExpectedVectors) -> Result<Vec<Vec<f32>>, RequestFailure> {
        let endpoint = self.endpoint;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.extend(endpoint.header.clone());
        let request = self.client.post(endpoint.url.clone()).headers(headers).body(body.clone());
        let response = request.send().await.map_err(|error| endpoint.no_answer(error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        if !(200..300).contains(&status) {
            // The body only helps to word the message.
            let body = collect(response, FAILURE_BYTES).await.unwrap_or_default();
            let texts = expected.first_text..expected.first_text + expected.texts;
            return Err(endpoint.failed(&FailedAnswer { status, headers: &headers, body: &body, texts }));
        }
        let limit = expected.bytes(self.limits.answer_bytes);
        let body = collect(response, limit).await.map_err(|error| match error {
            BodyError::TooLong if limit < self.limits.answer_bytes => {
                endpoint.bad_answer(&AnswerError::TooLong { limit })
            }
            BodyError::TooLong => endpoint.bad_answer(&AnswerError::OverLimit { limit }),
            BodyError::Broken(error) => endpoint.no_answer(error),
        })?;
        let page = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        self.read(*expected, body, page).await
    }

    /// Reads an answer, off the runtime if that takes longer than a moment: a megabyte of numbers takes some ms.
    async fn read(&self, expected: ExpectedVectors, body: Bytes, page: bool) -> Result<Vec<Vec<f32>>, RequestFailure> {
        let vectors = if body.len() <= READ_IN_PLACE {
            expected.read(&body, page)
        } else {
            off_thread(move || expected.read(&body, page)).await.map_err(|cut| internal(cut.into()))?
        };
        vectors.map_err(|error| self.endpoint.bad_answer(&error))
    }

    fn asked_for_too_long(&self) -> RequestFailure {
        let pause = self.host.pause_left().unwrap_or_default().as_secs();
        let what = format!("it asks for a pause of {pause} more seconds, longer than the call may take");
        RequestFailure { error: self.endpoint.unavailable(&what), remedy: Remedy::None }
    }
}

fn internal(error: Error) -> RequestFailure {
    RequestFailure { error: error.with_place("an embedding provider"), remedy: Remedy::None }
}

fn after(error: &Error, attempts: u32) -> Error {
    Error::new(error.kind(), format!("{} (after {attempts} attempts)", error.message()))
}

/// A random time up to a bound that doubles, so that calls that failed together do not come back together.
fn jittered(attempt: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << attempt.min(31)).min(LONGEST_PAUSE).mul_f64(rand::random::<f64>())
}

/// The texts in batches of at most so many and so many bytes. A text with more bytes stands alone.
fn batches(texts: &[String], most: usize, most_bytes: usize) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0_usize;
    for (place, text) in texts.iter().enumerate() {
        let more = bytes.saturating_add(text.len());
        match batches.last_mut() {
            Some(batch) if batch.len() < most && more <= most_bytes => {
                batch.end = place + 1;
                bytes = more;
            }
            _ => {
                batches.push(place..place + 1);
                bytes = text.len();
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_bounded_by_texts_and_bytes_and_hold_every_text_once_in_order() {
        for (lengths, most, most_bytes, expected) in [
            (vec![], 2, 10, vec![]),
            (vec![1, 1, 1, 1, 1], 2, 10, vec![0..2, 2..4, 4..5]),
            (vec![4, 4, 4], 9, 8, vec![0..2, 2..3]),
            (vec![1, 100, 1, 1], 9, 8, vec![0..1, 1..2, 2..4]),
            (vec![0, 0, 0, 1], 9, 0, vec![0..3, 3..4]),
            (vec![1, 1], 0, 0, vec![0..1, 1..2]),
        ] {
            let texts: Vec<String> = lengths.iter().map(|length| "x".repeat(*length)).collect();
            assert_eq!(batches(&texts, most, most_bytes), expected, "{lengths:?}");
        }
    }

    #[test]
    fn pauses_grow_to_their_bound() {
        for (attempt, bound) in [(0, FIRST_PAUSE), (2, FIRST_PAUSE * 4), (u32::MAX, LONGEST_PAUSE)] {
            let pauses: Vec<Duration> = (0..500).map(|_| jittered(attempt)).collect();
            assert!(pauses.iter().all(|pause| *pause <= bound), "{attempt}");
            assert!(pauses.iter().any(|pause| *pause > bound.mul_f64(0.9)), "{attempt}");
            assert!(pauses.iter().any(|pause| *pause < bound.mul_f64(0.1)), "{attempt}");
        }
    }
}
