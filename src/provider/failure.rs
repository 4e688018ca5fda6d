//! What a failed request means: whether to make it again, when, and the words for a person. Invariants: only what can
//! pass is made again; a service's own words are repeated only from its JSON errors, shortened, and never if they have
//! a part of the key.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::address::RefusedAddress;
use super::answer::{ANSWER_BYTES, AnswerError};
use super::spec::{Endpoint, refused_address};
use crate::error::{Error, ErrorKind};

/// Characters of a service's own words at most.
const WORDS: usize = 300;

/// A failed request and what can be done.
#[derive(Debug)]
pub(super) struct RequestFailure {
    pub(super) error: Error,
    pub(super) remedy: Remedy,
}

/// What may cure a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    None,
    /// The same request, after what the service asked for and a pause.
    Repeat {
        asked: Option<Duration>,
    },
    /// The same texts in smaller batches.
    Split,
}

/// A failed answer: the status, and what else of it counts.
pub(super) struct FailedAnswer<'a> {
    pub(super) status: u16,
    pub(super) headers: &'a HeaderMap,
    /// As much of the body as was read.
    pub(super) body: &'a [u8],
    /// The places of the texts that were sent, in the call.
    pub(super) texts: Range<usize>,
}

impl Endpoint {
    fn failure(&self, kind: ErrorKind, what: &str, remedy: Remedy) -> RequestFailure {
        let error = Error::new(kind, format!("the embedding provider at {}: {what}", self.authority));
        RequestFailure { error, remedy }
    }

    /// The service cannot answer now.
    pub(super) fn unavailable(&self, what: &str) -> Error {
        self.failure(ErrorKind::Unavailable, what, Remedy::None).error
    }

