//! The presence service with a real NATS server, and connection nodes that the tests play.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bucket;
mod nats;
mod node;
mod outages;
mod replica;
mod service;
