//! The connection service: sockets, the HTTP edge, sessions, delivery and replay.
//!
//! It decides nothing about who may do what: it asks the message service, and reads the log.

mod api;
mod app;
mod hub;
mod listener;
mod session;
mod token;

pub use app::run;
