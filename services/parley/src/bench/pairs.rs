//! `parley bench pairs`: two people each, talking both ways.

use clap::Args;

use super::target;
use super::traffic::{self, Shape};

/// What `parley bench pairs` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Conversations of two; each has two sockets
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=9_000))]
    pairs: u64,
    #[command(flatten)]
    pub(super) traffic: traffic::Options,
    #[command(flatten)]
    pub(super) target: target::Options,
}

impl Options {
    pub(super) fn shape(&self) -> Shape {
        Shape {
            name: "pairs",
            rooms: self.pairs as usize,
            members: 2,
            senders: 2,
        }
    }
}
