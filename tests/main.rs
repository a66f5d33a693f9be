//! Tests of the whole system: the real `parley` binary with real NATS and MongoDB, seen only from outside.
//!
//! Everything here is written from the contract with clients and operators; the client parses frames on its own, so
//! that a mistake in the shared types cannot hide itself.
#![expect(clippy::unwrap_used, reason = "a test binary has no users")]

mod harness;

mod bad_input;
mod catch_up;
mod chat;
mod configure;
mod connect;
mod conversations;
mod crashes;
mod deadlines;
mod deliver;
mod flood;
mod history;
mod invariants;
mod lost_log;
mod outages;
mod oversize;
mod paths;
mod queries;
mod receipts;
mod reconnects;
mod resume;
mod retry;
mod send;
mod since;
mod start;
mod tokens;
mod user_ids;
mod verify;
