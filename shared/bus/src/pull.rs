//! The entries of a durable consumer, read so that a reader can stop without keeping any from the others.
//!
//! A request for entries cannot be taken back: what NATS has sent for it when its reader unsubscribes comes again only
//! when the time to ack is over. So requests are short, and a reader that stops makes no further one, but takes what the
//! last one still brings. Nothing is left in between, and other replicas get all else at once.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::consumer::pull::{Batch, BatchError};
use futures_util::Stream;
use tokio::time::{Sleep, sleep};

/// A request is open for so long: as long a replica takes to stop, and as often it asks while there is nothing.
pub const EXPIRES: Duration = Duration::from_millis(500);
/// A request that the server has not ended by then, after it expired, was lost with its leader: another one is made.
const LATE: Duration = Duration::from_millis(500);

/// A stream of entries that ends once it was stopped and the last request has ended.
pub struct Pull {
    consumer: PullConsumer,
    most: usize,
    state: State,
    /// When to wait no longer for the end of the last request.
    stopped: Option<Pin<Box<Sleep>>>,
}

type Opening = Pin<Box<dyn Future<Output = Result<Batch, BatchError>> + Send>>;

enum State {
    Between,
    /// Kept here and not in the future of whoever reads: a request that was made must be read, whoever gives up waiting.
    Opening(Opening),
    /// With when it should have ended.
    Open(Box<Batch>, Pin<Box<Sleep>>),
}

impl std::fmt::Debug for Pull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pull").field("most", &self.most).finish_non_exhaustive()
    }
}

impl Pull {
    /// Reads with requests for `most` entries each.
    pub fn new(consumer: PullConsumer, most: usize) -> Self {
        Self {
            consumer,
            most,
            state: State::Between,
            stopped: None,
        }
    }

    /// Makes no further request. What the last one brings still comes, for [`EXPIRES`] at most.
    pub fn stop(&mut self) {
        if self.stopped.is_none() {
            self.stopped = Some(Box::pin(sleep(EXPIRES + LATE)));
        }
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }
}

impl Stream for Pull {
    type Item = Result<Message, String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let next = match &mut this.state {
                State::Between if this.stopped.is_some() => return Poll::Ready(None),
                State::Between => {
                    let (consumer, most) = (this.consumer.clone(), this.most);
                    let open = async move { consumer.batch().max_messages(most).expires(EXPIRES).messages().await };
                    this.state = State::Opening(Box::pin(open));
                    continue;
                }
                State::Opening(opening) => opening.as_mut().poll(cx).map(|opened| match opened {
                    Ok(batch) => Ok(State::Open(Box::new(batch), Box::pin(sleep(EXPIRES + LATE)))),
                    Err(error) => Err(error.to_string()),
                }),
                State::Open(batch, late) => match Pin::new(batch.as_mut()).poll_next(cx) {
                    Poll::Ready(Some(Ok(message))) => return Poll::Ready(Some(Ok(message))),
                    Poll::Ready(Some(Err(error))) => Poll::Ready(Err(error.to_string())),
                    Poll::Ready(None) => Poll::Ready(Ok(State::Between)),
                    // Looked at only when nothing has come: a reader that is slow loses nothing.
                    Poll::Pending => late.as_mut().poll(cx).map(|()| Ok(State::Between)),
                },
            };
            match next {
                Poll::Ready(Ok(state)) => this.state = state,
                Poll::Ready(Err(error)) => {
                    this.state = State::Between;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Pending => {
                    let Some(patience) = this.stopped.as_mut() else {
                        return Poll::Pending;
                    };
                    ready!(patience.as_mut().poll(cx));
                    this.state = State::Between;
                    return Poll::Ready(None);
                }
            }
        }
    }
}
