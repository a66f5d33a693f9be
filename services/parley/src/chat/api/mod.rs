//! What the chat reads and makes by HTTP, and failures in plain words.

mod groups;

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use protocol::http::{Conversation, Conversations, CreateConversation, History, HistoryAccess, Problem};
use protocol::server_frame::ConversationType;
use protocol::{ClientId, Code, ConversationId, UserId};
use reqwest::{Client, RequestBuilder};
use serde::de::DeserializeOwned;

use super::escape;
use super::server::{Server, Tokens};

/// For one request; the server promises an answer within two seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many conversations a list shows.
const LISTED: u32 = 50;

/// What to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A conversation that is there.
    Conversation(ConversationId),
    /// The direct conversation with a user, made if it is not there.
    User(UserId),
    /// A group with these, made once under that id.
    Group(Vec<UserId>, ClientId),
}

impl Target {
    /// What looks like a conversation's id is one; anything else is a user.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match ConversationId::parse(text) {
            Some(id) => Some(Self::Conversation(id)),
            None => UserId::parse(text).map(Self::User),
        }
    }
}

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// For the user; harmless on a terminal.
    pub(super) words: String,
    /// Whether trying again may help.
    pub(super) is_passing: bool,
    /// Whether nobody answered at all.
    pub(super) is_unreachable: bool,
    /// Whether what was asked for is not there, or not this user's to see.
    pub(super) is_gone: bool,
}

impl Failure {
    /// One that trying again does not help.
    fn lasting(words: String) -> Self {
        Self {
            words,
            is_passing: false,
            is_unreachable: false,
            is_gone: false,
        }
    }
}

/// The server's HTTP interface, for one user.
#[derive(Debug, Clone)]
pub(super) struct Api {
    client: Client,
    server: Server,
    tokens: Tokens,
}

impl Api {
    /// # Errors
    /// The HTTP client cannot be made.
    pub(super) fn new(server: Server, tokens: Tokens) -> anyhow::Result<Self> {
        // The socket takes no proxy either. A kept connection would be a dead one after a restart of the server.
        let client = Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .pool_max_idle_per_host(0)
            .build();
        Ok(Self {
            client: client.context("cannot make an HTTP client")?,
            server,
            tokens,
        })
    }

    /// Reads a conversation, or makes one.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn open(&self, target: &Target) -> Result<Conversation, Failure> {
        let make = |conversation_type, members: &[UserId], client_id: Option<&ClientId>| {
            self.client
                .post(self.server.http("/v1/conversations"))
                .json(&CreateConversation {
                    conversation_type,
                    name: None,
                    members: members.to_vec(),
                    client_id: client_id.cloned(),
                    history: HistoryAccess::All,
                })
        };
        let request = match target {
            Target::Conversation(id) => self
                .client
                .get(self.server.http(&format!("/v1/conversations/{}", id.as_str()))),
            Target::User(user) => make(ConversationType::Direct, std::slice::from_ref(user), None),
            Target::Group(users, client_id) => make(ConversationType::Group, users, Some(client_id)),
        };
        self.call(request).await
    }

    /// The most recently active conversations.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn list(&self) -> Result<Conversations, Failure> {
        let request = self
            .client
            .get(self.server.http("/v1/conversations"))
            .query(&[("limit", LISTED)]);
        self.call(request).await
    }

    /// A page of messages: the newest, or those before a `seq`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn history(
        &self,
        id: &ConversationId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<History, Failure> {
        let address = self.server.http(&format!("/v1/conversations/{}/messages", id.as_str()));
        let mut request = self.client.get(address).query(&[("limit", limit)]);
        if let Some(before) = before {
            request = request.query(&[("before", before)]);
        }
        self.call(request).await
    }

    async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let body = self.body(request).await?;
        serde_json::from_slice(&body).map_err(|error| {
            Failure::lasting(format!(
                "{} answered, but not as a Parley server does: {error}",
                self.server.http("")
            ))
        })
    }

    async fn body(&self, request: RequestBuilder) -> Result<Bytes, Failure> {
        let token = self
            .tokens
            .token()
            .map_err(|error| Failure::lasting(format!("{error:#}")))?;
        let response = request
            .bearer_auth(token)
            .send()
            .await
            .map_err(|error| self.no_answer(&error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.no_answer(&error))?;
        if status.is_success() {
            return Ok(body);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(self.refused(&problem)),
            Err(_) => Err(Failure::lasting(format!(
                "{} answered {status}: is it a Parley server?",
                self.server.http("")
            ))),
        }
    }

    fn no_answer(&self, error: &reqwest::Error) -> Failure {
        let words = match error.is_timeout() {
            true => format!("no answer in time from {}", self.server.http("")),
            false => format!("no server answers at {}", self.server.http("")),
        };
        Failure {
            words,
            is_passing: true,
            is_unreachable: true,
            is_gone: false,
        }
    }

    fn refused(&self, problem: &Problem) -> Failure {
        let detail = escape::line(&problem.detail);
        let words = match problem.code {
            Code::Unauthenticated => self.tokens.refused(&detail),
            _ => detail,
        };
        let is_passing = matches!(problem.code, Code::Unavailable | Code::RateLimited | Code::Internal);
        Failure {
            words,
            is_passing,
            is_unreachable: false,
            is_gone: problem.code == Code::NotFound,
        }
    }
}
