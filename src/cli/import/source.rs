//! A running Chroma server as a source of collections: those routes of its v2 API that reading needs. Invariant: an
//! answer is taken as it is, or refused with the name of its route; nothing is guessed.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::cli::serve::install_tls;
use crate::{Error, ErrorKind, MetaValue, Metadata, Record, Result, Scope};

/// Most time for one answer, a page of records included.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// Collections and databases per request.
const LISTED: usize = 100;

/// A Chroma server.
#[derive(Debug)]
pub struct Chroma {
    client: Client,
    root: Url,
}

/// A collection of that server.
#[derive(Debug, Deserialize)]
pub struct Theirs {
    /// Its UUID on that server.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Floats per embedding, once it has had one.
    #[serde(default)]
    pub dimension: Option<usize>,
    /// Its metadata.
    #[serde(default)]
    pub metadata: Option<Map<String, Value>>,
    /// Index and embedding function.
    #[serde(default)]
    pub configuration_json: Value,
    /// Index, embedding function and more, from servers that have schemas.
    #[serde(default)]
    pub schema: Value,
}

#[derive(Debug, Deserialize)]
struct NamedCollection {
    name: String,
}

/// The answer of a get, column by column.
#[derive(Debug, Deserialize)]
struct GetColumns {
    ids: Vec<String>,
    embeddings: Vec<Vec<f32>>,
    documents: Vec<Option<String>>,
    uris: Vec<Option<String>>,
    metadatas: Vec<Option<Map<String, Value>>>,
}

impl Chroma {
    /// A client of the server at `url`; nothing is sent yet.
    pub fn connect(url: &str, token: Option<String>) -> Result<Chroma> {
        let expected = || invalid(format!("--url: expected one such as http://localhost:8000, got {url:?}"));
        let root: Url = url.parse().map_err(|_| expected())?;
        if !matches!(root.scheme(), "http" | "https") {
            return Err(expected());
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&token)
                .map_err(|_| invalid("CHROMA_API_KEY: expected a token of printable characters"))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static("x-chroma-token"), value);
        }
        install_tls();
        let client = Client::builder().timeout(ANSWER_LIMIT).default_headers(headers).build();
        let client =
            client.map_err(|e| Error::new(ErrorKind::Internal, format!("the HTTP client did not start: {e}")))?;
        Ok(Chroma { client, root })
    }

    /// The version that the server reports.
    pub async fn version(&self) -> Result<String> {
        let (route, url) = self.route(&["version"])?;
        answered(&route, self.client.get(url)).await
    }

    /// The databases of a tenant.
    pub async fn databases(&self, tenant: &str) -> Result<Vec<String>> {
        let named: Vec<NamedCollection> = self.listed(&["tenants", tenant, "databases"]).await?;
        Ok(named.into_iter().map(|named| named.name).collect())
    }

    /// The collections of a database.
    pub async fn collections(&self, scope: &Scope) -> Result<Vec<Theirs>> {
        self.listed(&["tenants", &scope.tenant, "databases", &scope.database, "collections"]).await
    }

    /// The number of records of a collection.
    pub async fn count(&self, scope: &Scope, theirs: &Theirs) -> Result<usize> {
        let (route, url) = self.route(&within(scope, theirs, "count"))?;
        answered(&route, self.client.get(url)).await
    }

    /// Up to `limit` records from the `offset`-th on, in the order they were first added.
    pub async fn records(&self, scope: &Scope, theirs: &Theirs, offset: usize, limit: usize) -> Result<Vec<Record>> {
        let (route, url) = self.route(&within(scope, theirs, "get"))?;
        let include = ["embeddings", "documents", "metadatas", "uris"];
        let asked = json!({"offset": offset, "limit": limit, "include": include});
        let columns: GetColumns = answered(&route, self.client.post(url).json(&asked)).await?;
        columns.into_records(&route)
    }

    async fn listed<T: DeserializeOwned>(&self, parts: &[&str]) -> Result<Vec<T>> {
        let (route, url) = self.route(parts)?;
        let mut all = Vec::new();
        loop {
            let mut page = url.clone();
            page.set_query(Some(&format!("limit={LISTED}&offset={}", all.len())));
            let more: Vec<T> = answered(&route, self.client.get(page)).await?;
            if more.is_empty() {
                return Ok(all);
            }
            all.extend(more);
        }
    }

    fn route(&self, parts: &[&str]) -> Result<(String, Url)> {
        let mut url = self.root.clone();
        url.path_segments_mut()
            .map_err(|()| invalid("--url: expected a URL with a host"))?
            .pop_if_empty()
            .extend(["api", "v2"])
            .extend(parts);
        Ok((url.to_string(), url))
    }
}

