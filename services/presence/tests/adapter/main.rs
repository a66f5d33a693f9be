//! The presence service with a real NATS server, and connection nodes that the tests play.

mod bucket;
mod nats;
mod node;
mod outages;
mod replica;
mod service;
