//! JSON Web Tokens: taking them apart, and checking their signatures. What the claims mean is said by the providers.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use openssl::bn::BigNum;
use openssl::ec::EcKeyRef;
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKeyRef, Public};
use openssl::sign::Verifier;
use serde_json::Value;

/// Google takes assertions with and without padding; RFC 7515 knows none.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Half of an ES256 signature, bytes.
const HALF: usize = 32;

/// A token whose signature is not checked yet.
#[derive(Debug)]
pub(crate) struct Jwt<'a> {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    /// `None` unless it is three parts of base64url without padding, the first two JSON objects.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        Self::decode(text, &URL_SAFE_NO_PAD)
    }

    /// The same with padding allowed.
    pub(crate) fn parse_lenient(text: &'a str) -> Option<Self> {
        Self::decode(text, &LENIENT)
    }

    fn decode(text: &'a str, engine: &GeneralPurpose) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let object = |part: &str| -> Option<Value> {
            let value: Value = serde_json::from_slice(&engine.decode(part).ok()?).ok()?;
            value.is_object().then_some(value)
        };
        Some(Self {
            header: object(header)?,
            claims: object(claims)?,
            signed,
            signature: engine.decode(signature).ok()?,
        })
    }

    /// Whether it is signed by ES256 with this key.
    pub(crate) fn is_es256_of(&self, key: &EcKeyRef<Public>) -> bool {
        if self.header["alg"] != "ES256" || self.signature.len() != 2 * HALF {
            return false;
        }
        let verify = || -> Result<bool, ErrorStack> {
            let (r, s) = self.signature.split_at(HALF);
            let signature = EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
            signature.verify(&openssl::sha::sha256(self.signed.as_bytes()), key)
        };
        verify().unwrap_or(false)
    }

    /// Whether it is signed by RS256 with this key.
    pub(crate) fn is_rs256_of(&self, key: &PKeyRef<Public>) -> bool {
        let verify = || -> Result<bool, ErrorStack> {
            let mut verifier = Verifier::new(MessageDigest::sha256(), key)?;
            verifier.verify_oneshot(&self.signature, self.signed.as_bytes())
        };
        self.header["alg"] == "RS256" && verify().unwrap_or(false)
    }

    /// A claim that is a text, or nothing.
    pub(crate) fn text(&self, claim: &str) -> &str {
        self.claims[claim].as_str().unwrap_or_default()
    }

    /// A claim that is a time, in seconds since the epoch.
    pub(crate) fn seconds(&self, claim: &str) -> Option<i64> {
        let value = &self.claims[claim];
        value.as_i64().or_else(|| value.as_f64().map(|it| it as i64))
    }
}
