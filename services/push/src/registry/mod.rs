//! Which devices there are, and whose a token is.
//!
//! Two entries of the stream of devices for each: the registration under user and device, and the owner under the token.
//! A registration counts only while its token is owned by it, so that a token that moves is nowhere twice: the step that
//! moves it is one compare-and-set. What a crash leaves behind counts for nothing, and goes at the next registration.

mod registration;

use std::collections::HashMap;
use std::time::Duration;

use bus::direct::last_of_each;
use bus::subjects::{self, DEVICES_STREAM};
use bus::write::{Terms, write};
use bus::{Bus, LogError, Record, leader};
use protocol::push::{Device, RegisterDevice};
use protocol::{Timestamp, UserId};

pub(crate) use registration::{Owner, Registration, read};

/// Devices of one user: past it the one registered first is forgotten.
const DEVICES_MOST: usize = 64;
/// Tries to move a token that others move at the same time.
const ATTEMPTS: usize = 8;
/// What was taken away leaves a mark for so long, for those who read it a moment later.
const MARK: Duration = Duration::from_secs(60 * 60);

/// The registrations of a deployment. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    bus: Bus,
}

/// A registration that counts, and where it stands in the stream.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) registration: Registration,
    position: u64,
    /// Where the entry of its token's owner stands.
    token_position: u64,
}

impl Registry {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// All of a user's, whether their tokens are still theirs or not.
    ///
    /// # Errors
    /// NATS did not answer.
    async fn stored(&self, user: &UserId) -> Result<Vec<(String, Known)>, LogError> {
        let records = last_of_each(&self.bus, DEVICES_STREAM, &[subjects::devices(user)]).await?;
        Ok(records.iter().filter_map(stored).collect())
    }

    /// The user's devices, the one registered last first.
    ///
    /// # Errors
    /// NATS did not answer.
    pub(crate) async fn list(&self, user: &UserId) -> Result<Vec<Device>, LogError> {
        let stored = self.stored(user).await?;
        let wanted: Vec<(UserId, String)> = stored
            .iter()
            .map(|(device, _)| (user.clone(), device.clone()))
            .collect();
        let counting = self.find(&wanted).await?;
        let mut devices: Vec<Device> = counting
            .iter()
            .map(|((_, device), known)| known.registration.shown(device))
            .collect();
        devices.sort_by(|a, b| (b.registered_at, &a.device_id).cmp(&(a.registered_at, &b.device_id)));
        Ok(devices)
    }

    /// The registrations that count, of those asked for.
    ///
    /// # Errors
    /// NATS did not answer.
    pub(crate) async fn find(&self, wanted: &[(UserId, String)]) -> Result<HashMap<(UserId, String), Known>, LogError> {
        let subjects: Vec<String> = wanted
            .iter()
            .map(|(user, device)| subjects::device(user, device))
            .collect();
        let records = by_subject(last_of_each(&self.bus, DEVICES_STREAM, &subjects).await?);
        let known = wanted.iter().zip(&subjects).filter_map(|(key, subject)| {
            let record = records.get(subject)?;
            let registration: Registration = read(&record.payload)?;
            let known = Known {
                registration,
                position: record.position,
                token_position: 0,
            };
            Some((key, known))
        });
        let known: Vec<_> = known.collect();
        let tokens: Vec<String> = known
            .iter()
            .map(|(_, it)| subjects::token(&it.registration.digest()))
            .collect();
        let owners = by_subject(last_of_each(&self.bus, DEVICES_STREAM, &tokens).await?);
        let counting = known.into_iter().zip(&tokens).filter_map(|((key, mut known), token)| {
            let record = owners.get(token)?;
            let owner: Owner = read(&record.payload)?;
            known.token_position = record.position;
            ((&owner.user_id, &owner.device_id) == (&key.0, &key.1)).then(|| (key.clone(), known))
        });
        Ok(counting.collect())
    }

    /// Registers a device. Its token is taken from whoever had it.
    ///
    /// # Errors
    /// NATS did not answer: it is safe to repeat.
    pub(crate) async fn register(
        &self,
        user: &UserId,
        device: RegisterDevice,
        now: Timestamp,
    ) -> Result<(Device, bool), LogError> {
        let stored = self.stored(user).await?;
        let device_id = device.device_id.clone();
        let before = stored.iter().find(|it| it.0 == device_id).map(|it| it.1.clone());
        if before.is_none() {
            self.make_room(user, stored).await?;
        }
        let registration = Registration::of(device, now);
        let payload = serde_json::to_vec(&registration).unwrap_or_default();
        let subject = subjects::device(user, &device_id);
        write(&self.bus, subject, payload.into(), Terms::default()).await?;
        let owner = Owner {
            user_id: user.clone(),
            device_id: device_id.clone(),
        };
        let digest = registration.digest();
        let last = self.take_token(&digest, &owner).await?;
        if let Some(last) = last.filter(|it| *it != owner) {
            self.forget_if_of(&last, &digest).await?;
        }
        let old = before.as_ref().map(|it| it.registration.digest());
        if let Some(old) = old.filter(|it| *it != digest) {
            self.release_token(&old, &owner).await?;
        }
        Ok((registration.shown(&device_id), before.is_none()))
    }

