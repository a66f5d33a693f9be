//! Who calls, what was asked: extractors whose failures are problem documents.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use futures_util::StreamExt;
use http::request::Parts;
use http::{HeaderMap, header};
use protocol::client_frame::MessageSend;
use protocol::http::{AddMembers, CreateConversation, SetRole, UpdateConversation};
use protocol::push::{RegisterDevice, UpdateConversationNotifications, UpdateNotifications};
use protocol::{Code, Refusal, Timestamp, UserId, limits};
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::app::App;
use crate::token;

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
        let TokenCaller(caller) = TokenCaller::from_request_parts(parts, app).await?;
        Ok(Self(caller.user_id))
    }
}

/// The same with what else the token says.
#[derive(Debug)]
pub struct TokenCaller(pub token::Caller);

impl FromRequestParts<Arc<App>> for TokenCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let missing = || Refusal::new(Code::Unauthenticated, "send `Authorization: Bearer` with a token");
        let token = bearer(&parts.headers).ok_or_else(missing)?;
        Ok(Self(app.verifier.verify(token, Timestamp::now())?))
    }
}

/// The same for requests of browsers that cannot set headers: there the token may come as `?token=`, where the operator
/// has allowed that.
#[derive(Debug)]
pub struct StreamCaller(pub token::Caller);

impl FromRequestParts<Arc<App>> for StreamCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let fields = Fields::from_request_parts(parts, app).await?;
        let query = fields.text("token").filter(|_| app.settings.query_token);
        let missing = || Refusal::new(Code::Unauthenticated, "send `Authorization: Bearer` with a token");
        let token = bearer(&parts.headers).or(query).ok_or_else(missing)?;
        Ok(Self(app.verifier.verify(token, Timestamp::now())?))
    }
}

/// A JSON body, whatever its content type says.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// How large a body of a kind may be.
pub trait Bounded: DeserializeOwned {
    /// In bytes.
    const BYTES_MOST: usize;
}

impl Bounded for MessageSend {
    const BYTES_MOST: usize = limits::FRAME_BYTES;
}

impl Bounded for UpdateConversation {
    const BYTES_MOST: usize = limits::FRAME_BYTES;
}

impl Bounded for SetRole {
    const BYTES_MOST: usize = limits::FRAME_BYTES;
}

impl Bounded for RegisterDevice {
    const BYTES_MOST: usize = limits::FRAME_BYTES;
}

impl Bounded for UpdateNotifications {
    const BYTES_MOST: usize = limits::FRAME_BYTES;
}

impl Bounded for UpdateConversationNotifications {
    const BYTES_MOST: usize = limits::FRAME_BYTES;
}

impl Bounded for AddMembers {
    const BYTES_MOST: usize = CreateConversation::BYTES_MOST;
}

impl Bounded for CreateConversation {
    /// A group of 10,000 members with long ids.
    const BYTES_MOST: usize = 1536 * 1024;
}

/// What is read and dropped of a body that is too large: an answer in the middle of it would break the connection before
/// the client had read that.
const DROPPED_MOST: usize = 32 * 1024 * 1024;

impl<T: Bounded, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = read(request, T::BYTES_MOST).await?;
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

async fn read(request: Request, most: usize) -> Result<Vec<u8>, Refusal> {
    let mut chunks = request.into_body().into_data_stream();
    let (mut bytes, mut dropped) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refusal::invalid("the body could not be read"))?;
        if dropped > 0 || bytes.len() + chunk.len() > most {
            dropped += chunk.len();
            if dropped > DROPPED_MOST {
                break;
            }
        } else {
            bytes.extend_from_slice(&chunk);
        }
    }
    if dropped > 0 {
        return Err(Refusal::new(
            Code::TooLarge,
            format!("the body has more than {most} bytes"),
        ));
    }
    Ok(bytes)
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
