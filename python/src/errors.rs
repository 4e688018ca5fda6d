//! Errors of the library as the exceptions of `drumlin.errors`, one class for each kind.

use drumlin::{Error, ErrorKind};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// The class of `drumlin.errors` for a kind.
fn class_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "InvalidArgument",
        ErrorKind::Limit => "LimitExceeded",
        ErrorKind::NotFound => "NotFound",
        ErrorKind::AlreadyExists => "AlreadyExists",
        ErrorKind::Conflict => "Conflict",
        ErrorKind::Unavailable => "Unavailable",
        ErrorKind::OutcomeUnknown => "OutcomeUnknown",
        ErrorKind::NoRoom => "OutOfMemory",
        ErrorKind::Corrupted => "Corrupted",
        _ => "DrumlinError",
    }
}

/// The exception that says what `error` says.
pub fn raised(py: Python<'_>, error: &Error) -> PyErr {
    let message = error.to_string();
    let made = py
        .import("drumlin.errors")
        .and_then(|module| module.getattr(class_of(error.kind())))
        .and_then(|class| class.call1((message.clone(),)));
    made.map_or_else(|_| PyRuntimeError::new_err(message), PyErr::from_value)
}

/// An error about an argument.
pub fn invalid(py: Python<'_>, message: impl Into<String>) -> PyErr {
    raised(py, &Error::new(ErrorKind::Invalid, message.into()))
}
