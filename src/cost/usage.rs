//! The use of a bucket: a server's requests, read from its `/metrics`, and the month that follows from them.
//! Invariant: every attempt counts, failed ones too, since providers charge for them.

use serde::Serialize;

use super::prices::Month;
use crate::error::{Error, ErrorKind, Result};

/// Hours of a month, as providers count them.
pub const HOURS: f64 = 730.0;
/// An object of more bytes than this is uploaded in parts of this size, each a request.
const PART_BYTES: f64 = (16u64 << 20) as f64;

/// Shortest time from which a month is projected. In a shorter one, hourly events weigh too much or are missing.
const SHORT_S: f64 = 3_600.0;

/// Counts since the server started, without those of the start itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Seconds counted.
    pub seconds: f64,
    /// Requests that write, copy or list.
    pub writes: f64,
    /// Requests that read.
    pub reads: f64,
    /// Bytes sent to the bucket.
    pub sent_bytes: f64,
    /// Bytes received from it.
    pub received_bytes: f64,
}

impl Usage {
    /// Reads the text of an answer to `/metrics`.
    ///
    /// # Errors
    /// `Invalid` if it is not the answer of a Drumlin server.
    pub fn of_metrics(text: &str) -> Result<Usage> {
        let mut usage = Usage::default();
        let mut large_bytes = 0.0;
        let mut up = None;
        for line in text.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = name.split_once('{').unwrap_or((name, ""));
            let operation = label(labels, "operation");
            // The other figures include the requests of the start, so these are subtracted.
            let (name, value) = match name.strip_prefix("drumlin_start_") {
                Some(figure) => (figure, -value),
                None => (name.strip_prefix("drumlin_").unwrap_or(""), value),
            };
            match name {
                "up_seconds" => up = Some(value),
                "seconds" => usage.seconds += value,
                "bucket_calls_total" => match operation {
                    Some("get") => usage.reads += value,
                    Some("put" | "create" | "swap" | "copy" | "list") => usage.writes += value,
                    _ => {}
                },
                "bucket_sent_bytes_total" => {
                    usage.sent_bytes += value;
                    if operation == Some("put") {
                        large_bytes += value;
                    }
                }
                "bucket_received_bytes_total" => usage.received_bytes += value,
                _ => {}
            }
        }
        // An upper bound, since small objects are not uploaded in parts.
        usage.writes += (large_bytes / PART_BYTES).floor();
        let up = up.ok_or_else(|| {
            let what = "expected the metrics of a Drumlin server, but drumlin_up_seconds is not among them";
            Error::new(ErrorKind::Invalid, what)
        })?;
        // A server reports whole seconds.
        usage.seconds = (usage.seconds + up).max(0.0);
        Ok(usage)
    }

    /// Whether the counts cover too short a time to project a month.
    pub fn is_short(&self) -> bool {
        self.seconds < SHORT_S
    }

    /// A month at the same pace, with `stored_bytes` kept.
    pub fn month(&self, stored_bytes: u64) -> Month {
        if self.is_short() {
            return Month { stored_bytes: stored_bytes as f64, ..Month::default() };
        }
        let factor = HOURS * 3_600.0 / self.seconds;
        Month {
            stored_bytes: stored_bytes as f64,
            writes: self.writes * factor,
            reads: self.reads * factor,
            received_bytes: self.received_bytes * factor,
        }
    }
}

/// The value of a label out of `a="x",b="y"}`.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let pairs = labels.trim_end_matches('}').split(',');
    let mut values = pairs.filter_map(|pair| pair.split_once('='));
    values.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP drumlin_bucket_calls_total Calls.\n# TYPE drumlin_bucket_calls_total counter\n\
        drumlin_bucket_calls_total{operation=\"create\",outcome=\"ok\"} 700\n\
        drumlin_bucket_calls_total{operation=\"create\",outcome=\"exists\"} 20\n\
        drumlin_bucket_calls_total{operation=\"delete\",outcome=\"ok\"} 9\n\
        drumlin_bucket_calls_total{operation=\"get\",outcome=\"not_found\"} 4\n\
        drumlin_bucket_calls_total{operation=\"get\",outcome=\"ok\"} 30\n\
        drumlin_bucket_calls_total{operation=\"list\",outcome=\"ok\"} 2\n\
        drumlin_bucket_received_bytes_total{operation=\"get\"} 5000\n\
        drumlin_bucket_sent_bytes_total{operation=\"create\"} 1000\n\
        drumlin_bucket_sent_bytes_total{operation=\"put\"} 67108864\n\
        drumlin_up_seconds 3600\n";

    #[test]
    fn requests_of_every_outcome_count_and_deletes_do_not() {
        let usage = Usage::of_metrics(TEXT).unwrap();
        // 64 MiB of puts may have gone in four parts.
        assert_eq!((usage.writes, usage.reads), (726.0, 34.0));
        assert_eq!((usage.sent_bytes, usage.received_bytes, usage.seconds), (67_109_864.0, 5_000.0, 3_600.0));
        let month = usage.month(12);
        assert_eq!((month.writes, month.reads, month.stored_bytes), (726.0 * 730.0, 34.0 * 730.0, 12.0));
    }

    #[test]
    fn what_the_start_has_asked_for_is_left_out_and_below_an_hour_only_storage_is_told() {
        let start = "drumlin_start_bucket_calls_total{operation=\"get\"} 30\n\
            drumlin_start_bucket_calls_total{operation=\"create\"} 120\n\
            drumlin_start_bucket_sent_bytes_total{operation=\"create\"} 1000\n\
            drumlin_start_bucket_sent_bytes_total{operation=\"put\"} 33554432\n\
            drumlin_start_bucket_received_bytes_total{operation=\"get\"} 4000\ndrumlin_start_seconds ";
        let usage = Usage::of_metrics(&format!("{TEXT}{start}0\n")).unwrap();
        assert_eq!((usage.writes, usage.reads, usage.received_bytes), (604.0, 4.0, 1_000.0));
        assert_eq!(usage.month(12).writes, 604.0 * 730.0);
        let short = Usage::of_metrics(&format!("{TEXT}{start}1.5\n")).unwrap();
        assert_eq!(short.seconds, 3_598.5);
        assert_eq!(short.month(12), Month { stored_bytes: 12.0, ..Month::default() });
    }

    #[test]
    fn what_is_not_a_servers_metrics_is_refused() {
        for text in ["", "<html>", "drumlin_up_seconds many\n", "drumlin_bucket_calls_total 3"] {
            assert_eq!(Usage::of_metrics(text).unwrap_err().kind(), ErrorKind::Invalid, "{text:?}");
        }
    }
}
