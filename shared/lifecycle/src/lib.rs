//! How a service lives: started from a configuration, watched, asked to stop, and ended with an exit code that says why.
//!
//! Nothing here knows what a service does.

pub mod admin;
mod check;
mod exit;
mod log_level;
mod problem;
mod readiness;
mod service;
mod shutdown;
mod tasks;

pub use check::check;
pub use config::{EXIT_UNAVAILABLE, Unavailable};
pub use exit::{exit_code, report};
pub use problem::problem;
pub use readiness::{METRICS, Readiness};
pub use service::{bind, main, run_service};
pub use shutdown::Shutdown;
pub use tasks::Tasks;
