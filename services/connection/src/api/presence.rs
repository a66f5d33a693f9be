//! `GET /v1/presence`: how users appear who share a conversation with the caller.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json as Body;
use axum::extract::{RawQuery, State};
use futures_util::{StreamExt, TryStreamExt, stream};
use protocol::http::PresenceList;
use protocol::rpc::LookAround;
use protocol::{ConversationId, Refusal, UserId, limits};

use super::caller::Caller;
use super::conversations::DEADLINE;
use super::percent::decode;
use super::problem::Problem;
use crate::app::App;

/// Directory reads under way at once.
const READS_AT_ONCE: usize = 16;

/// `GET /v1/presence?users=a,b`: others are left out, as if there were no such users.
pub async fn read(
    State(app): State<Arc<App>>,
    Caller(caller): Caller,
    RawQuery(query): RawQuery,
) -> Result<Body<PresenceList>, Problem> {
    let users = users(query.as_deref().unwrap_or_default())?;
    let list = tokio::time::timeout(DEADLINE, list(&app, &caller, users)).await;
    list.unwrap_or_else(|_| Err(Refusal::unavailable("it could not be read in time: try again").into()))
}

async fn list(app: &App, caller: &UserId, users: Vec<UserId>) -> Result<Body<PresenceList>, Problem> {
    let mine: HashSet<ConversationId> = conversations(app, caller).await?.collect();
    let known = stream::iter(users)
        .map(|user| {
            let mine = &mine;
            async move {
                let shared = user == *caller || conversations(app, &user).await?.any(|id| mine.contains(&id));
                Ok::<_, Problem>(shared.then_some(user))
            }
        })
        .buffered(READS_AT_ONCE)
        .try_filter_map(|user| async move { Ok(user) });
    let users: Vec<UserId> = known.try_collect().await?;
    let (node, number) = app.reporter.flush(app).await;
    let request = LookAround {
        conversation_id: None,
        users,
        last_seen: true,
        report: Some((node, number)),
    };
    let sight = bus::rpc::call(app.hub.log.bus(), &request, DEADLINE).await?;
    Ok(Body(PresenceList {
        presence: sight.presence,
    }))
}

async fn conversations(app: &App, user: &UserId) -> Result<impl Iterator<Item = ConversationId>, Problem> {
    let mine = app.hub.memberships(user).await?;
    let now: Vec<ConversationId> = mine
        .iter()
        .filter(|(_, span)| span.until.is_none())
        .map(|(id, _)| id.clone())
        .collect();
    Ok(now.into_iter())
}

/// The users asked for: separated by commas, or by repeating `users`; a comma within an id is written `%2C`.
fn users(query: &str) -> Result<Vec<UserId>, Refusal> {
    let mut users = Vec::new();
    for value in query.split('&').filter_map(|field| field.strip_prefix("users=")) {
        for text in value.split(',').filter(|text| !text.is_empty()) {
            let decoded = decode(text).and_then(|text| UserId::parse(&text));
            let user = decoded.ok_or_else(|| Refusal::invalid("`users`: a user id has 1 to 128 bytes"))?;
            if users.contains(&user) {
                continue;
            }
            if users.len() == limits::PRESENCE_USERS {
                let most = limits::PRESENCE_USERS;
                return Err(Refusal::invalid(format!("`users`: {most} at most, ask again for more")));
            }
            users.push(user);
        }
    }
    if users.is_empty() {
        return Err(Refusal::invalid("`users` is missing: user ids separated by commas"));
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_separated_before_they_are_decoded() {
        let ids = |query: &str| users(query).map(|all| all.iter().map(|it| it.as_str().to_owned()).collect::<Vec<_>>());
        assert_eq!(ids("users=ann,b%2Cob&users=e+ve,ann").unwrap(), ["ann", "b,ob", "e ve"]);
        assert!(ids("users=%GG").is_err() && ids("users=").is_err() && ids("").is_err());
    }

    #[test]
    fn more_than_a_hundred_are_too_many() {
        let query = |count: usize| {
            format!(
                "users={}",
                (0..count).map(|it| it.to_string()).collect::<Vec<_>>().join(",")
            )
        };
        assert!(users(&query(100)).is_ok() && users(&query(101)).is_err());
    }
}
