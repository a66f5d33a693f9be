//! `GET /v1/messages`: what the caller missed, over all conversations, by the same replay that sockets use.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Body;
use axum::extract::State;
use protocol::http::Events;
use protocol::limits::{EVENTS_DEFAULT, EVENTS_MOST};
use protocol::{Code, Refusal, Timestamp};
use serde_json::value::RawValue;

use super::caller::{Caller, Fields};
use super::problem::Problem;
use crate::app::App;
use crate::hub::{Hub, Resume};

/// For this node's tail to reach what was in the log when the request came.
const TAIL_MOST: Duration = Duration::from_millis(1_500);

/// `GET /v1/messages?since=`
pub async fn since(
    State(app): State<Arc<App>>,
    Caller(user_id): Caller,
    fields: Fields,
) -> Result<Body<Events>, Problem> {
    let limit = fields.limit(EVENTS_DEFAULT, EVENTS_MOST)? as usize;
    let Some(since) = fields.text("since") else {
        return Err(Refusal::invalid("`since` is missing: a cursor, or an RFC 3339 time").into());
    };
    let hub = &app.hub;
    let resets = hub.resets();
    let time = Timestamp::parse(since);
    let resume = match time {
        Some(time) => hub.since_time(time).await?,
        None => hub.resume(since).await?,
    };
    let mut positions = match resume {
        Resume::From(positions) => positions,
        Resume::Refused(reason) => {
            let reason = serde_json::to_string(&reason).unwrap_or_default();
            let message = format!("the log cannot be read from there ({reason}): read conversations and history");
            return Err(Refusal::new(Code::Resync, message).into());
        }
    };
    let ends = reach_ends(hub).await?;
    let mine = hub.memberships(&user_id).await?;
    let (mut events, mut more) = (Vec::new(), false);
    for (index, end) in ends.into_iter().enumerate() {
        while positions[index] < end && !more {
            let room = limit - events.len();
            if room == 0 {
                more = true;
                break;
            }
            // Of watermarks nothing is taken for known: this may be the second page of what was read.
            let page = hub.page(index, &mine, positions[index], 0, room).await?;
            positions[index] = page.reached;
            let wanted = page
                .events
                .iter()
                .filter(|event| time.is_none_or(|time| event.timestamp >= time));
            events.extend(wanted.map(|event| event.frame_for(&user_id).clone()));
            if page.complete {
                break;
            }
        }
    }
    let cursor = hub
        .cursor(positions, resets)
        .ok_or_else(|| Refusal::unavailable("the log was just made anew"))?;
    let events = events
        .into_iter()
        .filter_map(|frame| RawValue::from_string(frame.as_str().to_owned()).ok())
        .collect();
    Ok(Body(Events { events, cursor, more }))
}

/// Waits until this node has dispatched what the log holds now, and returns how far that is.
async fn reach_ends(hub: &Hub) -> Result<Vec<u64>, Problem> {
    let ends = hub
        .head()
        .await?
        .ok_or_else(|| Refusal::unavailable("the log was just made anew"))?;
    let reached = tokio::time::timeout(TAIL_MOST, async {
        for (lane, end) in hub.lanes.iter().zip(&ends) {
            lane.wait_for(*end).await;
        }
    });
    reached
        .await
        .map_err(|_| Refusal::unavailable("this node is behind the log: try again in a moment"))?;
    Ok(ends)
}
