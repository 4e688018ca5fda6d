//! A provider as a collection's maker describes it, and what its requests need of that. Invariant: a description has
//! no secret: its key is the name of a variable, and its URL has no place for another.

use std::net::IpAddr;

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::address::AddressClass;
use super::keys::{ProviderKeys, SecretKey, is_variable};
use crate::error::{Error, Result};

/// Bytes of a URL and of a model's name at most.
const MAX_URL_BYTES: usize = 2_048;
const MAX_MODEL_BYTES: usize = 256;
/// Dimensions at most.
const MAX_DIMENSIONS: usize = 65_536;
/// The setting that allows private addresses, for messages.
const PRIVATE: &str = "provider.allow_private_addresses";

/// Which service makes a collection's vectors, as it is stored with the collection.
///
/// A field that this version does not know is refused when it is read: what it asks for may change the vectors, and
/// vectors of two kinds in one collection find nothing. A later version therefore leaves a new field out where it has
/// its default, so that earlier ones read all that they can serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProviderSpec {
    /// The API that the service speaks.
    pub kind: ProviderKind,
    /// The URL before `/embeddings`, such as `https://api.openai.com/v1`; Azure's with `?api-version=…` behind.
    pub url: String,
    /// The model's name, as the service knows it.
    pub model: String,
    /// The variable of the server's environment that has the key; none for a service without keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_variable: Option<String>,
    /// The dimensions to ask the service for; `None` leaves them to the model. Not every model lets them be chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// How the numbers travel.
    #[serde(default, skip_serializing_if = "EncodingFormat::is_float")]
    pub encoding_format: EncodingFormat,
}

/// An API for embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ProviderKind {
    /// OpenAI's `POST /v1/embeddings`, which most services speak.
    #[serde(rename = "openai")]
    OpenAi,
}

/// How the numbers of a vector stand in an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EncodingFormat {
    /// As numbers. It is the API's default, and every service has it.
    #[default]
    Float,
    /// As base64 of `f32`, little-endian: 5.3 bytes a number, where a written one has 10 to 20.
    Base64,
}

impl EncodingFormat {
    fn is_float(&self) -> bool {
        *self == EncodingFormat::Float
    }
}

/// Where the requests go, and with which key.
pub(super) struct Endpoint {
    pub(super) url: Url,
    /// Host and port, as messages name the service.
    pub(super) authority: String,
    /// The variable of the key, for messages.
    pub(super) variable: Option<String>,
    pub(super) key: Option<SecretKey>,
    pub(super) header: Option<(HeaderName, HeaderValue)>,
}

impl ProviderSpec {
    /// A service that speaks OpenAI's API, without a key and with the model's own dimension.
    pub fn openai(url: impl Into<String>, model: impl Into<String>) -> ProviderSpec {
        ProviderSpec {
            kind: ProviderKind::OpenAi,
            url: url.into(),
            model: model.into(),
            key_variable: None,
            dimensions: None,
            encoding_format: EncodingFormat::default(),
        }
    }

    /// The endpoint of this provider, if it can be used under these settings.
    ///
    /// # Errors
    /// `Invalid`: the message says what is wrong with which field.
    pub(super) fn endpoint(&self, keys: &ProviderKeys, allow_private: bool) -> Result<Endpoint> {
        self.check_fields()?;
        let base = base_url(&self.url).map_err(|why| invalid(format!("its url: {why}")))?;
        let authority = authority(&base);
        check_literal(&base, &authority, allow_private)?;
        let key = self.key_variable.as_deref().map(|variable| keys.for_url(variable, &base)).transpose()?.cloned();
        let header = key.as_ref().map(|key| header(&base, key)).transpose()?;
        let url = below(base).ok_or_else(|| invalid("its url has no path".to_owned()))?;
        Ok(Endpoint { url, authority, variable: self.key_variable.clone(), key, header })
    }