    /// Forgets a device. False: there was none.
    ///
    /// # Errors
    /// NATS did not answer: it is safe to repeat.
    pub(crate) async fn remove(&self, user: &UserId, device_id: &str) -> Result<bool, LogError> {
        let key = (user.clone(), device_id.to_owned());
        for _ in 0..ATTEMPTS {
            if let Some(known) = self.find(std::slice::from_ref(&key)).await?.get(&key) {
                if self.forget(user, device_id, known).await? {
                    return Ok(true);
                }
                continue;
            }
            // One that does not count may still be there.
            let subject = subjects::device(user, device_id);
            let record = leader::last(&self.bus, DEVICES_STREAM, &subject).await?;
            let Some(record) = record.filter(|it| !it.payload.is_empty()) else {
                return Ok(false);
            };
            match self.mark(subject, Some(record.position)).await {
                Err(LogError::Conflict) => {}
                other => return other.map(|()| true),
            }
        }
        Err(LogError::Away("the registration kept changing".into()))
    }

    /// Forgets a device, unless it was registered again since it was looked at. False: it was.
    ///
    /// # Errors
    /// NATS did not answer.
    pub(crate) async fn forget(&self, user: &UserId, device_id: &str, known: &Known) -> Result<bool, LogError> {
        match self.mark(subjects::device(user, device_id), Some(known.position)).await {
            Ok(()) => {}
            Err(LogError::Conflict) => return Ok(false),
            Err(error) => return Err(error),
        }
        // Registered again in this moment, the token stays with whoever did.
        let token = subjects::token(&known.registration.digest());
        match self.mark(token, Some(known.token_position)).await {
            Err(LogError::Conflict) => Ok(true),
            other => other.map(|()| true),
        }
    }

    async fn make_room(&self, user: &UserId, mut stored: Vec<(String, Known)>) -> Result<(), LogError> {
        stored.sort_by_key(|it| it.1.position);
        let over = (stored.len() + 1).saturating_sub(DEVICES_MOST);
        for (device, _) in stored.into_iter().take(over) {
            metrics::counter!("parley_push_devices_evicted_total").increment(1);
            self.remove(user, &device).await?;
        }
        Ok(())
    }

    /// Makes the device the owner of a token. Returns who was it before.
    async fn take_token(&self, digest: &str, owner: &Owner) -> Result<Option<Owner>, LogError> {
        let subject = subjects::token(digest);
        for _ in 0..ATTEMPTS {
            let record = leader::last(&self.bus, DEVICES_STREAM, &subject).await?;
            let last = record.as_ref().and_then(|it| read::<Owner>(&it.payload));
            // Also where it is the owner already: whoever is about to release the token sees that it was taken again.
            let terms = Terms {
                expected: Some(record.map_or(0, |it| it.position)),
                ..Terms::default()
            };
            let payload = serde_json::to_vec(owner).unwrap_or_default();
            match write(&self.bus, subject.clone(), payload.into(), terms).await {
                Ok(_) => return Ok(last),
                Err(LogError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(LogError::Away("the token kept moving".into()))
    }

    /// Gives a token up, if it is still the device's.
    async fn release_token(&self, digest: &str, owner: &Owner) -> Result<(), LogError> {
        let subject = subjects::token(digest);
        let Some(record) = leader::last(&self.bus, DEVICES_STREAM, &subject).await? else {
            return Ok(());
        };
        if read::<Owner>(&record.payload).as_ref() != Some(owner) {
            return Ok(());
        }
        match self.mark(subject, Some(record.position)).await {
            // Whoever was faster owns it.
            Err(LogError::Conflict) => Ok(()),
            other => other,
        }
    }

    /// Forgets a registration that has lost its token.
    async fn forget_if_of(&self, owner: &Owner, digest: &str) -> Result<(), LogError> {
        let subject = subjects::device(&owner.user_id, &owner.device_id);
        let Some(record) = leader::last(&self.bus, DEVICES_STREAM, &subject).await? else {
            return Ok(());
        };
        if read::<Registration>(&record.payload).is_none_or(|it| it.digest() != digest) {
            return Ok(());
        }
        match self.mark(subject, Some(record.position)).await {
            Err(LogError::Conflict) => Ok(()),
            other => other,
        }
    }

    /// Takes an entry away: an empty one in its place, which goes by itself.
    async fn mark(&self, subject: String, expected: Option<u64>) -> Result<(), LogError> {
        let terms = Terms {
            expected,
            ttl: Some(MARK),
            ..Terms::default()
        };
        write(&self.bus, subject, bytes::Bytes::new(), terms).await.map(drop)
    }
}

/// A registration and its device, from an entry.
fn stored(record: &Record) -> Option<(String, Known)> {
    let device = subjects::unescape(record.subject.rsplit('.').next()?)?;
    let known = Known {
        registration: read(&record.payload)?,
        position: record.position,
        token_position: 0,
    };
    Some((device, known))
}

fn by_subject(records: Vec<Record>) -> HashMap<String, Record> {
    records.into_iter().map(|it| (it.subject.clone(), it)).collect()
}
