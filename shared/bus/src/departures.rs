//! Replicas that take leave: whoever has asked one of them asks again at once, and not when his patience ends.
//!
//! NATS hands a request to one replica of a queue group. One that unsubscribes loses what is on its way to it: the
//! client drops what arrives after that, and the server, which has delivered it, does not send it again. (Draining a
//! subscription with async-nats 0.51 does not help: it waits for the next turn of the connection, not for the server's
//! answer.) So a replica that has unsubscribed says so, and requests of before that are asked once more if they stay
//! without an answer for a moment. That is safe because every request is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::subjects;

/// Replicas that live answer within this, mostly; what they have not is asked for a second time, which is harmless.
const PATIENCE: Duration = Duration::from_millis(150);
/// In a cluster of servers some hear later than others that a subscription is gone.
const ROUTES: Duration = Duration::from_millis(50);
/// Services remembered: there are four.
const SERVICES_MOST: usize = 16;
/// For saying that a replica leaves.
const TELL: Duration = Duration::from_millis(500);

type Last = HashMap<String, Instant>;

/// When a replica of each service was last heard to leave. Cheap to clone; it listens while a clone lives.
#[derive(Debug, Clone)]
pub(crate) struct Departures {
    last: watch::Receiver<Last>,
    _listening: Arc<Listening>,
}

#[derive(Debug)]
struct Listening(AbortHandle);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Departures {
    /// Listens from now on.
    pub(crate) fn follow(client: Client) -> Self {
        let (tell, last) = watch::channel(Last::new());
        let listening = tokio::spawn(listen(client, tell));
        Self {
            last,
            _listening: Arc::new(Listening(listening.abort_handle())),
        }
    }

    /// Waits until a request of `asked_at`, still without an answer, is to be asked again, because a replica of the
    /// service has left that may have been given it. For ever, if none does.
    pub(crate) async fn missed(&self, service: &str, asked_at: Instant) {
        let mut last = self.last.clone();
        loop {
            let left_at = last.borrow_and_update().get(service).copied();
            if let Some(left_at) = left_at.filter(|left_at| asked_at < *left_at + ROUTES) {
                return sleep_until(left_at.max(asked_at) + PATIENCE).await;
            }
            if last.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// Says that a replica of this service, if it has one, takes no more requests: to be called when the server has heard it unsubscribe.
pub(crate) async fn tell(client: &Client, service: Option<&str>) {
    let Some(service) = service else { return };
    // While NATS is away the client takes no more than it has room for: a process that ends does not wait for that.
    let told = timeout(TELL, client.publish(subjects::leaving(service), bytes::Bytes::new())).await;
    if !matches!(told, Ok(Ok(()))) {
        tracing::debug!("requests on their way here are asked again later");
    }
}

async fn listen(client: Client, tell: watch::Sender<Last>) {
    let mut heard = match client.subscribe(subjects::LEAVING_WILDCARD).await {
        Ok(heard) => heard,
        Err(error) => {
            return tracing::warn!(%error, "that replicas leave will not be heard: requests may be answered late");
        }
    };
    while let Some(message) = heard.next().await {
        let Some(service) = message.subject.rsplit('.').next() else {
            continue;
        };
        tell.send_modify(|last| {
            if last.len() < SERVICES_MOST || last.contains_key(service) {
                last.insert(service.to_owned(), Instant::now());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn departures() -> (watch::Sender<Last>, Departures) {
        let (tell, last) = watch::channel(Last::new());
        let listening = Arc::new(Listening(tokio::spawn(async {}).abort_handle()));
        let departures = Departures {
            last,
            _listening: listening,
        };
        (tell, departures)
    }

    fn leave(tell: &watch::Sender<Last>, service: &str) {
        tell.send_modify(|last| {
            last.insert(service.to_owned(), Instant::now());
        });
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_before_a_replica_left_is_missed_a_moment_later() {
        let (tell, departures) = departures();
        let asked_at = Instant::now();
        advance(Duration::from_millis(500)).await;
        leave(&tell, "message");
        departures.missed("message", asked_at).await;
        assert_eq!(asked_at.elapsed(), Duration::from_millis(500) + PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_after_it_left_and_of_others_is_not() {
        let (tell, departures) = departures();
        let before = Instant::now();
        leave(&tell, "presence");
        leave(&tell, "message");
        advance(ROUTES).await;
        let long = Duration::from_secs(60);
        assert!(
            timeout(long, departures.missed("message", Instant::now()))
                .await
                .is_err(),
            "asked after it had left"
        );
        assert!(
            timeout(long, departures.missed("push", before)).await.is_err(),
            "of another service"
        );
    }
}
