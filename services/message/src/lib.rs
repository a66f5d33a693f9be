//! The message service: the rules of conversations, the order and idempotency of what is sent, the one writer of the
//! log; and, as the log's reader, the projection into MongoDB and the reads of history.
//!
//! It holds no socket and knows no session. Any number of replicas run side by side; none owns a conversation.

mod app;
mod conversation;
mod create;
mod event;
mod floor;
mod projector;
mod read;
mod receipts;
mod send;
mod service;
pub mod store;
pub mod verify;

pub use app::run;
