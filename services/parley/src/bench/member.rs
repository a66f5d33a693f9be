//! A member's socket in a worker, and writing to it without waiting.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;

use futures_util::Sink;
use tokio::task::spawn_local;

use super::socket::Socket;

/// A member's socket. It is borrowed for one poll at a time, never over an `await`.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) socket: RefCell<Socket>,
    pub(super) room: usize,
    pub(super) place: usize,
    pub(super) flushing: Cell<bool>,
    /// The last message that it has confirmed.
    pub(super) confirmed: Cell<u64>,
}

/// Writes out what was sent; a task goes on with what the kernel does not take at once.
pub(super) fn flush(member: &Rc<Member>) {
    let mut idle = std::task::Context::from_waker(std::task::Waker::noop());
    let flushed = Pin::new(&mut *member.socket.borrow_mut()).poll_flush(&mut idle);
    if flushed.is_pending() {
        member.flushing.set(true);
        let member = member.clone();
        spawn_local(async move {
            // An error ends the reader, too, which counts it.
            let _ = poll_fn(|context| Pin::new(&mut *member.socket.borrow_mut()).poll_flush(context)).await;
            member.flushing.set(false);
        });
    }
}
