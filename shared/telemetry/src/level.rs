//! What of the log is written: the filter, which can be changed while the process runs, and the cap that no filter lifts.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterExt, FilterFn, LevelFilter};
use tracing_subscriber::layer::Filter;
use tracing_subscriber::reload;

/// The crates whose finer levels may be had. Libraries write whole requests, documents, tokens and keys at theirs, so that
/// they are held at `info` whatever the filter says: what is not in this list is somebody else's.
const OURS: [&str; 11] = [
    "bus",
    "config",
    "connection",
    "fake_push",
    "lifecycle",
    "message",
    "parley",
    "presence",
    "protocol",
    "push",
    "telemetry",
];

/// Writes the same error several times a second for as long as a server is away: `bus` tells what matters of it, once.
const REPEATS: &str = "async_nats::connector";

/// Tells at `info` what `bus` tells in words of its own.
const TALKATIVE: &str = "async_nats";

/// Longest filter that is taken, in bytes.
const FILTER_BYTES: usize = 4_096;

/// Text that is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a filter such as info or warn,connection=debug: {0}")]
pub struct BadFilter(String);

/// The process's filter. Clones are the same one.
#[derive(Debug, Clone)]
pub struct LogLevel(Arc<Mutex<State>>);

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// The filter, as it was asked for.
    pub filter: String,
    /// When it gives way to the configured one; `None`: it stays.
    pub until: Option<SystemTime>,
    /// The one that the process was started with.
    pub configured: String,
}

/// Puts a filter into the place where it works.
type Reload = Box<dyn Fn(EnvFilter) + Send>;

struct State {
    in_force: InForce,
    /// Counts changes, so that an end that has been overtaken ends nothing.
    changes: u64,
    reload: Reload,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.in_force.fmt(f)
    }
}

/// A change that ends by itself: for [`LogLevel::fall_back`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change(u64);

