//! The one public error. Callers act on its [`ErrorKind`]; the HTTP layer turns the kind into a status, in one table.
//! The message says what was expected, what came and what to do. Modules keep `thiserror` enums of their own and
//! convert at their border.

use std::fmt;
use std::time::Duration;

/// What kind of failure this is, and so what a caller can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The named thing does not exist.
    NotFound,
    /// The named thing was deleted.
    Gone,
    /// The name is taken.
    AlreadyExists,
    /// The request can never succeed as it is.
    Invalid,
    /// Another writer won; the same request may succeed now.
    Conflict,
    /// The bucket or the process cannot answer now. For a write: it was *not* applied.
    Unavailable,
    /// The write may or may not have been applied; a read of the collection shows which.
    OutcomeUnknown,
    /// A key is missing, or it does not allow this request. Of an opening: the bucket refuses the credentials.
    Unauthorized,
    /// A limit was passed; the message names the limit and, if one sets it, the setting.
    Limit,
    /// Memory is short; the message names the limit, the use and the need. Nothing was applied.
    NoRoom,
    /// Bytes in the bucket are damaged; the message names the object and the cause.
    Corrupted,
    /// A bug in Drumlin.
    Internal,
}

impl ErrorKind {
    /// The kind's name on the wire, snake_case.
    pub const fn name(self) -> &'static str {
        match self {
            ErrorKind::NotFound => "not_found",
            ErrorKind::Gone => "gone",
            ErrorKind::AlreadyExists => "already_exists",
            ErrorKind::Invalid => "invalid",
            ErrorKind::Conflict => "conflict",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::OutcomeUnknown => "outcome_unknown",
            ErrorKind::Unauthorized => "unauthorized",
            ErrorKind::Limit => "limit",
            ErrorKind::NoRoom => "no_room",
            ErrorKind::Corrupted => "corrupted",
            ErrorKind::Internal => "internal",
        }
    }
}

/// `Result` with Drumlin's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of Drumlin: what kind, a sentence for a person, and the cause where there is one.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    retry_after: Option<Duration>,
    setting: Option<&'static str>,
    source: Option<std::sync::Arc<dyn std::error::Error + Send + Sync>>,
}

/// The cause of an `Unavailable` write that lost every slot to other writers.
#[derive(Debug, thiserror::Error)]
#[error("other writers took every slot")]
struct Outrun;

/// The cause of a `Conflict` where what was read is too old to be compared.
#[derive(Debug, thiserror::Error)]
#[error("the version that was read is too old")]
struct StaleRead;

/// A wait after which most passing failures are over.
const SOON: Duration = Duration::from_secs(1);

impl Error {
    /// An error of `kind` with a sentence in lower case.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retry_after = (kind == ErrorKind::Unavailable).then_some(SOON);
        Error { kind, message: message.into(), retry_after, setting: None, source: None }
    }

    /// Marks the failure as passing: it ends with the work under way.
    pub(crate) fn passing(self) -> Self {
        Error { retry_after: Some(SOON), ..self }
    }

    /// Says which setting refused, by the name of its field. The message has the name in parentheses.
    pub(crate) fn of_setting(self, setting: &'static str) -> Self {
        debug_assert!(self.message.contains(&format!("({setting})")), "{:?} does not name {setting}", self.message);
        Error { setting: Some(setting), ..self }
    }

    /// This error, with `name` in its message where the setting's was: as a program's users know it.
    pub(crate) fn naming_setting(mut self, name: &str) -> Self {
        let named = self.setting.map(|setting| format!("({setting})")).unwrap_or_default();
        // A name that a caller gave stands before: the last one is the setting's.
        if let Some(at) = self.message.rfind(&named).filter(|_| !named.is_empty()) {
            self.message.replace_range(at..at + named.len(), &format!("({name})"));
        }
        self
    }

    /// This error with its cause attached.
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(std::sync::Arc::new(source));
        self
    }

    /// This error, with the place in front of its message.
    pub(crate) fn with_place(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// A write that lost every slot to faster writers until its deadline.
    #[doc(hidden)]
    pub fn outrun() -> Self {
        let why =
            "other writers kept winning; nothing was written, try again, in smaller parts if there are many records";
        Self::unavailable(why).with_source(Outrun)
    }

    /// Whether a write was not applied because other writers were faster every time. A smaller write is faster.
    #[doc(hidden)]
    pub fn is_outrun(&self) -> bool {
        self.source.as_deref().is_some_and(|source| source.is::<Outrun>())
    }

    /// A transaction or a read of a version that is too old. Nothing was written.
    pub(crate) fn stale_read(what: impl Into<String>) -> Self {
        Error::new(ErrorKind::Conflict, what).with_source(StaleRead)
    }

    /// Whether a version was too old, so that reading the newest one again helps.
    pub fn is_stale_read(&self) -> bool {
        self.source.as_deref().is_some_and(|source| source.is::<StaleRead>())
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// How long to wait before the request is worth making again; `None` where waiting does not help.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The setting that refused, as the path of its field in [`Settings`](crate::Settings): `limits.k`, `memory_limit`.
    /// `None` where no setting changes the outcome.
    pub fn setting(&self) -> Option<&'static str> {
        self.setting
    }

    /// The sentence for a person, without the causes.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Limit, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    pub(crate) fn corrupted(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupted, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|s| s as &(dyn std::error::Error + 'static))
    }
}
