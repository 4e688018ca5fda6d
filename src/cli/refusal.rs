//! Refusals of settings. Invariant: a refusal names the variable, what was expected and what came.

use crate::{Error, ErrorKind};

/// The refusal of a variable's value.
pub fn expected(name: &str, expected: &str, got: &str) -> Error {
    invalid(format!("{name}: expected {expected}, got {got:?}"))
}

/// The refusal of settings, in words of its own.
pub fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, message)
}
