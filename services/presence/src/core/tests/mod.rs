//! The core among simulated nodes, replicas and clients, with a clock that the tests move.

mod connections;
mod invisible;
mod leases;
mod links;
mod many;
mod model;
mod names;
mod node;
mod properties;
mod replicas;
mod signals;
mod snapshots;
mod start;
mod world;