    /// No answer, or one that broke off.
    pub(super) fn no_answer(&self, error: reqwest::Error) -> RequestFailure {
        // The URL is the collection's maker's; the authority alone is said, once.
        let error = error.without_url();
        let causes: Vec<&(dyn std::error::Error + 'static)> =
            std::iter::successors(std::error::Error::source(&error), |cause| cause.source()).collect();
        if causes.iter().any(|cause| cause.is::<RefusedAddress>()) {
            return RequestFailure { error: refused_address(&self.authority), remedy: Remedy::None };
        }
        let what = if error.is_timeout() && error.is_connect() {
            "no connection within the time for one".to_owned()
        } else if error.is_timeout() {
            "it was silent for longer than the time for one read".to_owned()
        } else {
            let cause = causes.last().map_or_else(|| error.to_string(), |cause| cause.to_string());
            let step = if error.is_connect() { "no connection" } else { "no whole answer" };
            format!("{step}: {}{}", printable(&cause), way_out(&cause))
        };
        self.failure(ErrorKind::Unavailable, &what, Remedy::Repeat { asked: None })
    }

    /// An answer of status 200 that cannot be used.
    pub(super) fn bad_answer(&self, error: &AnswerError) -> RequestFailure {
        let (kind, remedy) = match error {
            AnswerError::Cut { .. } => (ErrorKind::Unavailable, Remedy::Repeat { asked: None }),
            // The collection's maker chose the model.
            AnswerError::Dimension { .. } => (ErrorKind::Invalid, Remedy::None),
            _ => (ErrorKind::Unavailable, Remedy::None),
        };
        let failure = self.failure(kind, &error.to_string(), remedy);
        match error {
            AnswerError::OverLimit { .. } => {
                RequestFailure { error: failure.error.of_setting(ANSWER_BYTES), ..failure }
            }
            _ => failure,
        }
    }

    /// An answer of another status.
    pub(super) fn failed(&self, answer: &FailedAnswer<'_>) -> RequestFailure {
        let status = answer.status;
        let json = serde_json::from_slice::<Value>(answer.body).unwrap_or_default();
        let words = self.own_words(&json);
        let asked = retry_after(answer.headers);
        let (kind, what, remedy) = match status {
            300..=399 => {
                (ErrorKind::Invalid, "a redirect is not followed: give the url that it leads to", Remedy::None)
            }
            401 | 403 => return self.refused_key(status),
            404 => (
                ErrorKind::Invalid,
                "expected its url to be the part before /embeddings, and a model that it has",
                Remedy::None,
            ),
            413 => return self.refused_texts(answer, "too many or too long for it", &words, Remedy::Split),
            407 => (ErrorKind::Unavailable, "the proxy wants a user and a password (provider.proxy)", Remedy::None),
            // OpenAI says 429 to an account without credit, which no pause cures.
            402 | 429 if status == 402 || has_code(&json, "insufficient_quota") => {
                (ErrorKind::Unavailable, "the account behind the key has no quota left", Remedy::None)
            }
            429 => (ErrorKind::Unavailable, "it takes no more requests now", Remedy::Repeat { asked }),
            408 => (ErrorKind::Unavailable, "it waited too long for the request", Remedy::Repeat { asked }),
            501 => (ErrorKind::Invalid, "it makes no embeddings", Remedy::None),
            // TEI's word for a failure of the model.
            424 | 500.. => (ErrorKind::Unavailable, "it failed", Remedy::Repeat { asked }),
            _ => {
                let what = "refused: check the model, `dimensions`, and that none is empty or too long";
                return self.refused_texts(answer, what, &words, Remedy::None);
            }
        };
        self.failure(kind, &format!("status {status}, {what}{words}"), remedy)
    }

    /// Texts that the service does not take, and which they are.
    fn refused_texts(&self, answer: &FailedAnswer<'_>, what: &str, words: &str, remedy: Remedy) -> RequestFailure {
        let (first, last) = (answer.texts.start, answer.texts.end.saturating_sub(1));
        let texts = if first < last { format!("texts {first} to {last}") } else { format!("text {first}") };
        self.failure(ErrorKind::Invalid, &format!("status {}, {texts} {what}{words}", answer.status), remedy)
    }

    /// A refused key. The service's own words are left out: many repeat the key. `Unavailable` and not `Unauthorized`,
    /// which would say that the key for Drumlin is wrong.
    fn refused_key(&self, status: u16) -> RequestFailure {
        let what = match &self.variable {
            Some(variable) => {
                format!("status {status}, it refuses the key in the variable {variable}: check its value")
            }
            None => format!("status {status}, it wants a key: name the variable that has it in key_variable"),
        };
        self.failure(ErrorKind::Unavailable, &what, Remedy::None)
    }

    /// What the service says of its failure, to be put behind a sentence.
    fn own_words(&self, json: &Value) -> String {
        let error = json.get("error").unwrap_or(json);
        let said = [Some(error), error.get("message"), json.get("message"), json.get("detail")];
        let Some(said) = said.into_iter().flatten().find_map(Value::as_str) else { return String::new() };
        if said.trim().is_empty() || self.key.as_ref().is_some_and(|key| key.shows_in(said)) {
            return String::new();
        }
        format!("; it says {:?}", printable(said))
    }
}

fn has_code(json: &Value, code: &str) -> bool {
    let error = json.get("error");
    ["code", "type"].iter().any(|name| error.and_then(|error| error.get(name)).and_then(Value::as_str) == Some(code))
}

/// The beginning of a text, without what could forge lines of a log.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS).collect()
}

/// Advice where a cause is known.
fn way_out(cause: &str) -> &'static str {
    let holds = |words: &[&str]| words.iter().any(|word| cause.contains(word));
    if holds(&["not valid for name", "NotValidForName"]) {
        "; the certificate is for another host: expected a url with a host that it names"
    } else if holds(&["invalid peer certificate", "UnknownIssuer", "CaUsedAsEndEntity"]) {
        "; no known authority signed its certificate: whoever runs this server names yours in SSL_CERT_FILE"
    } else if holds(&["tunnel", "proxy"]) {
        "; check the proxy (provider.proxy)"
    } else if holds(&["failed to lookup address", "Name or service not known", "No such host"]) {
        "; check the host in its url, and whether a proxy is needed (provider.proxy)"
    } else {
        ""
    }
}

