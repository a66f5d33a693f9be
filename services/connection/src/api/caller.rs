//! Who calls, what was asked: extractors whose failures are problem documents.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use http::request::Parts;
use http::{HeaderMap, header};
use protocol::{Code, Refusal, Timestamp, UserId};
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::app::App;

/// The user whose token came with the request.
#[derive(Debug)]
pub struct Caller(pub UserId);

/// The token of an `Authorization: Bearer` header.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let missing = || Refusal::new(Code::Unauthenticated, "send `Authorization: Bearer` with a token");
        let token = bearer(&parts.headers).ok_or_else(missing)?;
        Ok(Self(app.verifier.verify(token, Timestamp::now())?.user_id))
    }
}

/// A JSON body, whatever its content type says.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE {
                Refusal::new(Code::TooLarge, "the body is too large")
            } else {
                Refusal::invalid("the body could not be read")
            }
        })?;
        // serde would take an array for an object, field by field.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(Refusal::invalid("the body must be a JSON object").into());
        }
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            let words: String = error.to_string().chars().take(200).collect();
            Problem(Refusal::invalid(format!("the body: {words}")))
        })
    }
}

/// The query string, checked field by field so that a mistake is named.
#[derive(Debug)]
pub struct Fields(HashMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Fields {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = Query::<HashMap<String, String>>::try_from_uri(&parts.uri);
        let Query(fields) = query.map_err(|_| Refusal::invalid("the query string cannot be read"))?;
        Ok(Self(fields))
    }
}

impl Fields {
    /// A field's text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A whole number, 0 or more.
    ///
    /// # Errors
    /// `invalid`, naming the field.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text
            .parse()
            .map_err(|_| Refusal::invalid(format!("`{name}` must be a whole number, 0 or more")))?;
        Ok(Some(number))
    }

    /// A page size: `default` if absent, at most `most`.
    ///
    /// # Errors
    /// `invalid` for 0 and for what is no number.
    pub fn limit(&self, default: u32, most: u32) -> Result<u32, Refusal> {
        match self.number("limit")? {
            None => Ok(default),
            Some(0) => Err(Refusal::invalid("`limit` must be 1 or more")),
            Some(limit) => Ok(u32::try_from(limit).unwrap_or(most).min(most)),
        }
    }
}
