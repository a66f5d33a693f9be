//! Web Push subscriptions as browsers would hold them.
//!
//! They are appended to a file in the folder, so that a restarted fake still knows them.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::ec::EcKey;
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ece::Receiver;
use crate::keys::{p256, point};

const FILE: &str = "subscriptions.jsonl";
/// Bytes of an authentication secret (RFC 8291) and of an id.
const SECRET: usize = 16;

#[derive(Debug)]
pub(crate) struct Subscriptions {
    known: RwLock<HashMap<String, Arc<Subscription>>>,
    file: Mutex<File>,
}

#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) receiver: Receiver,
    gone: AtomicBool,
}

/// One line of the file: a new subscription, or that one is gone.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys: Option<(String, String)>,
}

impl Subscription {
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
}

impl Subscriptions {
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).mode(0o600).open(&path);
        let file = file.with_context(|| path.display().to_string())?;
        let subscriptions = Self {
            known: RwLock::default(),
            file: Mutex::new(file),
        };
        for line in std::fs::read_to_string(&path)?.lines() {
            subscriptions.take(line).with_context(|| path.display().to_string())?;
        }
        Ok(subscriptions)
    }

    fn take(&self, line: &str) -> anyhow::Result<()> {
        let line: Line = serde_json::from_str(line)?;
        let Some((key, auth)) = line.keys else {
            self.end(&line.id);
            return Ok(());
        };
        let key = EcKey::private_key_from_der(&URL_SAFE_NO_PAD.decode(key)?)?;
        self.add(line.id, key, URL_SAFE_NO_PAD.decode(auth)?)?;
        Ok(())
    }

    /// Makes a subscription at this origin, as `PushSubscription.toJSON()` writes it.
    pub(crate) fn mint(&self, origin: &str) -> anyhow::Result<Value> {
        let key = EcKey::generate(&*p256()?)?;
        let mut random = [0; 2 * SECRET];
        openssl::rand::rand_bytes(&mut random)?;
        let (id, auth) = random.split_at(SECRET);
        let id = URL_SAFE_NO_PAD.encode(id);
        let written = URL_SAFE_NO_PAD.encode(key.private_key_to_der()?);
        let auth_text = URL_SAFE_NO_PAD.encode(auth);
        self.append(&Line {
            id: id.clone(),
            keys: Some((written, auth_text.clone())),
        })?;
        let added = self.add(id.clone(), key, auth.to_vec())?;
        Ok(json!({
            "endpoint": format!("{origin}/push/{id}"),
            "expirationTime": null,
            "keys": {"p256dh": URL_SAFE_NO_PAD.encode(&added.receiver.point), "auth": auth_text},
        }))
    }

    fn add(&self, id: String, key: EcKey<openssl::pkey::Private>, auth: Vec<u8>) -> anyhow::Result<Arc<Subscription>> {
        let subscription = Arc::new(Subscription {
            receiver: Receiver {
                point: point(&key)?,
                key,
                auth,
            },
            gone: AtomicBool::new(false),
        });
        self.known.write().insert(id, subscription.clone());
        Ok(subscription)
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Subscription>> {
        self.known.read().get(id).cloned()
    }

    /// Ends a subscription; false where there is none.
    pub(crate) fn unsubscribe(&self, id: &str) -> anyhow::Result<bool> {
        if !self.end(id) {
            return Ok(false);
        }
        self.append(&Line {
            id: id.to_owned(),
            keys: None,
        })?;
        Ok(true)
    }

    fn end(&self, id: &str) -> bool {
        let known = self.known.read();
        let Some(subscription) = known.get(id) else {
            return false;
        };
        subscription.gone.store(true, Ordering::Relaxed);
        true
    }

    fn append(&self, line: &Line) -> anyhow::Result<()> {
        let text = serde_json::to_string(line)?;
        self.file.lock().write_all(format!("{text}\n").as_bytes())?;
        Ok(())
    }
}
