//! Waiting for conditions with a deadline.

use std::time::{Duration, Instant};

/// How long anything ordinary may take in a debug build on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Asks again until there is an answer.
///
/// # Panics
/// After `patience`, naming `what` was awaited.
pub async fn until<T>(what: &str, patience: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
