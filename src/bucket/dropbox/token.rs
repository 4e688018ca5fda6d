//! The access token: fixed by the settings, or got with a refresh token and renewed before it expires. Invariants:
//! callers that find the token expired together renew it once; no secret shows in `Debug` or in a message.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::answer::Failed;
use crate::bucket::BucketError;
use crate::bucket::attempt::chain;

/// A token is renewed this long before it expires.
const MARGIN: Duration = Duration::from_secs(300);

/// What proves who we are to Dropbox.
#[derive(Clone)]
#[non_exhaustive]
pub enum Credentials {
    /// A fixed token; once it has expired, nothing renews it.
    AccessToken(String),
    /// What gets new access tokens.
    Refresh {
        /// The refresh token, from an authorization with `token_access_type=offline`.
        refresh_token: String,
        /// The app's key.
        app_key: String,
        /// The app's secret; none for an app authorized by PKCE.
        app_secret: Option<String>,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::AccessToken(_) => "AccessToken(hidden)",
            Credentials::Refresh { .. } => "Refresh(hidden)",
        })
    }
}

/// The token in use.
#[derive(Debug, Default)]
pub(super) struct Token {
    current: Mutex<Option<CurrentToken>>,
}

struct CurrentToken {
    text: String,
    /// When the token is to be renewed; `None` if that is not known.
    expires: Option<Instant>,
}

impl fmt::Debug for CurrentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// A refusal in the words of OAuth.
#[derive(Deserialize)]
struct OauthRefusal {
    #[serde(rename = "error")]
    _error: serde_json::Value,
}

impl Token {
    /// The token to send. `refused` is a token that the store has just refused; it is not returned again.
    pub(super) async fn get(
        &self,
        credentials: &Credentials,
        client: &reqwest::Client,
        url: &str,
        refused: Option<&str>,
    ) -> Result<String, BucketError> {
        let (refresh_token, app_key, app_secret) = match credentials {
            Credentials::AccessToken(token) if refused.is_none() => return Ok(token.clone()),
            Credentials::AccessToken(_) => return Err(expired()),
            Credentials::Refresh { refresh_token, app_key, app_secret } => (refresh_token, app_key, app_secret),
        };
        // A call that comes while the token is renewed waits for the new one.
        let mut current = self.current.lock().await;
        if let Some(current) = &*current
            && refused != Some(current.text.as_str())
            && current.expires.is_none_or(|expires| Instant::now() < expires)
        {
            return Ok(current.text.clone());
        }
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token.as_str())];
        form.push(("client_id", app_key.as_str()));
        form.extend(app_secret.as_deref().map(|secret| ("client_secret", secret)));
        let granted = ask(client, url, &form).await?;
        let lasts = granted.expires_in.map(|seconds| Duration::from_secs(seconds).saturating_sub(MARGIN));
        let expires = lasts.and_then(|lasts| Instant::now().checked_add(lasts));
        *current = Some(CurrentToken { text: granted.access_token.clone(), expires });
        Ok(granted.access_token)
    }
}

fn expired() -> BucketError {
    let message = "Dropbox refuses the access token (401), which lasts only a few hours; set DROPBOX_REFRESH_TOKEN, \
                   DROPBOX_APP_KEY and DROPBOX_APP_SECRET to renew it";
    BucketError::Refused { message: message.into() }
}

async fn ask(client: &reqwest::Client, url: &str, form: &[(&str, &str)]) -> Result<Granted, BucketError> {
    let unknown = |error: reqwest::Error| BucketError::unknown(chain(&error.without_url()));
    let body = form.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect::<Vec<_>>().join("&");
    let request = client.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
    let response = request.send().await.map_err(unknown)?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.bytes().await.map_err(unknown)?;
    match status {
        200 => serde_json::from_slice(&body)
            .map_err(|_| BucketError::unknown("the answer to the refresh token cannot be read")),
        400..=403 if serde_json::from_slice::<OauthRefusal>(&body).is_ok() => Err(BucketError::Refused {
            message: format!(
                "Dropbox refuses the refresh token or the app's key and secret (status {status}); check \
                         DROPBOX_REFRESH_TOKEN, DROPBOX_APP_KEY and DROPBOX_APP_SECRET"
            ),
        }),
        400..=403 => {
            Err(BucketError::unknown(format!("the answer to the refresh token ({status}) does not come from Dropbox")))
        }
        _ => Err(Failed::of(status, &headers, &body).sort()),
    }
}

/// A value escaped for a form.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => text.push(char::from(byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}
