//! Committing events: few commands, with majority and journal, and what their errors mean.

use std::time::Duration;

use mongodb::bson::{Document, RawArrayBuf, RawDocumentBuf, cstr, doc, rawdoc};
use mongodb::error::ErrorKind;
use protocol::{ConversationId, Timestamp, UserId};
use serde::Deserialize;

use super::encode::message;
use super::fold::Writes;
use super::{CONVERSATIONS, MEMBERS, MESSAGES, REST_WRITE, Store, words};
use crate::event::Event;

/// Bounds of one command: the server takes 100,000 documents and 16 MiB.
const DOCUMENTS_MOST: usize = 1_000;
const BYTES_MOST: usize = 8 * 1024 * 1024;

/// A server that hangs is asked again on a new connection after this.
const WRITE_MOST: Duration = Duration::from_secs(10);

const DUPLICATE_KEY: i32 = 11_000;
/// Errors of single documents that will pass: elections, shutdowns, time limits, write conflicts, a full disk, rights.
const PASSING: [i32; 16] = [
    6, 7, 13, 50, 64, 89, 91, 112, 189, 262, 9_001, 10_107, 11_600, 11_602, 13_435, 14_031,
];
/// Errors of whole commands that will not: the command cannot be read, or is too large.
const LASTING: [i32; 5] = [2, 9, 14, 22, 10_334];

/// A fact of a conversation's document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    Creation,
    Name,
    History,
    Size,
}

impl Fact {
    fn field(self) -> &'static str {
        match self {
            Self::Creation => "state",
            Self::Name => "named",
            Self::History => "shows",
            Self::Size => "sized",
        }
    }
}

