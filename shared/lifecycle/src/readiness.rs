//! Whether a service can do its work, by what it needs for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Named flags; the service is ready when all of them are up. Cheap to clone, shared by the clones.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, bool>>>);

impl Readiness {
    /// Not ready until each of `needs` was set. All are named at the start, so that the service is not called ready
    /// before a part of it has even been thought of.
    pub fn new(needs: &[&'static str]) -> Self {
        Self(Arc::new(Mutex::new(needs.iter().map(|need| (*need, false)).collect())))
    }

    /// Says that a need is there, or gone. A name not known yet is added.
    pub fn set(&self, need: &'static str, there: bool) {
        let before = self.0.lock().insert(need, there);
        if before != Some(there) {
            tracing::info!(need, there, "readiness");
        }
    }

    /// What is not there.
    pub fn missing(&self) -> Vec<&'static str> {
        self.0
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
