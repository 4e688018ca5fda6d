//! Settings of encryption at rest: how S3 must encrypt every object that is written.

use super::Environment;
use crate::bucket::s3::{S3CustomerKey, S3Encryption};
use crate::error::{Error, Result};

const CUSTOMER_KEY: &str = "DRUMLIN_S3_SSE_CUSTOMER_KEY";

/// The encryption that the variables ask for; `None` leaves it to the bucket's own rule.
pub(super) fn encryption(source: &Environment<'_>) -> Result<Option<S3Encryption>> {
    let chosen = source.choice("DRUMLIN_S3_SSE", &["aes256", "aws:kms"])?;
    let key_id = source.text("DRUMLIN_S3_SSE_KMS_KEY_ID");
    if let Some(key) = source.text(CUSTOMER_KEY) {
        if chosen.is_some() || key_id.is_some() {
            return Err(Error::invalid(format!(
                "{CUSTOMER_KEY}: expected without DRUMLIN_S3_SSE and DRUMLIN_S3_SSE_KMS_KEY_ID, since an object is \
                 encrypted by one key only; unset the others"
            )));
        }
        let key = S3CustomerKey::parse(&key).map_err(|error| error.with_place(CUSTOMER_KEY))?;
        return Ok(Some(S3Encryption::Customer(key)));
    }
    match (chosen.as_deref(), key_id) {
        (Some("aws:kms"), key_id) => Ok(Some(S3Encryption::Kms { key_id })),
        (_, Some(_)) => Err(Error::invalid("DRUMLIN_S3_SSE_KMS_KEY_ID: expected only with DRUMLIN_S3_SSE=aws:kms")),
        (Some(_), None) => Ok(Some(S3Encryption::Aes256)),
        (None, None) => Ok(None),
    }
}
