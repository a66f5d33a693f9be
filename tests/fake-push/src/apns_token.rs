//! Apple's provider tokens: ES256 JWTs that a connection presents with every push.
//!
//! A token is verified once per connection; afterwards comparing its text is enough, so that a push costs little.

use http::HeaderValue;
use protocol::Timestamp;

use crate::answer::Arrived;
use crate::apns::{Refusal, refusal};
use crate::jwt::Jwt;
use crate::link::Link;
use crate::options::{KEY_ID, TEAM_ID};
use crate::world::World;

/// How old a token may become, milliseconds.
const AGE_MOST: i64 = 60 * 60 * 1_000;

/// The token that a connection presents.
#[derive(Debug)]
pub(crate) struct Held {
    header: HeaderValue,
    issued_at: Timestamp,
    first_seen: Timestamp,
}

/// Checks the `authorization` header of a push.
pub(crate) fn check(world: &World, link: &Link, request: &Arrived) -> Result<(), Refusal> {
    let (Some(header), Some(token)) = (request.headers.get("authorization"), request.bearer()) else {
        return Err(refusal(403, "MissingProviderToken"));
    };
    let mut held = link.provider_token.lock();
    if let Some(known) = held.as_ref().filter(|it| it.header == *header) {
        let fresh = check_age(known.issued_at, request.at);
        if fresh.is_err() {
            *held = None;
        }
        return fresh;
    }
    let issued_at = verify(world, token)?;
    check_age(issued_at, request.at)?;
    let pace = i64::try_from(world.options.provider_token_pace.as_millis()).unwrap_or(i64::MAX);
    let too_early = |it: &Held| {
        check_age(it.issued_at, request.at).is_ok() && request.at.as_millis() - it.first_seen.as_millis() < pace
    };
    if held.as_ref().is_some_and(too_early) {
        return Err(refusal(429, "TooManyProviderTokenUpdates"));
    }
    *held = Some(Held {
        header: header.clone(),
        issued_at,
        first_seen: request.at,
    });
    Ok(())
}

fn verify(world: &World, token: &str) -> Result<Timestamp, Refusal> {
    let invalid = refusal(403, "InvalidProviderToken");
    let jwt = Jwt::parse(token).ok_or(invalid)?;
    if jwt.header["kid"] != KEY_ID || jwt.text("iss") != TEAM_ID || !jwt.is_es256_of(&world.keys.apns) {
        return Err(invalid);
    }
    let issued_at = jwt.seconds("iat").ok_or(invalid)?;
    Ok(Timestamp::from_millis(issued_at.saturating_mul(1_000)))
}

fn check_age(issued_at: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    let age = now.as_millis() - issued_at.as_millis();
    if (0..=AGE_MOST).contains(&age) {
        return Ok(());
    }
    Err(refusal(403, "ExpiredProviderToken"))
}
