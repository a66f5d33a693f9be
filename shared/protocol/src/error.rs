//! Error codes of the contract, and the refusal that carries one to the user.

use serde::{Deserialize, Serialize};

/// The contract's error codes. A client acts on the code; the message is for the developer who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Not a JSON object with a `type`.
    BadFrame,
    /// A `type` that this server does not know.
    UnknownType,
    /// No token, or one that does not hold.
    Unauthenticated,
    /// It does not exist, or the caller may not see it: the two are never told apart.
    NotFound,
    /// The caller sees it and may not do this.
    Forbidden,
    /// A field is missing, of the wrong type or out of range.
    Invalid,
    /// Too many bytes.
    TooLarge,
    /// Too often; `retry_after_ms` says when again.
    RateLimited,
    /// It contradicts the present state.
    Conflict,
    /// A back end is away for now; the same request may be sent again.
    Unavailable,
    /// A fault of the server's.
    Internal,
    /// HTTP only: the cursor or time lies before the log; read the history instead.
    Resync,
}

impl Code {
    /// The code as written on the wire, also usable as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::UnknownType => "unknown_type",
            Self::Unauthenticated => "unauthenticated",
            Self::NotFound => "not_found",
            Self::Forbidden => "forbidden",
            Self::Invalid => "invalid",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
            Self::Resync => "resync",
        }
    }

    /// The HTTP status of a problem document with this code (contract §2).
    pub fn http_status(self) -> u16 {
        match self {
            Self::BadFrame | Self::UnknownType | Self::Invalid => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Resync => 410,
            Self::TooLarge => 413,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }
}

/// A request refused: what the user is told. Never holds a source location, an address or a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}: {message}", code.as_str())]
pub struct Refusal {
    /// What kind of refusal.
    pub code: Code,
    /// What happened, what it means, what to do; for a developer's eyes.
    pub message: String,
    /// Milliseconds after which trying again makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Refusal {
    /// A refusal without a time to wait.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after_ms: None,
        }
    }

    /// `invalid`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::Invalid, message)
    }

    /// `not_found` for a conversation, in the one wording for absent and foreign ones.
    pub fn no_conversation() -> Self {
        Self::new(Code::NotFound, "no such conversation, or you are not a member of it")
    }

    /// `unavailable`, to be tried again after a second.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            code: Code::Unavailable,
            message: message.into(),
            retry_after_ms: Some(1_000),
        }
    }
}