/// How long an answer asks to be left alone: milliseconds (OpenAI, Azure), seconds, or a moment.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |text: &str, unit: f64| Duration::try_from_secs_f64(text.parse::<f64>().ok()? * unit).ok();
    if let Some(wait) = text("retry-after-ms").and_then(|text| number(text, 0.001)) {
        return Some(wait);
    }
    let asked = text("retry-after")?;
    number(asked, 1.0).or_else(|| {
        let until = httpdate::parse_http_date(asked).ok()?;
        Some(until.duration_since(SystemTime::now()).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ProviderKeys;
    use crate::provider::spec::ProviderSpec;

    const KEY: &str = "sk-proj-0123456789abcdef";

    fn endpoint() -> Endpoint {
        let keys = ProviderKeys::read("K=https://api.example/v1", &|_| Some(KEY.to_owned())).unwrap();
        let mut spec = ProviderSpec::openai("https://api.example/v1", "m");
        spec.key_variable = Some("K".to_owned());
        spec.endpoint(&keys, false).unwrap()
    }

    fn failed(status: u16, body: &str) -> RequestFailure {
        endpoint().failed(&FailedAnswer { status, headers: &HeaderMap::new(), body: body.as_bytes(), texts: 3..5 })
    }

    #[test]
    fn each_status_has_its_kind_and_its_remedy() {
        use ErrorKind::{Invalid, Unavailable};
        let repeat = Remedy::Repeat { asked: None };
        for (status, body, kind, remedy, said) in [
            (307, "", Invalid, Remedy::None, "redirect"),
            (400, r#"{"error":{"message":"too many tokens"}}"#, Invalid, Remedy::None, r#"it says "too many tokens""#),
            (401, r#"{"error":{"message":"no"}}"#, Unavailable, Remedy::None, "the variable K"),
            (403, "", Unavailable, Remedy::None, "the variable K"),
            (404, r#"{"error":"model \"m\" not found"}"#, Invalid, Remedy::None, "not found"),
            (402, "", Unavailable, Remedy::None, "quota"),
            (407, "", Unavailable, Remedy::None, "proxy"),
            (408, "", Unavailable, repeat, "waited"),
            (413, "", Invalid, Remedy::Split, "texts 3 to 4 too many or too long"),
            (422, r#"{"message":"batch size 64 > maximum 32"}"#, Invalid, Remedy::None, "maximum 32"),
            (429, r#"{"error":{"code":"rate_limit_exceeded"}}"#, Unavailable, repeat, "no more requests"),
            (429, r#"{"error":{"code":"insufficient_quota"}}"#, Unavailable, Remedy::None, "quota"),
            (424, r#"{"message":"Inference failed"}"#, Unavailable, repeat, "Inference failed"),
            (500, r#"{"detail":"out of memory"}"#, Unavailable, repeat, "out of memory"),
            (501, "", Invalid, Remedy::None, "no embeddings"),
            (503, "<html>secret</html>", Unavailable, repeat, "status 503"),
        ] {
            let failure = failed(status, body);
            let message = failure.error.message();
            assert_eq!((failure.error.kind(), failure.remedy), (kind, remedy), "{status} {body}");
            assert!(message.contains(said) && message.contains("api.example"), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn what_a_service_says_is_shortened_put_on_one_line_and_left_out_if_it_has_the_key() {
        let long = failed(400, &format!(r#"{{"error":"{}"}}"#, "x".repeat(10_000)));
        assert!(long.error.message().len() < 600);
        let lines = failed(400, r#"{"error":"a\nFAKE LINE\u001b[31m"}"#);
        assert!(lines.error.message().contains(r#""a FAKE LINE [31m""#), "{}", lines.error);
        for echoed in [KEY, "sk-proj-01234567****", "Bearer sk-proj-0123456789abcdef"] {
            for status in [400, 401, 403, 404, 422, 429, 500] {
                let message =
                    failed(status, &format!(r#"{{"error":{{"message":"bad key {echoed}"}}}}"#)).error.to_string();
                assert!(!message.contains("sk-proj"), "{message}");
            }
        }
    }

    #[test]
    fn the_pause_that_is_asked_for_is_read_in_each_form() {
        let future = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        for (name, text, expected_s) in [
            ("retry-after", "7", Some(7.0)),
            ("retry-after", " 0.5 ", Some(0.5)),
            ("retry-after-ms", "250", Some(0.25)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT", Some(0.0)),
            ("retry-after", future.as_str(), Some(100.0)),
            ("retry-after", "-3", None),
            ("retry-after", "soon", None),
            ("retry-after", "nan", None),
            ("retry-after", "1e300", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, text.parse().unwrap());
            let wait = retry_after(&headers).map(|wait| wait.as_secs_f64());
            let near =
                wait.zip(expected_s).map_or(wait.is_none() && expected_s.is_none(), |(a, b)| (a - b).abs() < 3.0);
            assert!(near, "{name}: {text}: {wait:?}");
        }
    }
}
