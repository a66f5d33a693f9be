//! A request as the providers see it, and what they can make of it.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};
use protocol::Timestamp;
use serde_json::Value;

use crate::options::Listener;
use crate::shown::Shown;

/// Answers of the providers are whole, only the page streams.
pub(crate) type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, std::convert::Infallible>>;
pub(crate) type Response = http::Response<Body>;

/// A whole request.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) at: Timestamp,
    pub(crate) listener: Listener,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Arrived {
    /// A header's text; `None` where it is missing or not text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|it| it.to_str().ok())
    }

    /// The access or provider token of an `Authorization: bearer …`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    }
}

/// What a provider makes of a request.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) response: Response,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    /// Taken. `None`: nothing for a phone, or nobody wants to know what.
    Accepted(Option<Box<Shown>>),
    /// The client made a mistake.
    Refused(String),
    /// The device is gone, which is nobody's mistake.
    Gone(String),
}

impl Verdict {
    pub(crate) fn refused(response: Response, reason: impl Into<String>) -> Self {
        Self {
            response,
            outcome: Outcome::Refused(reason.into()),
        }
    }

    pub(crate) fn gone(response: Response, reason: impl Into<String>) -> Self {
        Self {
            response,
            outcome: Outcome::Gone(reason.into()),
        }
    }
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    whole(status, None, Bytes::new())
}

/// An answer of plain text.
pub(crate) fn text(status: StatusCode, text: &str) -> Response {
    whole(
        status,
        Some("text/plain; charset=utf-8"),
        Bytes::copy_from_slice(text.as_bytes()),
    )
}

/// An answer of JSON.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response {
    whole(
        status,
        Some("application/json; charset=utf-8"),
        value.to_string().into(),
    )
}

/// An answer of any type.
pub(crate) fn whole(status: StatusCode, content_type: Option<&'static str>, body: Bytes) -> Response {
    let mut response = http::Response::new(Either::Left(Full::new(body)));
    *response.status_mut() = status;
    if let Some(it) = content_type {
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(it));
    }
    response
}

/// Adds a header; a text that no header can carry is left out.
pub(crate) fn with(mut response: Response, name: &'static str, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}