/// Why a batch was not committed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Try again.
    #[error("MongoDB: {0}")]
    Away(String),
    /// Trying again is no use: at least one of the documents is refused for good. The others may have been written.
    #[error("MongoDB refuses a document: code {code}")]
    Refused {
        /// MongoDB's error code. Its words are left out: they may quote the document.
        code: i32,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    #[serde(default)]
    write_errors: Vec<WriteError>,
    write_concern_error: Option<Document>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WriteError {
    index: usize,
    code: i32,
    key_pattern: Option<Document>,
}

impl Store {
    /// Commits the writes of some events with majority and journal.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn commit(&self, events: &[&Event]) -> Result<(), Failure> {
        let Writes {
            events: documents,
            conversations,
            members,
        } = Writes::of(events.iter().copied(), Timestamp::now());
        let insert = async {
            let errors = self.write("insert", MESSAGES, "documents", documents).await?;
            self.store_doubled(events, errors).await
        };
        let update = async |collection, updates| {
            let errors = self.write("update", collection, "updates", updates).await?;
            // Two upserts of the same new document at once: the next try finds it.
            errors
                .into_iter()
                .try_for_each(|error| Err(failure(error.code, error.code == DUPLICATE_KEY)))
        };
        let done = tokio::try_join!(insert, update(CONVERSATIONS, conversations), update(MEMBERS, members));
        if !matches!(done, Err(Failure::Away(_))) {
            self.set_reachable();
        }
        done.map(|_| ())
    }

    /// An event that is there already is as good as written. A message whose client id is there under another `seq`
    /// is in the log twice, against all we promise: it is stored all the same, outside the index.
    async fn store_doubled(&self, events: &[&Event], errors: Vec<WriteError>) -> Result<(), Failure> {
        let mut doubled = Vec::new();
        for error in errors {
            if error.code != DUPLICATE_KEY {
                return Err(failure(error.code, false));
            }
            let by_client = error.key_pattern.is_some_and(|it| it.contains_key("client_key"));
            let inserted = events.iter().filter(|it| it.is_stored()).nth(error.index);
            if let Some(Event::Message(it)) = inserted.filter(|_| by_client) {
                metrics::counter!("parley_projector_doubled_total").increment(1);
                tracing::error!(
                    conversation = it.conversation_id.as_str(),
                    seq = it.seq,
                    "a message is logged twice"
                );
                doubled.push(message(it, false, Timestamp::now()));
            }
        }
        let errors = self.write("insert", MESSAGES, "documents", doubled).await?;
        let lasting = errors.into_iter().find(|it| it.code != DUPLICATE_KEY);
        lasting.map_or(Ok(()), |error| Err(failure(error.code, false)))
    }

    /// Runs a write command, in parts where it would be too large. The errors' indexes are those of `items`.
    async fn write(
        &self,
        command: &str,
        collection: &str,
        field: &str,
        items: Vec<RawDocumentBuf>,
    ) -> Result<Vec<WriteError>, Failure> {
        let (mut errors, mut items) = (Vec::new(), items.into_iter().peekable());
        let mut done = 0;
        while items.peek().is_some() {
            let (mut part, mut count, mut bytes) = (RawArrayBuf::new(), 0, 0);
            while let Some(item) = items.next_if(|_| count < DOCUMENTS_MOST && bytes < BYTES_MOST) {
                bytes += item.as_bytes().len();
                count += 1;
                part.push(item);
            }
            let reply = self.write_part(command, collection, field, part).await?;
            errors.extend(reply.write_errors.into_iter().map(|it| WriteError {
                index: it.index + done,
                ..it
            }));
            done += count;
        }
        Ok(errors)
    }

    async fn write_part(
        &self,
        command: &str,
        collection: &str,
        field: &str,
        items: RawArrayBuf,
    ) -> Result<Reply, Failure> {
        let mut body = RawDocumentBuf::new();
        let key = |name: &str| mongodb::bson::raw::CString::try_from(name).map_err(|_| Failure::Refused { code: 0 });
        body.append(key(command)?, collection);
        body.append(key(field)?, items);
        body.append(cstr!("ordered"), false);
        body.append(cstr!("writeConcern"), rawdoc! { "w": "majority", "j": true });
        let span = self.span(command, collection);
        let done = tokio::time::timeout(WRITE_MOST, self.database.run_raw_command(body)).await;
        if !matches!(done, Ok(Ok(_))) {
            telemetry::trace::fail(&span, "not_committed");
        }
        drop(span);
        let reply = match done {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => match &*error.kind {
                ErrorKind::Command(it) if LASTING.contains(&it.code) => return Err(Failure::Refused { code: it.code }),
                ErrorKind::BsonSerialization(_) | ErrorKind::Bson(_) => return Err(Failure::Refused { code: 0 }),
                _ => {
                    self.rest(REST_WRITE);
                    return Err(Failure::Away(words(&error)));
                }
            },
            Err(_) => {
                self.rest(REST_WRITE);
                return Err(Failure::Away("no answer in time".into()));
            }
        };
        let reply: Reply = mongodb::bson::deserialize_from_document(reply)
            .map_err(|error| Failure::Away(format!("an answer that cannot be read: {error}")))?;
        match reply.write_concern_error {
            Some(error) => Err(Failure::Away(format!("not by a majority: {error}"))),
            None => Ok(reply),
        }
    }

    /// Removes a fact of a conversation that the event `seq` told wrongly, so that it can be written anew. Only
    /// `verify --repair` does this.
    pub(crate) async fn forget_fact(&self, id: &ConversationId, fact: Fact, seq: u64) -> Result<(), Failure> {
        let field = fact.field();
        let filter = doc! { "_id": id.as_str(), format!("{field}.seq"): super::queries::signed(seq) };
        self.unset(CONVERSATIONS, filter, field).await
    }

    /// Removes what the event `seq` told of a member, so that it can be written anew. Only `verify --repair` does this.
    pub(crate) async fn forget_membership(&self, user: &UserId, id: &ConversationId, seq: u64) -> Result<(), Failure> {
        for field in ["m", "r"] {
            let key = doc! { "u": user.as_str(), "c": id.as_str() };
            let filter = doc! { "_id": key, format!("{field}.seq"): super::queries::signed(seq) };
            self.unset(MEMBERS, filter, field).await?;
        }
        Ok(())
    }

    async fn unset(&self, collection: &str, filter: Document, field: &str) -> Result<(), Failure> {
        let documents = self.database.collection::<Document>(collection);
        documents
            .update_one(filter, doc! { "$unset": { field: "" } })
            .await
            .map(drop)
            .map_err(|error| Failure::Away(words(&error)))
    }

    /// Removes an event, so that it can be written anew. Only `verify --repair` does this.
    pub(crate) async fn remove_event(&self, id: &ConversationId, seq: u64) -> Result<(), Failure> {
        let filter = doc! { "_id": super::queries::key(id, seq) };
        let events = self.database.collection::<Document>(MESSAGES);
        events
            .delete_one(filter)
            .await
            .map(drop)
            .map_err(|error| Failure::Away(words(&error)))
    }
}

fn failure(code: i32, passing: bool) -> Failure {
    if passing || PASSING.contains(&code) {
        Failure::Away(format!("a document was not taken for now: code {code}"))
    } else {
        Failure::Refused { code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_election_passes_and_a_bad_document_stays_bad() {
        assert!(matches!(failure(10_107, false), Failure::Away(_)));
        assert!(matches!(failure(2, false), Failure::Refused { code: 2 }));
    }
}
