//! From the upgrade to `ready`: authentication within its deadline, the session's registration, where it begins.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use protocol::client_frame::{self, AppState, Auth, Decoded, Reference};
use protocol::server_frame::{ErrorFrame, Resync, close};
use protocol::{ClientFrame, Code, Refusal, ServerFrame, Timestamp};
use tokio::io::AsyncReadExt;
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::Session;
use super::feed::Feed;
use super::socket::{Socket, Ws};
use super::start::{self, Who};
use crate::app::App;
use crate::token::{Caller, is_device_id};

/// From the TCP accept to the token.
pub const AUTHENTICATE: Duration = Duration::from_secs(10);
/// For a goodbye to arrive.
const GOODBYE: Duration = Duration::from_secs(2);

/// Frames before the token, after which a socket is no client of ours.
const FRAMES_MOST: usize = 1_000;

/// What the request for a WebSocket said itself.
#[derive(Debug)]
pub struct Upgrade {
    /// In place of an `auth` frame.
    pub offered: Option<Result<Auth, Refusal>>,
    /// When its connection was accepted.
    pub accepted_at: Instant,
    /// Its W3C trace context, well-formed.
    pub traceparent: Option<String>,
}

/// Serves an upgraded connection to its end.
pub async fn serve(app: Arc<App>, mut ws: Ws, upgrade: Upgrade) {
    let Upgrade {
        offered,
        accepted_at,
        traceparent,
    } = upgrade;
    let deadline = accepted_at + AUTHENTICATE;
    let admitted = tokio::select! {
        admitted = timeout_at(deadline, admit(&app, &mut ws, offered)) => Some(admitted),
        () = app.drain.begun() => None,
    };
    let Some(admitted) = admitted else {
        return close(&mut ws, close::DRAINING, "draining").await;
    };
    let admitted = match admitted {
        Ok(Ok(admitted)) => admitted,
        Ok(Err(Some((code, reason)))) => return close(&mut ws, code, reason).await,
        Ok(Err(None)) => return,
        Err(_) => return close(&mut ws, close::TIMEOUT, "no authentication in time").await,
    };
    match start(&app, admitted).await {
        Ok((attached, frames, cursor, caller)) => {
            let socket = Socket::new(app, attached, ws, frames, cursor, &caller, traceparent);
            Box::new(socket).run().await;
        }
        Err(refusal) => {
            tell(&mut ws, refusal, None).await;
            close(&mut ws, close::UNAVAILABLE, "back end unavailable").await;
        }
    }
}

struct Admitted {
    caller: Caller,
    device_id: String,
    resume: Option<String>,
    state: AppState,
    reference: Option<Reference>,
}

/// A code and reason to close with, or nobody to tell.
type Refused = Option<(u16, &'static str)>;

async fn admit(app: &App, ws: &mut Ws, offered: Option<Result<Auth, Refusal>>) -> Result<Admitted, Refused> {
    if let Some(offered) = offered {
        match offered.and_then(|auth| check(app, auth, None)) {
            Ok(admitted) => return Ok(admitted),
            Err(refusal) => refused(ws, refusal, None).await?,
        }
    }
    for count in 0..FRAMES_MOST {
        let text = match ws.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Binary(_))) if count == 0 => {
                tell(ws, Refusal::new(Code::BadFrame, "frames are text, not binary"), None).await;
                return Err(Some((close::NOT_A_CLIENT, "not a protocol client")));
            }
            Some(Ok(Message::Binary(_))) => {
                tell(ws, first_a_token(), None).await;
                continue;
            }
            Some(Ok(Message::Close(_))) | None => return Err(None),
            Some(Ok(_)) => continue,
            Some(Err(WsError::Capacity(_))) => return Err(Some((close::TOO_LARGE, "frame too large"))),
            Some(Err(_)) => return Err(None),
        };
        match client_frame::decode(&text) {
            Ok(Decoded {
                frame: ClientFrame::Auth(auth),
                reference,
                ..
            }) => match check(app, auth, reference.clone()) {
                Ok(admitted) => return Ok(admitted),
                Err(refusal) => refused(ws, refusal, reference).await?,
            },
            Ok(Decoded { reference, .. }) => tell(ws, first_a_token(), reference).await,
            Err(rejected) if !rejected.is_object && count == 0 => {
                tell(ws, rejected.refusal, None).await;
                return Err(Some((close::NOT_A_CLIENT, "not a protocol client")));
            }
            Err(rejected) if rejected.frame_type.as_deref() == Some("auth") => {
                tell(ws, rejected.refusal, rejected.reference).await;
            }
            Err(rejected) => tell(ws, first_a_token(), rejected.reference).await,
        }
    }
    Err(Some((close::NOT_A_CLIENT, "no authentication in a thousand frames")))
}