    fn check_fields(&self) -> Result<()> {
        if self.model.is_empty() || self.model.len() > MAX_MODEL_BYTES || self.model.chars().any(char::is_control) {
            let expected =
                format!("expected a model's name of 1 to {MAX_MODEL_BYTES} bytes without control characters");
            return Err(invalid(format!("{expected}, got {} bytes", self.model.len())));
        }
        if self.dimensions.is_some_and(|dimensions| !(1..=MAX_DIMENSIONS).contains(&dimensions)) {
            let came = self.dimensions.unwrap_or_default();
            return Err(invalid(format!("expected 1 to {MAX_DIMENSIONS} dimensions, got {came}")));
        }
        // Somebody may have put the key itself here: it is not repeated.
        if self.key_variable.as_deref().is_some_and(|variable| !is_variable(variable)) {
            let expected =
                "expected the name of a variable in key_variable: letters, digits and _, as in OPENAI_API_KEY";
            return Err(invalid(format!("{expected}; a key itself does not belong there")));
        }
        Ok(())
    }
}

fn invalid(what: String) -> Error {
    Error::invalid(format!("the embedding provider cannot be used: {what}"))
}

/// Reads the URL before `/embeddings`. The reason of a refusal does not repeat the URL, in which a secret may stand.
pub(super) fn base_url(text: &str) -> std::result::Result<Url, &'static str> {
    const EXPECTED: &str = "expected http:// or https:// and a host, as in https://api.openai.com/v1";
    if text.len() > MAX_URL_BYTES {
        return Err("it is longer than 2,048 bytes");
    }
    let url = Url::parse(text).map_err(|_| EXPECTED)?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(EXPECTED);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("expected no user and no password in it; a key is named by its variable");
    }
    if url.fragment().is_some() || url.query_pairs().any(|(name, _)| name != "api-version") {
        return Err("expected nothing behind its path but Azure's ?api-version=; a key is named by its variable");
    }
    if url.path().trim_end_matches('/').ends_with("/embeddings") {
        return Err("expected the part before /embeddings, which is added to it");
    }
    Ok(url)
}

/// Host and port, without a port that the scheme implies.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Refuses an address that stands in the URL itself: such a one passes by the resolver.
fn check_literal(url: &Url, authority: &str, allow_private: bool) -> Result<()> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        _ => return Ok(()),
    };
    match AddressClass::of(address).is_allowed(allow_private) {
        true => Ok(()),
        false => Err(refused_address(authority)),
    }
}

/// The refusal of an address that no setting, or not the present one, allows.
pub(super) fn refused_address(authority: &str) -> Error {
    let why = "expected a public address; whoever runs this server may allow private and loopback ones";
    Error::invalid(format!("the embedding provider at {authority} may not be called: {why} ({PRIVATE})"))
        .of_setting(PRIVATE)
}

fn below(mut base: Url) -> Option<Url> {
    base.path_segments_mut().ok()?.pop_if_empty().push("embeddings");
    Some(base)
}

