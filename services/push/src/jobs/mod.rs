//! Jobs: pushes to be made, in a work-queue stream with a queue for each provider's app.

mod attempt;
mod backoff;
mod breaker;
mod chains;
mod check;
pub(crate) mod dead;
mod job;
mod lanes;
mod origins;
mod state;
mod worker;

pub(crate) use backoff::pause_by_chance;
pub(crate) use job::{Job, Message, Task, VERSION};
pub(crate) use lanes::{Lanes, run};
