//! The key files that the services are given, and what the fakes keep of them to check signatures.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcKey, PointConversionForm};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private, Public};
use openssl::rsa::Rsa;
use serde_json::{Value, json};

use crate::options::PROJECT;

/// APNs signing key: EC P-256, PKCS#8, PEM.
pub(crate) const APNS_FILE: &str = "apns.p8";
/// Google service account, JSON.
pub(crate) const FCM_FILE: &str = "fcm.json";
/// Application server key of Web Push: EC P-256, PKCS#8, PEM.
pub(crate) const VAPID_FILE: &str = "vapid.pem";
/// The service account.
pub(crate) const CLIENT_EMAIL: &str = "push@parley-fake.iam.gserviceaccount.com";

const RSA_BITS: u32 = 2_048;

/// The public halves.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) apns: EcKey<Public>,
    pub(crate) fcm: PKey<Public>,
    pub(crate) vapid: EcKey<Public>,
    /// The application server key as browsers get it: an uncompressed point of 65 bytes.
    pub(crate) vapid_point: Vec<u8>,
}

impl Keys {
    /// Reads the keys from the folder, or makes them. `token_uri` goes into the service account file.
    pub(crate) fn open(folder: &Path, token_uri: &str) -> anyhow::Result<Self> {
        let apns = ec_key(&folder.join(APNS_FILE))?;
        let vapid = ec_key(&folder.join(VAPID_FILE))?;
        Ok(Self {
            fcm: service_account(&folder.join(FCM_FILE), token_uri)?,
            apns: public(&apns)?,
            vapid_point: point(&vapid)?,
            vapid: public(&vapid)?,
        })
    }
}

/// NIST P-256.
pub(crate) fn p256() -> anyhow::Result<EcGroup> {
    Ok(EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)
}

/// The public key as an uncompressed point of 65 bytes.
pub(crate) fn point(key: &EcKey<Private>) -> anyhow::Result<Vec<u8>> {
    let mut context = BigNumContext::new()?;
    Ok(key
        .public_key()
        .to_bytes(key.group(), PointConversionForm::UNCOMPRESSED, &mut context)?)
}

fn public(key: &EcKey<Private>) -> anyhow::Result<EcKey<Public>> {
    Ok(EcKey::from_public_key(key.group(), key.public_key())?)
}

fn ec_key(file: &Path) -> anyhow::Result<EcKey<Private>> {
    let pem = kept(file, || {
        let key = PKey::from_ec_key(EcKey::generate(&*p256()?)?)?;
        Ok(String::from_utf8(key.private_key_to_pem_pkcs8()?)?)
    })?;
    let read = || PKey::private_key_from_pem(pem.as_bytes())?.ec_key();
    read().with_context(|| file.display().to_string())
}

/// The private key stays, the `token_uri` follows the ports of this start.
fn service_account(file: &Path, token_uri: &str) -> anyhow::Result<PKey<Public>> {
    let private = match std::fs::read_to_string(file) {
        Ok(text) => {
            let account: Value = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
            let pem = account["private_key"].as_str().unwrap_or_default();
            PKey::private_key_from_pem(pem.as_bytes()).with_context(|| file.display().to_string())?
        }
        Err(error) if error.kind() == ErrorKind::NotFound => PKey::from_rsa(Rsa::generate(RSA_BITS)?)?,
        Err(error) => return Err(error).with_context(|| file.display().to_string()),
    };
    let account = json!({
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "fa4e000000000000000000000000000000000001",
        "private_key": String::from_utf8(private.private_key_to_pem_pkcs8()?)?,
        "client_email": CLIENT_EMAIL,
        "client_id": "100000000000000000001",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": token_uri,
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url": "https://www.googleapis.com/robot/v1/metadata/x509/push%40parley-fake",
        "universe_domain": "googleapis.com",
    });
    written(file, &format!("{account:#}\n"))?;
    Ok(PKey::public_key_from_der(&private.public_key_to_der()?)?)
}

/// What the file holds, or else what is made and written there.
pub(crate) fn kept(file: &Path, make: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<String> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = make()?;
            written(file, &text)?;
            Ok(text)
        }
        Err(error) => Err(error).with_context(|| file.display().to_string()),
    }
}

/// Replaces the file as a whole, readable by its owner alone.
pub(crate) fn written(file: &Path, text: &str) -> anyhow::Result<()> {
    let beside = file.with_extension("new");
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        let mut open = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        open.write_all(text.as_bytes())?;
        std::fs::rename(&beside, file)
    };
    write().with_context(|| file.display().to_string())
}
