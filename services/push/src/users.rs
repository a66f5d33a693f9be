//! What is set for users: their devices and what they want to be notified of, kept in memory while it is asked for.
//!
//! Every replica hears of changes as they are written, and forgets whom they are about. What is heard may be readable only
//! a moment later, so it is forgotten twice; and after a minute in any case. Nobody is notified wrongly because of what is
//! a moment old here but by a setting: whose a token is is read again for each push.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bus::direct::last_of_each;
use bus::subjects::{self, DEVICES_STREAM};
use bus::{Bus, LogError, Record};
use futures_util::StreamExt;
use futures_util::stream::select_all;
use lifecycle::Shutdown;
use protocol::push::{ConversationNotifications, Level, Notifications};
use protocol::{ConversationId, Timestamp, UserId};

use crate::registry::{Registration, read};

const CACHED_MOST: u64 = 200_000;
const FRESH: Duration = Duration::from_secs(60);
/// After this a change that was heard is readable everywhere.
const SETTLED: Duration = Duration::from_secs(1);
/// Users that are read at once: three subjects each.
const TOGETHER: usize = 160;
const STRIPES: usize = 1_024;

/// What is set for one user.
#[derive(Debug, Default)]
pub(crate) struct User {
    pub(crate) devices: Vec<(String, Registration)>,
    pub(crate) notifications: Notifications,
    pub(crate) conversations: HashMap<ConversationId, ConversationNotifications>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Users {
    bus: Bus,
    known: moka::sync::Cache<UserId, Arc<User>>,
    /// Counts what was heard, of some users each, so that what was read before is not kept after.
    heard: [AtomicU64; STRIPES],
}

impl Users {
    pub(crate) fn new(bus: Bus) -> Self {
        let known = moka::sync::Cache::builder()
            .max_capacity(CACHED_MOST)
            .time_to_live(FRESH)
            .build();
        Self {
            bus,
            known,
            heard: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// What is set for users.
    ///
    /// # Errors
    /// NATS did not answer.
    pub(crate) async fn get(&self, users: &[&UserId]) -> Result<HashMap<UserId, Arc<User>>, LogError> {
        let mut found = HashMap::with_capacity(users.len());
        let mut missing = Vec::new();
        for user in users {
            match self.known.get(*user) {
                Some(known) => {
                    found.insert((*user).clone(), known);
                }
                None => missing.push(*user),
            }
        }
        for part in missing.chunks(TOGETHER) {
            let heard: HashMap<&UserId, u64> = part.iter().map(|user| (*user, self.heard(user))).collect();
            let loaded = self.load(part).await?;
            for (user, it) in loaded {
                let it = Arc::new(it);
                if heard.get(&user) == Some(&self.heard(&user)) {
                    self.known.insert(user.clone(), it.clone());
                }
                found.insert(user, it);
            }
        }
        Ok(found)
    }

    async fn load(&self, users: &[&UserId]) -> Result<HashMap<UserId, User>, LogError> {
        let of = |user: &&UserId| {
            [
                subjects::devices(user),
                subjects::notifications(user),
                subjects::all_conversation_notifications(user),
            ]
        };
        let subjects: Vec<String> = users.iter().flat_map(of).collect();
        let records = last_of_each(&self.bus, DEVICES_STREAM, &subjects).await?;
        let mut loaded: HashMap<UserId, User> = users.iter().map(|user| ((*user).clone(), User::default())).collect();
        for record in &records {
            let user = subjects::changed_user(&record.subject).and_then(|user| loaded.get_mut(&user));
            if let Some(user) = user {
                user.add(record);
            }
        }
        Ok(loaded)
    }

    fn stripe(&self, user: &UserId) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        user.hash(&mut hasher);
        &self.heard[usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or(0)]
    }

    fn heard(&self, user: &UserId) -> u64 {
        self.stripe(user).load(Ordering::Acquire)
    }

    fn forget(&self, subject: &str) {
        if let Some(user) = subjects::changed_user(subject) {
            self.stripe(&user).fetch_add(1, Ordering::AcqRel);
            self.known.invalidate(&user);
        }
    }

    fn forget_all(&self) {
        for stripe in &self.heard {
            stripe.fetch_add(1, Ordering::AcqRel);
        }
        self.known.invalidate_all();
    }

    /// Hears of changes until the shutdown.
    pub(crate) async fn follow(self: Arc<Self>, shutdown: Shutdown) -> anyhow::Result<()> {
        while !shutdown.is_triggered() {
            let mut link = self.bus.link();
            let mut all = Vec::new();
            for subject in subjects::DEVICE_CHANGES {
                all.push(self.bus.client.subscribe(subject).await?);
            }
            let mut changes = select_all(all);
            // What was written while nobody listened here.
            self.forget_all();
            let mut settling = tokio_util::time::DelayQueue::new();
            loop {
                tokio::select! {
                    () = shutdown.triggered() => return Ok(()),
                    _ = link.changed() => break,
                    change = changes.next() => {
                        let Some(change) = change else { break };
                        self.forget(&change.subject);
                        settling.insert(change.subject, SETTLED);
                    }
                    Some(settled) = settling.next() => self.forget(&settled.into_inner()),
                }
            }
        }
        Ok(())
    }
}

/// What a user wants to be told of one conversation at one time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wants {
    pub(crate) level: Level,
    /// The conversation, or everything, is muted.
    pub(crate) is_muted: bool,
    pub(crate) mentions_override_mute: bool,
    pub(crate) direct_override_mute: bool,
}

impl User {
    pub(crate) fn wants(&self, id: &ConversationId, at: Timestamp) -> Wants {
        let conversation = self.conversations.get(id);
        Wants {
            level: conversation.map(|it| it.level).unwrap_or_default(),
            is_muted: self.notifications.is_muted(at) || conversation.is_some_and(|it| it.is_muted(at)),
            mentions_override_mute: self.notifications.mentions_override_mute,
            direct_override_mute: self.notifications.direct_override_mute,
        }
    }

    fn add(&mut self, record: &Record) {
        let mut tokens = record.subject.split('.').skip(1);
        match (tokens.next(), tokens.nth(1)) {
            (Some("device"), Some(device)) => {
                let device = subjects::unescape(device).zip(read(&record.payload));
                self.devices.extend(device);
            }
            (Some("settings"), None) => self.notifications = read(&record.payload).unwrap_or_default(),
            (Some("settings"), Some(id)) => {
                let conversation = ConversationId::parse(id).zip(read(&record.payload));
                self.conversations.extend(conversation);
            }
            _ => {}
        }
    }
}