/// Azure wants a key in a header of its own, on its hosts and behind gateways, which its `api-version` gives away.
fn header(base: &Url, key: &SecretKey) -> Result<(HeaderName, HeaderValue)> {
    let host = base.host_str().unwrap_or_default();
    let azure = [".azure.com", ".azure.us", ".azure.cn"].iter().any(|end| host.ends_with(end));
    if azure || base.query_pairs().next().is_some() {
        return Ok((HeaderName::from_static("api-key"), key.header("")?));
    }
    Ok((AUTHORIZATION, key.header("Bearer ")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn spec(url: &str) -> ProviderSpec {
        ProviderSpec::openai(url, "m")
    }

    fn endpoint(spec: &ProviderSpec) -> Result<Endpoint> {
        let pairs = "K=https://api.openai.com K=https://a.openai.azure.com K=https://gateway.example";
        spec.endpoint(&ProviderKeys::read(pairs, &|_| Some("secret-key".to_owned())).unwrap(), false)
    }

    #[test]
    fn requests_go_to_embeddings_below_the_url_with_the_key_where_the_service_expects_it() {
        for (url, goes_to, header) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1/embeddings", "authorization"),
            ("https://api.openai.com/v1/", "https://api.openai.com/v1/embeddings", "authorization"),
            ("https://api.openai.com", "https://api.openai.com/embeddings", "authorization"),
            ("https://api.openai.com?", "https://api.openai.com/embeddings?", "authorization"),
            ("https://a.openai.azure.com/openai/v1/", "https://a.openai.azure.com/openai/v1/embeddings", "api-key"),
            (
                "https://gateway.example/openai/deployments/d?api-version=2024-10-21",
                "https://gateway.example/openai/deployments/d/embeddings?api-version=2024-10-21",
                "api-key",
            ),
        ] {
            let endpoint = endpoint(&ProviderSpec { key_variable: Some("K".to_owned()), ..spec(url) }).unwrap();
            assert_eq!(endpoint.url.as_str(), goes_to);
            let (name, value) = endpoint.header.unwrap();
            assert_eq!(name, header, "{url}");
            assert!(value.is_sensitive());
            assert_eq!(value.to_str().unwrap().trim_start_matches("Bearer "), "secret-key");
        }
        assert!(endpoint(&spec("https://api.openai.com/v1")).unwrap().header.is_none());
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let good = spec("https://api.openai.com/v1");
        for (spec, said) in [
            (spec("api.openai.com/v1"), "http:// or https://"),
            (spec("file:///etc/passwd"), "http:// or https://"),
            (spec("https://user:secret@api.openai.com/v1"), "no user"),
            (spec("https://api.openai.com/v1?key=secret"), "api-version"),
            (spec("https://api.openai.com/v1#secret"), "api-version"),
            (spec("https://api.openai.com/v1/embeddings"), "before /embeddings"),
            (spec(&format!("https://a.example/{}", "a".repeat(2_048))), "longer"),
            (spec("http://127.0.0.1:11434/v1"), "public address"),
            (spec("http://0x7f.1/v1"), "public address"),
            (spec("http://2130706433/v1"), "public address"),
            (spec("http://[::1]/v1"), "public address"),
            (spec("http://[::ffff:10.0.0.1]/v1"), "public address"),
            (spec("http://169.254.169.254/v1"), "public address"),
            (ProviderSpec { model: String::new(), ..good.clone() }, "model's name"),
            (ProviderSpec { model: "a\nb".to_owned(), ..good.clone() }, "model's name"),
            (ProviderSpec { dimensions: Some(0), ..good.clone() }, "dimensions"),
            (ProviderSpec { key_variable: Some("secret-key".to_owned()), ..good.clone() }, "name of a variable"),
            (ProviderSpec { key_variable: Some("AWS_SECRET_ACCESS_KEY".to_owned()), ..good }, "may not be sent"),
        ] {
            let error = endpoint(&spec).map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.message().contains(said), "{error}");
            assert!(!error.message().contains("secret"), "{error}");
        }
    }

    #[test]
    fn private_addresses_are_used_if_allowed_and_those_of_cloud_machines_never() {
        let allowed = |url: &str| spec(url).endpoint(&ProviderKeys::default(), true).map(|endpoint| endpoint.authority);
        assert_eq!(allowed("http://127.0.0.1:11434/v1").unwrap(), "127.0.0.1:11434");
        assert_eq!(allowed("http://[fd12::1]:80/v1").unwrap(), "[fd12::1]");
        assert_eq!(allowed("http://169.254.169.254/v1").unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(allowed("http://[fd00:ec2::254]/v1").unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn a_spec_is_stored_without_what_has_its_default_and_read_as_it_was() {
        let small = spec("https://api.openai.com/v1");
        let text = serde_json::to_string(&small).unwrap();
        assert_eq!(text, r#"{"kind":"openai","url":"https://api.openai.com/v1","model":"m"}"#);
        let whole = ProviderSpec {
            key_variable: Some("K".to_owned()),
            dimensions: Some(256),
            encoding_format: EncodingFormat::Base64,
            ..small
        };
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<ProviderSpec>(&text).unwrap(), whole);
        let later = text.replace("\"dimensions\"", "\"input_type\":\"query\",\"dimensions\"");
        assert!(serde_json::from_str::<ProviderSpec>(&later).unwrap_err().to_string().contains("input_type"));
    }
}
