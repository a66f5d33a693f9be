//! VAPID (RFC 8292): who sends to a subscription that is restricted to one application server.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use protocol::Timestamp;

use crate::answer::Arrived;
use crate::jwt::Jwt;
use crate::world::World;

/// Seconds from now to `exp`.
const LIFETIME_MOST: i64 = 24 * 60 * 60;
/// Tokens that need no verification again, bytes of their header.
const VERIFIED_MOST: usize = 16;

/// Why a sender is not let in: 401 where it says nothing, otherwise 403.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Absent,
    Invalid(&'static str),
}

/// Headers that were verified, with the `exp` of each in seconds.
#[derive(Debug, Default)]
pub(crate) struct Verified(Mutex<Vec<(String, i64)>>);

/// Checks the `Authorization` header.
pub(crate) fn check(world: &World, request: &Arrived) -> Result<(), Refused> {
    let header = request.header("authorization").ok_or(Refused::Absent)?;
    let known = world
        .vapid
        .0
        .lock()
        .iter()
        .find(|(it, _)| it == header)
        .map(|(_, expiry)| *expiry);
    if let Some(expiry) = known {
        return check_expiry(expiry, request.at);
    }
    let expiry = verify(world, header)?;
    check_expiry(expiry, request.at)?;
    let mut verified = world.vapid.0.lock();
    if verified.len() == VERIFIED_MOST {
        verified.remove(0);
    }
    verified.push((header.to_owned(), expiry));
    Ok(())
}

fn verify(world: &World, header: &str) -> Result<i64, Refused> {
    let parameters = match header.split_once(' ') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("vapid") => rest,
        _ => return Err(Refused::Absent),
    };
    let parameter = |name: &str| {
        let mut pairs = parameters.split(',').filter_map(|it| it.trim().split_once('='));
        pairs
            .find(|(it, _)| *it == name)
            .map(|(_, value)| value.trim_matches('"'))
    };
    let (Some(token), Some(key)) = (parameter("t"), parameter("k")) else {
        return Err(Refused::Invalid("t or k is missing"));
    };
    if URL_SAFE_NO_PAD.decode(key).ok().as_ref() != Some(&world.keys.vapid_point) {
        return Err(Refused::Invalid("k is not the key of the subscription"));
    }
    let jwt = Jwt::parse(token).ok_or(Refused::Invalid("t is not a JWT"))?;
    if !jwt.is_es256_of(&world.keys.vapid) {
        return Err(Refused::Invalid("signature"));
    }
    if jwt.text("aud") != world.webpush_origin() {
        return Err(Refused::Invalid("aud is not the origin of the endpoint"));
    }
    if !["mailto:", "https:"].iter().any(|it| jwt.text("sub").starts_with(it)) {
        return Err(Refused::Invalid("sub is neither mailto: nor https:"));
    }
    jwt.seconds("exp").ok_or(Refused::Invalid("exp is missing"))
}

fn check_expiry(expiry: i64, now: Timestamp) -> Result<(), Refused> {
    let left = expiry - now.as_millis() / 1_000;
    match left {
        ..=0 => Err(Refused::Invalid("exp is past")),
        left if left > LIFETIME_MOST => Err(Refused::Invalid("exp is more than a day ahead")),
        _ => Ok(()),
    }
}
