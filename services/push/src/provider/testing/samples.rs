//! For tests: keys, files that settings name, a browser, and a push to change.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use protocol::{ConversationId, Timestamp};
use serde_json::{Value, json};

use crate::provider::{Address, Alert, Content, Push};

/// A file with that text, of this process.
pub(crate) fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("parley-push-{}-{name}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    path
}

/// A private key on P-256.
pub(crate) struct EcKey(rcgen::KeyPair);

impl EcKey {
    pub(crate) fn new() -> Self {
        Self(rcgen::KeyPair::generate().unwrap())
    }

    /// Its file, of this test alone.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let number = FILES.fetch_add(1, Ordering::SeqCst);
        file(&format!("{name}-{number}.p8"), &self.0.serialize_pem())
    }

    /// Uncompressed, 65 bytes.
    pub(crate) fn public_point(&self) -> Vec<u8> {
        self.0.public_key_raw().to_vec()
    }
}

/// A private key of RSA, PKCS #8.
pub(crate) fn rsa_pem() -> String {
    let key = openssl::rsa::Rsa::generate(2048).unwrap();
    let key = openssl::pkey::PKey::from_rsa(key).unwrap();
    String::from_utf8(key.private_key_to_pem_pkcs8().unwrap()).unwrap()
}

pub(crate) fn alert() -> Alert {
    Alert {
        title: "Ann".to_owned(),
        body: "Hello".to_owned(),
        badge: Some(3),
        sound: "default",
        category: "message",
        conversation_id: ConversationId::parse("d0123456789abcdef0123456789abcdef").unwrap(),
        server_id: "0190a1b2".to_owned(),
        seq: 7,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
    }
}

/// A push without an address, until January 2027.
pub(crate) fn push(content: Content) -> Push {
    Push {
        address: Address {
            token: String::new(),
            app: String::new(),
            sandbox: false,
        },
        id: uuid::Uuid::from_u128(0x0190_a1b2_c3d4_7000_8000_0000_0000_0001),
        collapse_id: "collapse".to_owned(),
        expires_at: Timestamp::from_millis(1_800_000_000_000),
        content,
    }
}

/// What a browser has for one subscription.
pub(crate) struct Browser {
    key: ece::EcKeyComponents,
    secret: Vec<u8>,
}

impl Browser {
    pub(crate) fn new() -> Self {
        let (key, secret) = ece::generate_keypair_and_auth_secret().unwrap();
        Self {
            key: key.raw_components().unwrap(),
            secret: secret.to_vec(),
        }
    }

    pub(crate) fn subscription(&self, endpoint: &str) -> String {
        let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let keys = json!({ "p256dh": base64(self.key.public_key()), "auth": base64(&self.secret) });
        json!({ "endpoint": endpoint, "keys": keys }).to_string()
    }

    pub(crate) fn open(&self, body: &[u8]) -> Value {
        let plain = ece::decrypt(&self.key, &self.secret, body).unwrap();
        serde_json::from_slice(&plain).unwrap()
    }
}
