//! Waits until something that was started can be used.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};

/// Between two looks: short against a start, long against the cost of a look.
const POLL: Duration = Duration::from_millis(20);

/// How long a server or a service may take. Its own patience with what it needs is shorter, and its error better.
const PATIENCE: Duration = Duration::from_secs(90);

/// After this long, say what is being waited for.
const SILENCE: Duration = Duration::from_secs(5);

/// Looks until `look` gives true; an error is one more reason to look again, and the last one is told.
pub(super) async fn until<F>(what: &str, mut look: impl FnMut() -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<bool>>,
{
    let start = Instant::now();
    let mut told = false;
    loop {
        let problem = match look().await {
            Ok(true) => return Ok(()),
            Ok(false) => None,
            Err(error) => Some(error),
        };
        if start.elapsed() > PATIENCE {
            let problem = problem.map(|error| format!(": {error:#}")).unwrap_or_default();
            bail!("{what} was not ready within {} s{problem}", PATIENCE.as_secs());
        }
        if !told && start.elapsed() > SILENCE {
            eprintln!("parley: waiting for {what}");
            told = true;
        }
        sleep(POLL).await;
    }
}

/// Waits until `/readyz` on a private port answers 200.
pub(super) async fn service(name: &str, port: u16) -> anyhow::Result<()> {
    // A proxy of the environment is for the outside.
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(2))
        .build()?;
    let url = format!("http://127.0.0.1:{port}/readyz");
    let look = || async {
        let answer = client.get(&url).send().await?;
        if answer.status().is_success() {
            return Ok(true);
        }
        Err(anyhow::anyhow!(
            answer.text().await.unwrap_or_default().trim().to_owned()
        ))
    };
    until(name, look)
        .await
        .with_context(|| format!("the service {name} did not start"))
}
