//! MongoDB: the materialised, searchable history. Written by the projector alone, read by everything that is not on
//! the path of a message.
//!
//! Every query that is ever made is in [`queries`]; documents and writes have files of their own.

mod conversation;
mod documents;
mod encode;
mod fold;
pub mod queries;
mod read;
mod write;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};
use serde::de::DeserializeOwned;
use telemetry::trace::Origin;
use tokio::sync::watch;

pub(crate) use conversation::{ConversationDocument, HeadOnly, MemberDocument, Standing};
pub(crate) use documents::{time, unsigned};
pub(crate) use queries::MemberPage;
pub(crate) use write::{Fact, Failure};

/// All events of all conversations.
pub(crate) const MESSAGES: &str = "messages";
/// One document for each conversation.
pub(crate) const CONVERSATIONS: &str = "conversations";
/// One document for each member of each conversation.
pub(crate) const MEMBERS: &str = "members";

/// A server that is away is noticed within this time; with it all of a request's reads stay within two seconds.
const SELECTION: Duration = Duration::from_millis(600);
const CONNECT: Duration = Duration::from_millis(600);
/// Limit of one read, here and on the server.
pub(crate) const READ_MOST: Duration = Duration::from_millis(1_500);
/// After a failed read, others are refused at once for so long: callers of a database that is away must not pile up.
const REST: Duration = Duration::from_millis(250);
/// The same after a failed write. The projector tries again well within it, and ends it by its first success.
const REST_WRITE: Duration = Duration::from_millis(1_500);
const CONNECTIONS_MOST: u32 = 32;

/// The database of a deployment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    database: Database,
    /// Until when reads are refused.
    away_until: Arc<watch::Sender<Instant>>,
}

/// MongoDB did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URI cannot be used. The driver's words are left out: they may quote a secret.
    #[error("not a MongoDB URI that can be used: check its form, its options and that its host names resolve")]
    Uri,
    /// No answer, or an error.
    #[error("MongoDB: {0}")]
    Away(String),
    /// A document that this version cannot read.
    #[error("MongoDB holds a document that cannot be read: {0}")]
    Unreadable(String),
}

impl From<mongodb::error::Error> for StoreError {
    fn from(error: mongodb::error::Error) -> Self {
        Self::Away(words(&error))
    }
}

/// What went wrong, for the log. The driver's own words for a server that is away are the whole topology.
fn words(error: &mongodb::error::Error) -> String {
    match &*error.kind {
        mongodb::error::ErrorKind::ServerSelection { .. } => "no server that takes writes can be reached".into(),
        kind => kind.to_string(),
    }
}

impl Store {
    /// A client; it connects by itself, when needed.
    ///
    /// # Errors
    /// [`StoreError::Uri`].
    pub async fn open(config: &config::Mongodb) -> Result<Self, StoreError> {
        let mut options = ClientOptions::parse(&config.uri).await.map_err(|_| StoreError::Uri)?;
        options.app_name.get_or_insert_with(|| "parley-message".to_owned());
        options.server_selection_timeout = Some(SELECTION);
        options.connect_timeout = Some(CONNECT);
        options.max_pool_size.get_or_insert(CONNECTIONS_MOST);
        let client = Client::with_options(options).map_err(|_| StoreError::Uri)?;
        let away_until = Arc::new(watch::Sender::new(Instant::now()));
        Ok(Self {
            database: client.database(&config.database),
            away_until,
        })
    }

    /// Makes what is missing of the indexes.
    ///
    /// # Errors
    /// MongoDB is away or refuses.
    pub async fn ensure_indexes(&self) -> Result<(), StoreError> {
        let client_key = doc! {
            "createIndexes": MESSAGES,
            "indexes": [{
                "name": "sender_client_key",
                "key": { "_id.c": 1, "sender": 1, "client_key": 1 },
                "unique": true,
                "partialFilterExpression": { "client_key": { "$exists": true } },
            }],
        };
        let by_conversation = doc! {
            "createIndexes": MEMBERS,
            "indexes": [
                { "name": "conversation", "key": { "_id.c": 1, "m.since": 1, "m.n": 1 } },
                { "name": "user", "key": { "_id.u": 1 } },
            ],
        };
        for command in [client_key, by_conversation] {
            self.database.run_command(command).await?;
        }
        Ok(())
    }

    /// Runs a query of [`queries`] and collects what it finds.
    pub(crate) async fn find<T: DeserializeOwned + Unpin + Send + Sync>(
        &self,
        query: Document,
    ) -> Result<Vec<T>, StoreError> {
        self.refuse_while_resting()?;
        let (command, collection) = match query.iter().next() {
            Some((command, collection)) => (command.as_str(), collection.as_str().unwrap_or_default()),
            None => Default::default(),
        };
        let span = self.span(command, collection);
        let all = async {
            let cursor = self.database.run_cursor_command(query).await?;
            cursor.with_type::<T>().try_collect::<Vec<T>>().await
        };
        let done = tokio::time::timeout(READ_MOST, all).await;
        if !matches!(done, Ok(Ok(_))) {
            telemetry::trace::fail(&span, "not_read");
        }
        drop(span);
        let found = match done {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => match *error.kind {
                mongodb::error::ErrorKind::BsonDeserialization(error) => {
                    // Up to where the driver's words quote the document.
                    let words = error.to_string();
                    let words = words.split(['`', '"']).next().unwrap_or_default();
                    return Err(StoreError::Unreadable(words.trim().to_owned()));
                }
                _ => StoreError::from(error),
            },
            Err(_) => StoreError::Away("no answer in time".into()),
        };
        metrics::counter!("parley_store_failures_total", "what" => "read").increment(1);
        self.rest(REST);
        Err(found)
    }

    /// One command, below what the caller does.
    pub(crate) fn span(&self, command: &str, collection: &str) -> tracing::Span {
        self.span_of(Origin::here(), command, collection)
    }

    /// One command, below what it is for.
    pub(crate) fn span_of(&self, origin: Option<Origin>, command: &str, collection: &str) -> tracing::Span {
        telemetry::span!(
            origin,
            "client",
            format!("{command} {collection}"),
            db.system.name = "mongodb",
            db.namespace = self.database.name(),
            db.collection.name = collection,
            db.operation.name = command
        )
    }

    fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        self.away_until.send_if_modified(|it| {
            let later = until > *it;
            *it = until.max(*it);
            later
        });
    }

    fn refuse_while_resting(&self) -> Result<(), StoreError> {
        if Instant::now() < *self.away_until.borrow() {
            return Err(StoreError::Away("it was away a moment ago".into()));
        }
        Ok(())
    }

    /// Waits until MongoDB is known to be away: who waits for it to catch up is better off told at once.
    pub(crate) async fn until_away(&self) {
        let known = self
            .away_until
            .subscribe()
            .wait_for(|until| Instant::now() < *until)
            .await
            .is_ok();
        if !known {
            std::future::pending().await
        }
    }

    /// Somebody has just been answered: reads make sense again.
    pub(crate) fn set_reachable(&self) {
        self.away_until.send_if_modified(|it| {
            *it = Instant::now();
            false
        });
    }
}
