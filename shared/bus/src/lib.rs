//! Everything Parley says over NATS: subjects, streams, the log, the directory of memberships, requests.
//!
//! Subjects are built in [`subjects`] and streams declared in [`streams`], nowhere else. What the entries mean is for
//! the services to know; how they are escaped, ordered, compared and read is here.

pub mod batch;
pub mod connect;
mod departures;
pub mod direct;
pub mod directory;
mod doubt;
pub mod durable;
mod ends;
pub mod lag;
pub mod leader;
pub mod log;
mod login;
mod membership;
pub mod metrics;
pub mod pull;
pub mod rpc;
pub mod spans;
pub mod streams;
pub mod subjects;
pub mod tail;
mod whole;
pub mod write;

pub use connect::Bus;
pub use log::{Appended, Log, LogError, Record};
pub use subjects::Lane;
