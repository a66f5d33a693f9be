//! The tool around a Parley deployment: start one on this machine, mint a development token for it, talk over it.
//!
//! One subcommand, one module. The services' own work is in their crates; this one only starts them.

pub mod bench;
pub mod chat;
mod cli;
pub mod data_dir;
mod fake_push;
mod key;
pub mod processes;
mod push;
mod running;
pub mod servers;
mod service;
mod setup;
pub mod token;
mod trace;
pub mod up;
pub mod verify;

pub use cli::run;
