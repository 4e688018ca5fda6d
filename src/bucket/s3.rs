//! Stub.
use std::time::Duration;
#[derive(Debug, Clone)]
pub struct S3Settings {
    pub bucket: String, pub prefix: String, pub region: Option<String>, pub endpoint: Option<String>,
    pub access_key_id: Option<String>, pub secret_access_key: Option<String>, pub session_token: Option<String>,
    pub force_path_style: Option<bool>, pub attempt_timeout: Duration, pub connect_timeout: Duration,
}
