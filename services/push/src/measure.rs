//! For `parley bench push` and nothing else: the same pushes to Apple, as fast as they are answered, made by the service's
//! own provider or by a plain HTTP/2 client that is given finished requests.
//!
//! What the first does more than the second is what the service's provider costs: a payload, headers and a token for each
//! push, the choice of a connection, time-outs and the judgement of the answer.

mod raw;
mod sample;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use protocol::push::Platform;
use tokio::task::JoinSet;

use crate::provider::{Answer, Providers};
pub use raw::Raw;
pub use sample::Sample;

/// What came of the pushes of one load.
#[derive(Debug, Clone, Default)]
pub struct Made {
    /// Pushes that the provider took.
    pub accepted: u64,
    /// All others, by what became of them.
    pub failed: BTreeMap<String, u64>,
    /// From the first request to the last answer.
    pub took: Duration,
}

/// The service's own way to Apple.
#[derive(Debug, Clone)]
pub struct Ours {
    providers: Arc<Providers>,
    sample: Arc<Sample>,
}

impl Ours {
    /// Reads keys and certificates; connects with the first push.
    ///
    /// # Errors
    /// A [`config::ConfigError`] of the setting whose file cannot be used.
    pub fn new(config: &config::Push, sample: Arc<Sample>) -> anyhow::Result<Self> {
        let providers = Arc::new(Providers::new(config)?);
        Ok(Self { providers, sample })
    }

    /// Keeps so many pushes in flight for so long.
    pub async fn load(&self, in_flight: usize, length: Duration) -> Made {
        let ours = self.clone();
        let one = move |number| {
            let ours = ours.clone();
            async move { ours.one(number).await }
        };
        keep(in_flight, length, one).await
    }

    async fn one(&self, number: u64) -> Result<(), String> {
        let Some(provider) = self.providers.get(Platform::Apns) else {
            return Err("there is no key for Apple".to_owned());
        };
        match provider.push(&self.sample.push(number)).await {
            Answer::Accepted => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }
}

/// Tasks that each make one push after the other, until the time is over; then all are waited for.
async fn keep<F, Fut>(in_flight: usize, length: Duration, one: F) -> Made
where
    F: Fn(u64) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<(), String>> + Send,
{
    let start = Instant::now();
    let numbers = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..in_flight {
        let (one, numbers) = (one.clone(), numbers.clone());
        tasks.spawn(async move {
            let mut made = Made::default();
            while start.elapsed() < length {
                match one(numbers.fetch_add(1, Ordering::Relaxed)).await {
                    Ok(()) => made.accepted += 1,
                    Err(reason) => *made.failed.entry(reason).or_default() += 1,
                }
            }
            made
        });
    }
    let mut sum = Made::default();
    while let Some(ended) = tasks.join_next().await {
        let made = ended.unwrap_or_else(|error| Made {
            failed: BTreeMap::from([(error.to_string(), 1)]),
            ..Made::default()
        });
        sum.accepted += made.accepted;
        for (reason, count) in made.failed {
            *sum.failed.entry(reason).or_default() += count;
        }
    }
    sum.took = start.elapsed();
    sum
}
