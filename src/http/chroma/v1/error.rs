//! Failures in the names and words of Chroma 0.5.23. The form of the answer is that of the second version; clients of
//! the first look for other names, and some for the sentence that a collection does not exist.

use axum::http::StatusCode;

use super::super::error::{Cause, ChromaError};

/// What a request is about, for the sentence that it does not exist, or exists already.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject<'s> {
    /// A collection by its name or id.
    Collection(&'s str),
    /// A collection that is to be deleted: if there is none, the request counts as wrong.
    CollectionToDelete(&'s str),
    Tenant(&'s str),
    Database {
        name: &'s str,
        tenant: &'s str,
    },
    /// None of these.
    Other,
}

/// The failure as the first version says it.
pub(super) fn of_v1(mut error: ChromaError, subject: Subject<'_>) -> ChromaError {
    let (status, name, message) = match (error.cause, subject) {
        (Cause::Missing, Subject::Collection(name)) => {
            (StatusCode::BAD_REQUEST, "InvalidCollection", format!("Collection {name} does not exist."))
        }
        (Cause::Missing, Subject::CollectionToDelete(name)) => {
            (StatusCode::BAD_REQUEST, "InvalidArgumentError", format!("Collection {name} does not exist."))
        }
        (Cause::Missing, Subject::Tenant(name)) => {
            (StatusCode::NOT_FOUND, "NotFoundError", format!("Tenant {name} not found"))
        }
        (Cause::Missing, Subject::Database { name, tenant }) => {
            let words = format!("Database {name} not found for tenant {tenant}. Are you sure it exists?");
            (StatusCode::NOT_FOUND, "NotFoundError", words)
        }
        (Cause::Taken, Subject::Collection(name) | Subject::CollectionToDelete(name)) => {
            (StatusCode::CONFLICT, "UniqueConstraintError", format!("Collection {name} already exists"))
        }
        (Cause::Taken, Subject::Tenant(name)) => {
            (StatusCode::CONFLICT, "UniqueConstraintError", format!("Tenant {name} already exists"))
        }
        (Cause::Taken, Subject::Database { name, tenant }) => {
            let words = format!("Database {name} already exists for tenant {tenant}");
            (StatusCode::CONFLICT, "UniqueConstraintError", words)
        }
        (Cause::Dimension { expected, got }, _) => {
            let words = format!("Embedding dimension {got} does not match collection dimensionality {expected}");
            (StatusCode::BAD_REQUEST, "InvalidDimension", words)
        }
        // The name of a class that no failure of the first version has itself.
        _ if error.name == "ChromaError" && error.status.is_client_error() => {
            error.name = "InvalidArgumentError";
            return error;
        }
        _ => return error,
    };
    (error.status, error.name, error.message) = (status, name, message);
    error
}

/// The refusal of an id that is none.
pub(super) fn no_uuid(id: &str) -> ChromaError {
    let shown: String = id.chars().take(200).collect();
    let mut error = ChromaError::invalid(format!("Could not parse {shown} as a UUID"));
    error.name = "InvalidUUID";
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};

    fn told(error: ChromaError, subject: Subject<'_>) -> (u16, &'static str, String) {
        let error = of_v1(error, subject);
        (error.status.as_u16(), error.name, error.message)
    }

    #[test]
    fn a_failure_whose_cause_has_no_words_of_its_own_keeps_those_it_has() {
        let conflict =
            told(Error::new(ErrorKind::Conflict, "changed meanwhile: try again").into(), Subject::Collection("things"));
        assert_eq!(conflict, (409, "InvalidArgumentError", "changed meanwhile: try again".to_owned()));
        let away = told(Error::unavailable("the bucket is away").into(), Subject::Collection("things"));
        assert_eq!(away, (503, "ChromaError", "the bucket is away".to_owned()));
        let missing = told(ChromaError::not_found("nothing here"), Subject::Other);
        assert_eq!(missing, (404, "NotFoundError", "nothing here".to_owned()));
    }

    #[test]
    fn the_sentence_that_semantic_kernel_looks_for_names_the_collection_without_quotes() {
        let missing = told(ChromaError::not_found("Collection [notes] does not exist"), Subject::Collection("notes"));
        assert_eq!(missing, (400, "InvalidCollection", "Collection notes does not exist.".to_owned()));
    }
}
