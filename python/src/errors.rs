//! Errors of the library as the exceptions of `drumlin.errors`, one class for each kind.

use drumlin::{Error, ErrorKind};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// The class of `drumlin.errors` for a kind.
fn class_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "InvalidArgument",
        ErrorKind::Limit => "LimitExceeded",
        ErrorKind::NotFound | ErrorKind::Gone => "NotFound",
        ErrorKind::AlreadyExists => "AlreadyExists",
        ErrorKind::Conflict => "Conflict",
        ErrorKind::Unavailable => "Unavailable",
        ErrorKind::OutcomeUnknown => "OutcomeUnknown",
        ErrorKind::Unauthorized => "Unauthorized",
        ErrorKind::NoRoom => "OutOfMemory",
        ErrorKind::Corrupted => "Corrupted",
        _ => "DrumlinError",
    }
}

/// An exception of a class of `drumlin.errors`.
pub fn named(py: Python<'_>, class: &str, message: impl Into<String>) -> PyErr {
    let message = message.into();
    let made = py
        .import("drumlin.errors")
        .and_then(|module| module.getattr(class))
        .and_then(|class| class.call1((message.clone(),)));
    made.map_or_else(|_| PyRuntimeError::new_err(message), PyErr::from_value)
}

/// The exception that says what `error` says.
pub fn raised(py: Python<'_>, error: &Error) -> PyErr {
    named(py, class_of(error.kind()), error.to_string())
}

/// An error about an argument.
pub fn invalid(py: Python<'_>, message: impl Into<String>) -> PyErr {
    named(py, "InvalidArgument", message)
}
