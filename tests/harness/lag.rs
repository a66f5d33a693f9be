//! The machine's own delay, measured beside a call that is timed: on a busy machine, or one that stalls for seconds, the
//! product may be as much later as everything else is.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::api::Api;

/// Between two probes.
const PACE: Duration = Duration::from_millis(20);
/// What a probe takes at most where nothing delays it.
const USUAL: Duration = Duration::from_millis(50);

/// Asks the same process over the same path for something that needs neither NATS nor MongoDB, a 401, again and again,
/// from the same thread as the test; adds up by how much each round took longer than it should. Ends when dropped.
pub struct Lag {
    measured: Arc<Mutex<Measured>>,
    probing: JoinHandle<()>,
}

struct Measured {
    lost: Duration,
    round: Instant,
}

impl Measured {
    fn late(&self) -> Duration {
        self.round.elapsed().saturating_sub(PACE + USUAL)
    }
}

impl Lag {
    /// Begins to measure at the node of `api`.
    pub fn beside(api: &Api) -> Self {
        let nobody = api.with_token("");
        let measured = Arc::new(Mutex::new(Measured {
            lost: Duration::ZERO,
            round: Instant::now(),
        }));
        let shared = Arc::clone(&measured);
        let probing = tokio::spawn(async move {
            loop {
                let reply = nobody.try_get("/v1/conversations").await;
                assert!(reply.is_none_or(|it| it.status == 401), "nobody is let in");
                tokio::time::sleep(PACE).await;
                let mut measured = shared.lock().unwrap();
                let late = measured.late();
                measured.lost += late;
                measured.round = Instant::now();
            }
        });
        Self { measured, probing }
    }

    /// How much time was lost so far, also in the round that is under way.
    pub fn lost(&self) -> Duration {
        assert!(!self.probing.is_finished(), "the probe ended");
        let measured = self.measured.lock().unwrap();
        measured.lost + measured.late()
    }

    /// Asserts that something took less than `contract`, the time aside that was lost beside it.
    pub fn assert_within(&self, contract: Duration, took: Duration, what: &str) {
        let lost = self.lost();
        assert!(
            took < contract + lost,
            "{what} took {took:?}; the machine lost {lost:?}"
        );
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        self.probing.abort();
    }
}
