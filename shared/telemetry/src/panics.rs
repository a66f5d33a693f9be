//! A panic as a log line like any other, and without what a client sent.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

/// From now on panics are written to the log: where, and why if that is known since the program was written. A message put
/// together at run time is held back, since it may quote the text that the program choked on.
pub(crate) fn install() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        tracing::error!(place, backtrace, "panicked: {}", reason(panic));
    }));
}

fn reason(panic: &PanicHookInfo<'_>) -> &'static str {
    let known = panic.payload().downcast_ref::<&'static str>();
    known
        .copied()
        .unwrap_or("(a message that may quote a client is not shown)")
}
