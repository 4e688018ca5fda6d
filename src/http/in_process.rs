//! In-process routes: the server's routes without a socket, for a program that holds a store and uses a client that
//! speaks HTTP. Requests pass the same layers as in a server, as if only this program could connect to it.
//! The Python package gives them to Chroma's client.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use bytes::Bytes;
use tower::ServiceExt;

use super::{Front, HttpSettings, router};
use crate::error::{Error, Result};
use crate::store::Store;

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status, such as 200.
    pub status: u16,
    /// Names and values of the headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body.
    pub body: Bytes,
}

/// All routes of the server, for calls within this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InProcess {
    router: Router,
}

impl InProcess {
    /// The routes of `store`. Of the settings those about requests apply; there are no connections.
    pub fn new(store: Store, settings: HttpSettings) -> InProcess {
        InProcess { router: router(store, &Front::new(settings, false)) }
    }

    /// The answer to one request. `target` is a path with its query, as in the first line of a request.
    ///
    /// # Errors
    /// `Invalid` if that is no request at all, `Unavailable` if the answer breaks off. Every other failure is an
    /// answer, with its status.
    pub async fn call(
        &self,
        method: &str,
        target: &str,
        headers: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
        body: impl Into<Bytes>,
    ) -> Result<Reply> {
        let body = body.into();
        let mut request = Request::builder().method(method).uri(target).header(header::CONTENT_LENGTH, body.len());
        for (name, value) in headers {
            if !name.eq_ignore_ascii_case(header::CONTENT_LENGTH.as_str().as_bytes()) {
                request = request.header(name, value);
            }
        }
        let request = request.body(Body::from(body));
        let request =
            request.map_err(|e| Error::invalid(format!("expected an HTTP request, got {method} {target}: {e}")))?;
        let Ok(response) = self.router.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let named = parts.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        let headers = named.collect();
        let broken = |e| Error::unavailable(format!("the answer to {method} {target} was cut short: {e}"));
        Ok(Reply { status: parts.status.as_u16(), headers, body: to_bytes(body, usize::MAX).await.map_err(broken)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_within_the_process_is_answered_as_one_over_a_socket() {
        let store = Store::open("memory://").await.unwrap();
        let routes = InProcess::new(store, HttpSettings::default());
        let json = vec![(b"content-type".to_vec(), b"application/json".to_vec())];
        let made = routes.call("POST", "/api/collections", json, r#"{"name": "notes"}"#).await.unwrap();
        assert_eq!(made.status, 201);
        let listed =
            routes.call("GET", "/api/v2/tenants/default_tenant/databases/default_database/collections", [], "");
        let listed: serde_json::Value = serde_json::from_slice(&listed.await.unwrap().body).unwrap();
        assert_eq!(listed[0]["name"], "notes");
        assert_eq!(routes.call("GET", "/nowhere", [], "").await.unwrap().status, 404);
        assert!(
            routes.call("GET", "no path", [], "").await.unwrap_err().message().contains("expected an HTTP request")
        );
    }
}