fn within<'a>(scope: &'a Scope, theirs: &'a Theirs, last: &'a str) -> [&'a str; 7] {
    ["tenants", &scope.tenant, "databases", &scope.database, "collections", &theirs.id, last]
}

impl GetColumns {
    fn into_records(self, route: &str) -> Result<Vec<Record>> {
        let rows = self.ids.len();
        let lengths = [self.embeddings.len(), self.documents.len(), self.uris.len(), self.metadatas.len()];
        if lengths.iter().any(|length| *length != rows) {
            return Err(unusable(route, &format!("{rows} ids with columns of {lengths:?} rows")));
        }
        let columns = self.ids.into_iter().zip(self.embeddings).zip(self.documents).zip(self.uris).zip(self.metadatas);
        let records = columns.map(|((((id, embedding), document), uri), metadata)| {
            let metadata = metadata.map(|fields| metadata_of(route, &id, fields)).transpose()?;
            Ok(Record { id, embedding, document, uri, metadata })
        });
        records.collect()
    }
}

fn metadata_of(route: &str, id: &str, fields: Map<String, Value>) -> Result<Metadata> {
    let fields = fields.into_iter().map(|(key, value)| match MetaValue::from_json(&value) {
        Ok(value) => Ok((key, value)),
        Err(e) => Err(unusable(route, &format!("record {id:?}, {key:?}: {}", e.message()))),
    });
    Ok(Metadata(fields.collect::<Result<_>>()?))
}

/// Sends a request and reads the JSON of its answer.
async fn answered<T: DeserializeOwned>(route: &str, request: RequestBuilder) -> Result<T> {
    let unreachable = |e: reqwest::Error| {
        let e = e.without_url();
        let causes: Vec<String> = std::iter::successors(Some(&e as &dyn std::error::Error), |e| e.source())
            .map(ToString::to_string)
            .collect();
        let what =
            format!("{route} did not answer ({}); is the server running, and the address right?", causes.join(": "));
        Error::new(ErrorKind::Unavailable, what).with_source(e)
    };
    let answer = request.send().await.map_err(unreachable)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(unreachable)?;
    if !status.is_success() {
        let told = String::from_utf8_lossy(body.get(..body.len().min(300)).unwrap_or_default()).into_owned();
        let kind = if matches!(status.as_u16(), 401 | 403) { ErrorKind::Unauthorized } else { ErrorKind::Unavailable };
        return Err(Error::new(kind, format!("{route} answered {status}: {told}")));
    }
    serde_json::from_slice(&body).map_err(|e| unusable(route, &e.to_string()))
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

fn unusable(route: &str, how: &str) -> Error {
    invalid(format!("{route}: expected what Chroma 1.x answers, got something else: {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_put_together_whatever_names_hold() {
        let chroma = Chroma::connect("http://localhost:1234/behind/", None).unwrap();
        let (route, _) = chroma.route(&["tenants", "a b/ü"]).unwrap();
        assert_eq!(route, "http://localhost:1234/behind/api/v2/tenants/a%20b%2F%C3%BC");
        for url in ["localhost:8000", "ftp://host", "", "http://"] {
            assert_eq!(Chroma::connect(url, None).unwrap_err().kind(), ErrorKind::Invalid, "{url}");
        }
    }

    #[test]
    fn an_answer_with_columns_of_different_lengths_is_refused() {
        let columns = |documents| GetColumns {
            ids: vec!["a".to_owned(), "b".to_owned()],
            embeddings: vec![vec![1.0], vec![2.0]],
            documents,
            uris: vec![None, None],
            metadatas: vec![None, Some(Map::from_iter([("k".to_owned(), json!(1.0))]))],
        };
        let records = columns(vec![None, Some(String::new())]).into_records("get").unwrap();
        assert_eq!(records[0], Record::new("a", vec![1.0]));
        let fields = Metadata::from([("k", 1.0)]);
        assert_eq!(records[1], Record::new("b", vec![2.0]).with_document("").with_metadata(fields));
        assert_eq!(columns(vec![None]).into_records("get").unwrap_err().kind(), ErrorKind::Invalid);
    }
}
