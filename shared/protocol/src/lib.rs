//! The words that clients and services exchange: frames, HTTP bodies, log envelopes, internal requests.
//!
//! Pure data and pure functions: no sockets, no clock, no NATS. `PROTOCOL.md` in this crate's folder is the published
//! form of the client's side; a test holds its examples against these types.

pub mod claims;
pub mod client_frame;
pub mod cursor;
pub mod envelope;
pub mod error;
pub mod http;
pub mod ids;
mod lenient;
pub mod limits;
pub mod push;
mod quiet;
pub mod rpc;
pub mod server_frame;
pub mod signal;
pub mod timeline;
pub mod timestamp;
pub mod trace;

pub use claims::Claims;
pub use client_frame::ClientFrame;
pub use cursor::Cursor;
pub use error::{Code, Refusal};
pub use ids::{ClientId, ConversationId, ServerId, UserId};
pub use quiet::Quiet;
pub use server_frame::ServerFrame;
pub use timestamp::Timestamp;