impl LogLevel {
    /// The filter for a layer, and what changes it.
    ///
    /// # Errors
    /// `filter` is none.
    pub(crate) fn new<S>(filter: &str) -> Result<(impl Filter<S> + Send + Sync + 'static, Self), BadFilter>
    where
        S: Subscriber,
        EnvFilter: Filter<S>,
    {
        let (filtered, handle) = reload::Layer::<EnvFilter, S>::new(parse(filter)?);
        let state = State {
            in_force: InForce {
                filter: filter.to_owned(),
                until: None,
                configured: filter.to_owned(),
            },
            changes: 0,
            // It fails only where the subscriber is gone, and with it the log.
            reload: Box::new(move |filter| drop(handle.reload(filter))),
        };
        // With a hint: without one, of two filters together, every line of every library is made to be looked at here.
        let harmless = FilterFn::new(is_harmless).with_max_level_hint(LevelFilter::TRACE);
        Ok((filtered.and(harmless), Self(Arc::new(Mutex::new(state)))))
    }

    /// What is in force.
    pub fn in_force(&self) -> InForce {
        self.0.lock().in_force.clone()
    }

    /// Puts another filter in force. With `lasting` the caller hands the change to [`LogLevel::fall_back`] when the time
    /// has passed.
    ///
    /// # Errors
    /// `filter` is none: nothing is changed.
    pub fn set(&self, filter: &str, lasting: Option<Duration>) -> Result<(InForce, Change), BadFilter> {
        let parsed = parse(filter)?;
        let mut state = self.0.lock();
        (state.reload)(parsed);
        state.in_force.filter = filter.trim().to_owned();
        state.in_force.until = lasting.and_then(|lasting| SystemTime::now().checked_add(lasting));
        state.changes += 1;
        Ok((state.in_force.clone(), Change(state.changes)))
    }

    /// Puts the configured filter in force again, unless something was changed since.
    pub fn fall_back(&self, Change(change): Change) {
        let mut state = self.0.lock();
        let Ok(configured) = parse(&state.in_force.configured) else {
            return;
        };
        if state.changes == change {
            (state.reload)(configured);
            state.in_force.filter = state.in_force.configured.clone();
            state.in_force.until = None;
        }
    }
}

/// A filter is never empty: a typing error must not silence a service.
fn parse(filter: &str) -> Result<EnvFilter, BadFilter> {
    if filter.trim().is_empty() {
        return Err(BadFilter("it is empty".to_owned()));
    }
    if filter.len() > FILTER_BYTES {
        return Err(BadFilter(format!("it is longer than {FILTER_BYTES} bytes")));
    }
    // Without expressions for the values of fields: one of a few letters can take all memory there is.
    let parsed = EnvFilter::builder().with_regex(false).parse(filter.trim());
    parsed.map_err(|error| BadFilter(error.to_string()))
}

/// Whether a line can hold nothing that a library took from a request. Spans are not for lines: these have their ids from
/// the registry, and to write each span's fields down for lines that may never come would cost more than the span.
fn is_harmless(line: &Metadata<'_>) -> bool {
    if line.is_span() && line.target() == crate::trace::TARGET {
        return false;
    }
    if line.target() == REPEATS {
        return false;
    }
    let from = line.target().split("::").next().unwrap_or_default();
    let most = if from == TALKATIVE { Level::WARN } else { Level::INFO };
    *line.level() <= most || OURS.contains(&from)
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            self.0.lock().push(event.metadata().target().to_owned());
        }
    }

    fn speak() {
        tracing::trace!(target: "connection::session", "ours");
        tracing::debug!(target: "hyper::proto", "a header");
        tracing::info!(target: "hyper", "nothing to hide");
    }

    #[test]
    fn a_library_stays_capped_however_closely_the_filter_names_it() {
        let (filter, level) = LogLevel::new("trace,hyper=trace").unwrap();
        let seen = Seen::default();
        let whole = tracing_subscriber::registry().with(seen.clone().with_filter(filter));
        tracing::subscriber::with_default(whole, || {
            speak();
            level.set("hyper::proto=trace,hyper=trace", None).unwrap();
            speak();
        });
        assert_eq!(*seen.0.lock(), ["connection::session", "hyper", "hyper"]);
    }

    #[test]
    fn another_layer_does_not_feel_the_logs_filter() {
        let (filter, level) = LogLevel::new("warn").unwrap();
        let (lines, spans) = (Seen::default(), Seen::default());
        let whole = tracing_subscriber::registry()
            .with(lines.clone().with_filter(filter))
            .with(spans.clone());
        tracing::subscriber::with_default(whole, || {
            speak();
            level.set("error", None).unwrap();
            speak();
        });
        assert_eq!((lines.0.lock().len(), spans.0.lock().len()), (0, 6));
    }

    #[test]
    fn the_value_of_a_field_is_no_expression() {
        // It would be refused as one: a bracket stands open.
        assert!(parse("[{user=(}]=debug").is_ok());
    }

    #[test]
    fn what_is_no_filter_changes_nothing() {
        let (_filter, level) = LogLevel::new::<tracing_subscriber::Registry>("info").unwrap();
        let before = level.in_force();
        for bad in ["", " ", "connection=loud", &"connection=debug,".repeat(1_000)] {
            assert!(level.set(bad, None).is_err(), "{bad:?}");
        }
        assert_eq!(level.in_force(), before);
    }

    #[test]
    fn a_change_falls_back_unless_another_came_after_it() {
        let (_filter, level) = LogLevel::new::<tracing_subscriber::Registry>("info").unwrap();
        let (_, first) = level.set("debug", Some(Duration::from_secs(1))).unwrap();
        let (_, second) = level.set("trace", Some(Duration::from_secs(2))).unwrap();
        level.fall_back(first);
        assert_eq!(level.in_force().filter, "trace");
        level.fall_back(second);
        let after = level.in_force();
        assert_eq!((after.filter.as_str(), after.until), ("info", None));
    }

    #[test]
    fn each_of_our_crates_may_speak_finely() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
        let text = std::fs::read_to_string(root).unwrap();
        let members = text.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
        let mut names: Vec<String> = members
            .split(',')
            .filter_map(|line| line.trim().trim_matches('"').rsplit('/').next())
            .filter(|name| !name.is_empty())
            .map(|name| name.replace('-', "_"))
            .collect();
        names.sort();
        assert_eq!(names, OURS);
    }
}
