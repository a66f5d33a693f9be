//! The streams of a deployment, declared in one place, and their creation.

use std::time::Duration;

use async_nats::jetstream::{self, kv, stream};
use config::ConfigError;
use tokio::time::Instant;

use crate::Bus;
pub use crate::ends::{RECENT, recent_end};
use crate::subjects::{self, Lane};

/// Why the streams are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum StreamsError {
    /// The deployment's log was made with another number of partitions: each conversation would be looked for in the
    /// wrong one.
    #[error("{0}")]
    OtherPartitions(#[source] ConfigError),
    /// NATS refused or did not answer.
    #[error("NATS JetStream: {doing}: {reason}")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// NATS' words.
        reason: String,
    },
}

fn failed<E: std::fmt::Display>(doing: &'static str) -> impl FnOnce(E) -> StreamsError {
    move |error| StreamsError::Failed {
        doing,
        reason: error.to_string(),
    }
}

/// How long a cluster may take until it has servers for all copies, and a leader for each stream.
const FORMING: Duration = Duration::from_secs(20);
const FORMING_PAUSE: Duration = Duration::from_millis(250);

/// Creates the log where it is missing and brings what exists up to the configuration. Any number of replicas may do it
/// at once. It is the message service's work: NATS' permissions let no other. A cluster that is still forming is waited for,
/// up to 20 s.
///
/// # Errors
/// [`StreamsError::OtherPartitions`] is a configuration error; the rest means that NATS is not usable now.
pub async fn ensure(bus: &Bus, config: &config::Stream) -> Result<(), StreamsError> {
    let forming = Forming::begins();
    while let Err(error) = ensure_once(bus, config).await {
        forming.wait(bus, error).await?;
    }
    Ok(())
}

async fn ensure_once(bus: &Bus, config: &config::Stream) -> Result<(), StreamsError> {
    check_partitions(bus, config).await?;
    create_or_update(bus, declared(config)).await
}

/// The patience with a cluster that is not whole yet.
struct Forming {
    until: Instant,
}

impl Forming {
    fn begins() -> Self {
        Self {
            until: Instant::now() + FORMING,
        }
    }

    /// Waits until it makes sense to try again; gives the error back where it does not.
    async fn wait(&self, bus: &Bus, error: StreamsError) -> Result<(), StreamsError> {
        let passes = matches!(error, StreamsError::Failed { .. }) && bus.is_clustered();
        if !passes || Instant::now() >= self.until {
            return Err(error);
        }
        tracing::info!(%error, "waiting for the NATS cluster");
        tokio::time::sleep(FORMING_PAUSE).await;
        Ok(())
    }
}

async fn create_or_update(bus: &Bus, streams: Vec<stream::Config>) -> Result<(), StreamsError> {
    for stream in streams {
        let name = stream.name.clone();
        let made = bus.jetstream.create_or_update_stream(stream).await;
        made.map_err(failed("creating a stream"))?;
        if bus.is_clustered() {
            // One that somebody else has just made may have no leader yet.
            state(bus, &name).await?;
        }
    }
    Ok(())
}

