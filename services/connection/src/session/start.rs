//! Opening a session: where its events begin, and its registration. What happens between the two is in the log.

use std::sync::Arc;

use protocol::client_frame::AppState;
use protocol::server_frame::ResyncReason;
use protocol::{Refusal, UserId};
use tokio::time::Duration;

use super::Session;
use super::feed::Feed;
use crate::app::App;
use crate::hub::Resume;

/// Tries of a start that met the log being made anew.
const STARTS: usize = 20;
const START_PAUSE: Duration = Duration::from_millis(100);

/// Whose session it is.
#[derive(Debug, Clone)]
pub struct Who {
    /// Whose.
    pub user_id: UserId,
    /// On which device.
    pub device_id: String,
    /// On screen or not.
    pub state: AppState,
    /// Whether others see the user as online because of this session.
    pub is_present: bool,
}

/// A session that is registered while its feed lives.
pub struct Opened {
    /// The session.
    pub session: Arc<Session>,
    /// Its events.
    pub feed: Feed,
    /// Where it begins.
    pub cursor: String,
    /// Whether a cursor was accepted.
    pub resumed: bool,
    /// Why one was not; the session begins at the head then.
    pub refused: Option<ResyncReason>,
}

/// Opens a session at a cursor, or at the head.
///
/// # Errors
/// `unavailable`.
pub async fn open(app: &Arc<App>, who: &Who, resume: Option<&str>) -> Result<Opened, Refusal> {
    for _ in 0..STARTS {
        if let Some(opened) = open_once(app, who, resume).await? {
            return Ok(opened);
        }
        tokio::time::sleep(START_PAUSE).await;
    }
    Err(Refusal::unavailable(
        "the log was just made anew: reconnect in a moment",
    ))
}

/// `None`: the log was made anew meanwhile, and positions of before mean nothing now.
async fn open_once(app: &Arc<App>, who: &Who, resume: Option<&str>) -> Result<Option<Opened>, Refusal> {
    let away = |error: bus::LogError| -> Refusal {
        tracing::debug!(%error, "a session cannot start");
        Refusal::unavailable("the message bus is away: reconnect in a moment")
    };
    let hub = &app.hub;
    let resets = hub.resets();
    let Some(head) = hub.head().await.map_err(away)? else {
        return Ok(None);
    };
    let (positions, resumed, refused) = match resume {
        None => (head, false, None),
        Some(cursor) => match hub.resume(cursor).await.map_err(away)? {
            Resume::From(positions) => (positions, true, None),
            Resume::Refused(reason) => (head, false, Some(reason)),
        },
    };
    // A cursor may be of somewhere in the middle of a replay. Steps of watermarks before it that had moved into entries
    // behind it are not known then: better told twice than not at all.
    let told = if resumed {
        0
    } else {
        positions.last().copied().unwrap_or(0)
    };
    let session = Session::new(who.clone(), &positions, told);
    // Before it is registered: a client that hangs up meanwhile ends this here, and leaves nothing behind.
    let feed = Feed::new(app.clone(), session.clone());
    hub.attach(&session).await.map_err(away)?;
    let Some(cursor) = hub.cursor(positions, resets) else {
        return Ok(None);
    };
    if session.is_present {
        hub.rooms.changes.user(&session.user_id);
    }
    app.drain.tell_if_begun(&session);
    Ok(Some(Opened {
        session,
        feed,
        cursor,
        resumed,
        refused,
    }))
}