fn first_a_token() -> Refusal {
    Refusal::new(Code::Unauthenticated, "send an `auth` frame with a token first")
}

/// Tells of a refusal; a bad token ends the socket, a wrong field does not.
async fn refused(ws: &mut Ws, refusal: Refusal, reference: Option<Reference>) -> Result<(), Refused> {
    let fatal = refusal.code == Code::Unauthenticated;
    tell(ws, refusal, reference).await;
    if fatal {
        Err(Some((close::UNAUTHENTICATED, "token invalid")))
    } else {
        Ok(())
    }
}

fn check(app: &App, auth: Auth, reference: Option<Reference>) -> Result<Admitted, Refusal> {
    let caller = app.verifier.verify(&auth.token, Timestamp::now())?;
    let device_id = device_of(&caller, auth.device_id)?;
    Ok(Admitted {
        caller,
        device_id,
        resume: auth.resume,
        state: auth.state.unwrap_or_default(),
        reference,
    })
}

/// The device of a session: the token's, the one given, or a new one.
///
/// # Errors
/// `invalid`; `forbidden` where the token is another device's.
pub fn device_of(caller: &Caller, given: Option<String>) -> Result<String, Refusal> {
    if given.as_deref().is_some_and(|id| !is_device_id(id)) {
        return Err(Refusal::invalid("`device_id` must be 1 to 128 bytes"));
    }
    match (&caller.device_id, given) {
        (Some(token), Some(given)) if *token != given => {
            Err(Refusal::new(Code::Forbidden, "this token is another device's"))
        }
        (Some(token), _) => Ok(token.clone()),
        (None, Some(given)) => Ok(given),
        (None, None) => Ok(uuid::Uuid::new_v4().to_string()),
    }
}

type Started = ((Arc<Session>, Feed), Vec<ServerFrame>, String, Caller);

async fn start(app: &Arc<App>, admitted: Admitted) -> Result<Started, Refusal> {
    let who = Who {
        user_id: admitted.caller.user_id.clone(),
        device_id: admitted.device_id,
        state: admitted.state,
        is_present: true,
    };
    let opened = start::open(app, &who, admitted.resume.as_deref()).await?;
    let (session, cursor) = (opened.session, opened.cursor);
    let ready = app.ready(&session, opened.resumed, cursor.clone(), admitted.reference);
    let mut frames = vec![ServerFrame::Ready(ready)];
    if let Some(reason) = opened.refused {
        metrics::counter!("parley_resyncs_total").increment(1);
        frames.push(ServerFrame::Resync(Resync { reason }));
    }
    Ok(((session, opened.feed), frames, cursor, admitted.caller))
}

async fn tell(ws: &mut Ws, refusal: Refusal, reference: Option<Reference>) {
    let text = ServerFrame::Error(ErrorFrame::of(refusal, reference, None)).encode();
    // A socket that takes nothing runs into the deadline, or is found gone at the next read.
    let _ = timeout(GOODBYE, ws.send(Message::Text(text.into()))).await;
}

/// Says goodbye, so that the code arrives, and waits a little for the other side to have read it.
pub(super) async fn close(ws: &mut Ws, code: u16, reason: &'static str) {
    metrics::counter!("parley_closes_total", "code" => code.to_string()).increment(1);
    let goodbye = async {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        if ws.send(Message::Close(Some(frame))).await.is_err() {
            return;
        }
        if code == close::TOO_LARGE {
            // The rest of the frame is still coming; closing on it would reset the connection before the code is read.
            let mut dropped = [0; 4096];
            while ws.get_mut().read(&mut dropped).await.is_ok_and(|count| count > 0) {}
            return;
        }
        while let Some(Ok(_)) = ws.next().await {}
    };
    let _ = timeout(GOODBYE, goodbye).await;
}
