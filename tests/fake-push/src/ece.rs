//! Decryption of Web Push messages: `aes128gcm` of RFC 8188 with the keys of RFC 8291.

use openssl::bn::BigNumContext;
use openssl::derive::Deriver;
use openssl::ec::{EcKey, EcPoint};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::symm::{Cipher, decrypt_aead};

/// Bytes.
const SALT: usize = 16;
const RECORD_SIZE: usize = 4;
const POINT: usize = 65;
const TAG: usize = 16;
/// The last record's delimiter; messages have only one record (RFC 8291, section 4).
const LAST: u8 = 2;

/// What a browser has for one subscription.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) key: EcKey<Private>,
    /// The public half, an uncompressed point.
    pub(crate) point: Vec<u8>,
    pub(crate) auth: Vec<u8>,
}

/// The text of a message; `None` where it was not encrypted for this receiver, or not as it must be.
pub(crate) fn decrypt(receiver: &Receiver, body: &[u8]) -> Option<Vec<u8>> {
    let (salt, rest) = body.split_at_checked(SALT)?;
    let (record_size, rest) = rest.split_first_chunk::<RECORD_SIZE>()?;
    let (id_length, rest) = rest.split_first()?;
    let (sender, record) = rest.split_at_checked(usize::from(*id_length))?;
    let record_size = usize::try_from(u32::from_be_bytes(*record_size)).ok()?;
    let one_record = record.len() > TAG && record.len() <= record_size;
    if sender.len() != POINT || !one_record {
        return None;
    }
    let (key, nonce) = keys(receiver, sender, salt).ok()?;
    let (text, tag) = record.split_at_checked(record.len() - TAG)?;
    let mut text = decrypt_aead(Cipher::aes_128_gcm(), &key, Some(&nonce), &[], text, tag).ok()?;
    let end = text.iter().rposition(|it| *it != 0)?;
    if text[end] != LAST {
        return None;
    }
    text.truncate(end);
    Some(text)
}

/// The content encryption key and the nonce of the only record.
fn keys(receiver: &Receiver, sender: &[u8], salt: &[u8]) -> Result<(Vec<u8>, Vec<u8>), ErrorStack> {
    let group = receiver.key.group();
    let point = EcPoint::from_bytes(group, sender, &mut *BigNumContext::new()?)?;
    let sender_key = PKey::from_ec_key(EcKey::from_public_key(group, &point)?)?;
    let own_key = PKey::from_ec_key(receiver.key.clone())?;
    let mut deriver = Deriver::new(&own_key)?;
    deriver.set_peer(&sender_key)?;
    let shared = deriver.derive_to_vec()?;
    let info = [b"WebPush: info\0", receiver.point.as_slice(), sender].concat();
    let input = hkdf(&receiver.auth, &shared, &info)?;
    let mut key = hkdf(salt, &input, b"Content-Encoding: aes128gcm\0")?;
    let mut nonce = hkdf(salt, &input, b"Content-Encoding: nonce\0")?;
    key.truncate(16);
    nonce.truncate(12);
    Ok((key, nonce))
}

/// HKDF-SHA-256 with one block of output, 32 bytes.
fn hkdf(salt: &[u8], input: &[u8], info: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    let secret = hmac(salt, &[input])?;
    hmac(&secret, &[info, &[1]])
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>, ErrorStack> {
    let key = PKey::hmac(key)?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    for part in parts {
        signer.update(part)?;
    }
    signer.sign_to_vec()
}
