//! Whether a service can do its work, by what it needs for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use telemetry::{Label, Metric, Table};

/// Of every service.
pub const METRICS: Table = &[Metric::gauge(
    "parley_ready",
    "1 while the service can do its work, as `/readyz` says; 0 while it starts, drains or misses something it needs.",
)
.with(&[Label::each("service", "service of the process")])];

/// Named flags; the service is ready when all of them are up. Cheap to clone, shared by the clones.
#[derive(Debug, Clone)]
pub struct Readiness {
    needs: Arc<Mutex<BTreeMap<&'static str, bool>>>,
    /// Shows whether all are up.
    shown: Option<metrics::Gauge>,
}

impl Readiness {
    /// Not ready until each of `needs` was set. All are named at the start, so that the service is not called ready
    /// before a part of it has even been thought of.
    pub fn new(needs: &[&'static str]) -> Self {
        let needs = needs.iter().map(|need| (*need, false)).collect();
        Self {
            needs: Arc::new(Mutex::new(needs)),
            shown: None,
        }
    }

    /// As [`Readiness::new`], and shown as the metric `parley_ready` of this service.
    pub fn of(service: &'static str, needs: &[&'static str]) -> Self {
        let shown = metrics::gauge!("parley_ready", "service" => service);
        shown.set(0.0);
        Self {
            shown: Some(shown),
            ..Self::new(needs)
        }
    }

    /// Says that a need is there, or gone. A name not known yet is added.
    pub fn set(&self, need: &'static str, there: bool) {
        let mut needs = self.needs.lock();
        if needs.insert(need, there) != Some(there) {
            tracing::info!(need, there, "readiness");
            // Under the lock: of two at once the later one is shown.
            if let Some(shown) = &self.shown {
                shown.set(f64::from(needs.values().all(|there| *there)));
            }
        }
    }

    /// What is not there.
    pub fn missing(&self) -> Vec<&'static str> {
        self.needs
            .lock()
            .iter()
            .filter(|(_, there)| !**there)
            .map(|(need, _)| *need)
            .collect()
    }

    /// Whether nothing is missing.
    pub fn is_ready(&self) -> bool {
        self.missing().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_nothing_is_missing() {
        let ready = Readiness::new(&["nats", "mongodb"]);
        ready.set("nats", true);
        assert_eq!(ready.missing(), ["mongodb"]);
        ready.set("mongodb", true);
        assert!(ready.is_ready());
        ready.set("nats", false);
        assert_eq!(ready.missing(), ["nats"]);
    }
}