/// Whether the message service has made the log. For the services that only read it.
///
/// # Errors
/// As [`ensure`].
pub async fn are_made(bus: &Bus, config: &config::Stream) -> Result<bool, StreamsError> {
    if state(bus, &format!("KV_{}", subjects::SETTINGS_BUCKET))
        .await?
        .is_none()
    {
        return Ok(false);
    }
    match partitions(bus).await? {
        None => return Ok(false),
        Some(made) if made == config.partitions => {}
        Some(made) => return Err(other_partitions(config, &made.to_string())),
    }
    for stream in declared(config) {
        if state(bus, &stream.name).await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn other_partitions(config: &config::Stream, made: &str) -> StreamsError {
    let configured = config.partitions;
    let problem = format!("is {configured}, but this log was made with {made} partitions: set it to {made}");
    StreamsError::OtherPartitions(ConfigError::new("PARLEY_STREAM__PARTITIONS", problem))
}

async fn check_partitions(bus: &Bus, config: &config::Stream) -> Result<(), StreamsError> {
    let bucket = bus
        .jetstream
        .create_key_value(kv::Config {
            bucket: subjects::SETTINGS_BUCKET.into(),
            history: 1,
            num_replicas: config.replicas,
            ..Default::default()
        })
        .await
        .map_err(failed("opening the settings bucket"))?;
    let ours = config.partitions.to_string();
    // `create` fails where the key exists: the first service ever to start decides, all others compare.
    if bucket.create("partitions", ours.clone().into()).await.is_ok() {
        return Ok(());
    }
    let reading = "reading the number of partitions";
    let stored = bucket.get("partitions").await.map_err(failed(reading))?;
    // Neither stored nor there: the bucket has no leader, or a copy that is behind answered.
    let stored = stored.ok_or_else(|| failed(reading)("it could not be stored"))?;
    let made = String::from_utf8_lossy(&stored).into_owned();
    if made == ours {
        Ok(())
    } else {
        Err(other_partitions(config, &made))
    }
}

/// How many partitions the deployment's log was made with; `None` where there is no log yet.
///
/// # Errors
/// NATS did not answer.
pub async fn partitions(bus: &Bus) -> Result<Option<u16>, StreamsError> {
    let bucket = bus
        .jetstream
        .get_key_value(subjects::SETTINGS_BUCKET)
        .await
        .map_err(failed("opening the settings bucket"))?;
    let stored = bucket
        .get("partitions")
        .await
        .map_err(failed("reading the number of partitions"))?;
    Ok(stored.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok()))
}

/// The configuration of every stream.
pub fn declared(config: &config::Stream) -> Vec<stream::Config> {
    let base = stream::Config {
        storage: stream::StorageType::File,
        retention: stream::RetentionPolicy::Limits,
        num_replicas: config.replicas,
        allow_direct: true,
        ..Default::default()
    };
    let chat = (0..config.partitions).map(Lane::Chat).map(|lane| stream::Config {
        name: lane.stream(),
        subjects: vec![lane.wildcard()],
        max_age: config.max_age,
        duplicate_window: config.duplicate_window,
        ..base.clone()
    });
    // Watermarks and memberships are the state of the present: one entry a subject, kept for ever.
    let latest = |name: String, subject: String| stream::Config {
        name,
        subjects: vec![subject],
        max_messages_per_subject: 1,
        ..base.clone()
    };
    chat.chain([
        latest(Lane::Receipts.stream(), Lane::Receipts.wildcard()),
        latest(subjects::MEMBERS_STREAM.into(), subjects::MEMBERS_WILDCARD.into()),
    ])
    .collect()
}

/// Repetitions of a job are known for so long; past it a message that comes again is looked up in the records.
pub const JOB_DUPLICATES: Duration = Duration::from_secs(10 * 60);
/// Most jobs that wait in one queue. Past it no more are taken, and their messages are planned again later.
const JOBS_MOST: i64 = 2_000_000;
/// How long dead letters are kept, and how many of them: the oldest go first.
const DEAD_AGE: Duration = Duration::from_secs(14 * 24 * 60 * 60);
const DEAD_MOST: i64 = 1_000_000;

/// Creates the streams of push, or brings them up to the configuration.
///
/// # Errors
/// NATS is not usable now.
pub async fn ensure_push(bus: &Bus, config: &config::Stream, push: &config::Push) -> Result<(), StreamsError> {
    let forming = Forming::begins();
    while let Err(error) = create_or_update(bus, declared_push(config, push)).await {
        forming.wait(bus, error).await?;
    }
    Ok(())
}

/// Creates those of the streams of push that are not there, and leaves the others as they are: what a configuration says
/// is brought to them once, at a start.
///
/// # Errors
/// NATS is not usable now.
pub async fn restore_push(bus: &Bus, config: &config::Stream, push: &config::Push) -> Result<(), StreamsError> {
    for stream in declared_push(config, push) {
        if state(bus, &stream.name).await?.is_none() {
            let made = bus.jetstream.create_stream(stream).await;
            made.map_err(failed("creating a stream"))?;
        }
    }
    Ok(())
}

/// The configuration of the streams of push.
pub fn declared_push(config: &config::Stream, push: &config::Push) -> Vec<stream::Config> {
    let base = |name: &str, subjects: &[&str]| stream::Config {
        name: name.to_owned(),
        subjects: subjects.iter().map(|it| (*it).to_owned()).collect(),
        storage: stream::StorageType::File,
        num_replicas: config.replicas,
        allow_direct: true,
        ..Default::default()
    };
    vec![
        stream::Config {
            max_messages_per_subject: 1,
            // What a device has confirmed is forgotten when nothing that old is pushed any more.
            allow_message_ttl: true,
            ..base(subjects::DEVICES_STREAM, &subjects::DEVICES_SUBJECTS)
        },
        stream::Config {
            retention: stream::RetentionPolicy::WorkQueue,
            discard: stream::DiscardPolicy::New,
            // A subject is the queue of one app at one provider: what one cannot take leaves the others their room.
            max_messages_per_subject: JOBS_MOST,
            discard_new_per_subject: true,
            max_age: push.ttl * 2,
            duplicate_window: JOB_DUPLICATES.min(push.ttl * 2),
            ..base(subjects::PUSH_JOBS_STREAM, &[subjects::PUSH_JOBS_WILDCARD])
        },
        stream::Config {
            max_age: DEAD_AGE,
            max_messages: DEAD_MOST,
            ..base(subjects::PUSH_DEAD_STREAM, &[subjects::PUSH_DEAD_WILDCARD])
        },
        stream::Config {
            max_age: config.max_age,
            duplicate_window: config.duplicate_window,
            ..base(subjects::PUSH_RECORDS_STREAM, &[subjects::PUSH_RECORDS_WILDCARD])
        },
    ]
}

/// How long the presence bucket remembers that a key was deleted: longer than anybody follows it without a pause.
pub const PRESENCE_MARKERS: Duration = Duration::from_secs(60 * 60);

/// Opens the bucket of the presence service; creates it, or brings it up to the configuration.
///
/// # Errors
/// [`StreamsError::Failed`].
pub async fn presence_bucket(bus: &Bus, config: &config::Stream) -> Result<kv::Store, StreamsError> {
    bus.jetstream
        .create_or_update_key_value(kv::Config {
            bucket: subjects::PRESENCE_BUCKET.into(),
            history: 1,
            num_replicas: config.replicas,
            // What says that a connection node lives no more need not be kept for ever.
            limit_markers: Some(PRESENCE_MARKERS),
            ..Default::default()
        })
        .await
        .map_err(failed("opening the presence bucket"))
}

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    /// Tells this stream from one of the same name made later: its creation time in nanoseconds.
    pub identity: u64,
    /// Sequence of the first entry kept; one past the last where there is none.
    pub first: u64,
    /// Sequence of the last entry ever written.
    pub last: u64,
    /// When that was, in milliseconds since the epoch, by the server's clock; also where it is gone by now.
    pub last_at_ms: i64,
}

/// Reads a stream's state. `None` where there is no such stream.
///
/// # Errors
/// NATS did not answer.
pub async fn state(bus: &Bus, stream: &str) -> Result<Option<StreamState>, StreamsError> {
    let handle = match bus.jetstream.get_stream(stream).await {
        Ok(handle) => handle,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(failed("reading a stream's state")(error)),
    };
    let info = handle.cached_info();
    let last = info.state.last_sequence;
    Ok(Some(StreamState {
        identity: u64::try_from(info.created.unix_timestamp_nanos()).unwrap_or_default(),
        first: if info.state.messages == 0 {
            last + 1
        } else {
            info.state.first_sequence
        },
        last,
        last_at_ms: i64::try_from(info.state.last_timestamp.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX),
    }))
}

fn is_missing(error: &jetstream::context::GetStreamError) -> bool {
    matches!(
        error.kind(),
        jetstream::context::GetStreamErrorKind::JetStream(inner)
            if inner.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND
    )
}
