//! The process's one metrics recorder, fed by the macros of the `metrics` crate.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Upper bounds of every histogram, in seconds: 0.5 ms, where a good send ends, to 10 s, where clients give up.
const BUCKETS_S: [f64; 14] = [
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// How often samples are moved into their buckets when nobody scrapes; they would pile up otherwise.
const UPKEEP: Duration = Duration::from_secs(5);

/// Reads the metrics of this process.
#[derive(Clone)]
pub struct MetricsHandle(Option<PrometheusHandle>);

impl MetricsHandle {
    /// All metrics in Prometheus' text form.
    pub fn render(&self) -> String {
        self.0.as_ref().map(PrometheusHandle::render).unwrap_or_default()
    }
}

impl std::fmt::Debug for MetricsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetricsHandle")
    }
}

/// Installs the process's recorder on the first call and hands out the same one ever after: several services may run
/// in one process. Histograms are in seconds.
///
/// If another recorder was installed by other means, that one stays and the handle renders nothing.
pub fn metrics() -> MetricsHandle {
    static HANDLE: OnceLock<MetricsHandle> = OnceLock::new();
    HANDLE.get_or_init(install).clone()
}

fn install() -> MetricsHandle {
    // Only an empty list of buckets is refused.
    let builder = PrometheusBuilder::new().set_buckets(&BUCKETS_S);
    let handle = match builder.and_then(PrometheusBuilder::install_recorder) {
        Ok(handle) => handle,
        Err(error) => {
            tracing::warn!(%error, "no metrics: the recorder could not be installed");
            return MetricsHandle(None);
        }
    };
    let upkeep = handle.clone();
    let thread = std::thread::Builder::new()
        .name("metrics-upkeep".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(UPKEEP);
                upkeep.run_upkeep();
            }
        });
    if let Err(error) = thread {
        tracing::warn!(%error, "metrics are only tidied when scraped");
    }
    MetricsHandle(Some(handle))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_handle_shows_the_same_metrics() {
        let first = super::metrics();
        metrics::counter!("parley_test_total").increment(2);
        metrics::histogram!("parley_test_seconds").record(0.0007);
        let text = super::metrics().render();
        assert_eq!(first.render(), text);
        assert!(text.contains("parley_test_total 2"), "{text}");
        assert!(text.contains(r#"parley_test_seconds_bucket{le="0.0005"} 0"#), "{text}");
        assert!(text.contains(r#"parley_test_seconds_bucket{le="0.001"} 1"#), "{text}");
    }
}
