//! `parley bench groups`: in each group one sends and all others receive.

use anyhow::ensure;
use clap::Args;

use super::target;
use super::traffic::{self, Shape};

/// One process holds 20,000 open files at most.
const SOCKETS_MOST: u64 = 18_000;

/// What `parley bench groups` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Members of each group, the sender included
    #[arg(long, value_name = "M", default_value_t = 10, value_parser = clap::value_parser!(u64).range(3..=10_000))]
    members: u64,
    /// How many groups
    #[arg(long, value_name = "G", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=6_000))]
    groups: u64,
    #[command(flatten)]
    pub(super) traffic: traffic::Options,
    #[command(flatten)]
    pub(super) target: target::Options,
}

impl Options {
    /// # Errors
    /// More sockets than this process can hold.
    pub(super) fn shape(&self) -> anyhow::Result<Shape> {
        let sockets = self.members * self.groups;
        ensure!(
            sockets <= SOCKETS_MOST,
            "{sockets} sockets are more than {SOCKETS_MOST}: fewer --groups or --members"
        );
        Ok(Shape {
            name: "groups",
            rooms: self.groups as usize,
            members: self.members as usize,
            senders: 1,
        })
    }
}
