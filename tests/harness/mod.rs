//! What the tests stand on: deployments, users, sockets, faults, and the checker of what must always hold.

mod admin;
mod api;
mod broker;
mod client;
mod cluster;
mod cluster_files;
mod collector;
mod connect;
mod deployment;
pub mod faults;
mod follower;
mod frames;
mod groups;
pub mod invariants;
mod lag;
mod lagging;
mod nats;
mod newer;
mod outbox;
mod people;
mod phones;
mod poll;
mod ports;
pub mod process;
mod raw;
mod reliable;
mod roll;
mod signals;
mod sse;
mod start;
mod storm;
mod views;
mod wait;

pub use admin::steps_of;
pub use api::{Api, Reply};
pub use broker::Broker;
pub use client::{Client, message};
pub use cluster::Cluster;
pub use collector::{Collector, Span};
pub use deployment::Deployment;
pub use frames::{Entry, What, is_durable};
pub use groups::{Change, escaped};
pub use lag::Lag;
pub use lagging::Lagging;
pub use nats::{Nats, RawNats, USERS, new_folder as new_nats_folder, password as nats_password, permissions};
pub use newer::Newer;
pub use people::{Room, User};
pub use phones::{GRACE, Phone, Phones, RING, phones};
pub use poll::Poller;
pub use ports::free as free_ports;
pub use raw::RawSocket;
pub use reliable::Reliable;
pub use signals::SIGNALS;
pub use sse::Sse;
pub use start::{Refused, Start, forgetful, lively, shared, tuned};
pub use storm::{Crowd, Storm};
pub use wait::{PATIENCE, until};

/// A fresh client id of version 7, as an app makes it.
pub fn client_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
