//! A user's sessions on one node, taken together: how active they are, and on which devices.

use protocol::client_frame::AppState;
use protocol::signal::SessionState;

/// The most active of some sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Activity {
    /// Nothing was done on any for a while.
    Idle,
    /// Something was.
    Active,
}

/// See the module. There is at least one.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) activity: Activity,
    devices: Box<[Device]>,
}

#[derive(Debug)]
struct Device {
    id: Box<str>,
    /// Whether somebody looks at it.
    foreground: bool,
}

impl Sessions {
    /// `None` of no sessions.
    pub(crate) fn of(sessions: &[SessionState]) -> Option<Self> {
        let active = sessions.iter().any(|it| !it.idle);
        let mut devices: Vec<Device> = Vec::with_capacity(sessions.len());
        for session in sessions {
            // An app that is on screen, and that nobody has touched for a while, was left open.
            let foreground = session.state == AppState::Foreground && !session.idle;
            match devices.iter_mut().find(|it| *it.id == *session.device_id) {
                Some(known) => known.foreground |= foreground,
                None => devices.push(Device {
                    id: session.device_id.as_str().into(),
                    foreground,
                }),
            }
        }
        (!devices.is_empty()).then(|| Self {
            activity: if active { Activity::Active } else { Activity::Idle },
            devices: devices.into(),
        })
    }
}

/// The devices of a user's sessions on several nodes: first those in the foreground, which each is that is so anywhere.
pub(crate) fn devices<'a>(all: impl Iterator<Item = &'a Sessions>) -> Vec<(String, AppState)> {
    let mut devices: Vec<(bool, &str)> = all
        .flat_map(|it| &it.devices)
        .map(|it| (!it.foreground, &*it.id))
        .collect();
    devices.sort_unstable_by_key(|(background, id)| (*id, *background));
    devices.dedup_by_key(|(_, id)| *id);
    devices.sort_unstable();
    let state = |background| {
        if background {
            AppState::Background
        } else {
            AppState::Foreground
        }
    };
    let told = devices.into_iter();
    told.map(|(background, id)| (id.to_owned(), state(background)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(device: &str, state: AppState, idle: bool) -> SessionState {
        SessionState {
            device_id: device.into(),
            state,
            idle,
        }
    }

    #[test]
    fn a_device_is_in_the_foreground_where_any_session_of_it_on_any_node_is() {
        let (foreground, background) = (AppState::Foreground, AppState::Background);
        let one = Sessions::of(&[
            session("web", background, false),
            session("phone", background, false),
            session("web", background, false),
        ]);
        let other = Sessions::of(&[session("web", foreground, false)]);
        let told = devices(one.iter().chain(&other));
        assert_eq!(told, [("web".into(), foreground), ("phone".into(), background)]);
    }

    #[test]
    fn an_app_on_screen_that_nobody_touches_is_not_looked_at() {
        let idle = Sessions::of(&[session("web", AppState::Foreground, true)]);
        assert_eq!(devices(idle.iter()), [("web".into(), AppState::Background)]);
    }

    #[test]
    fn no_sessions_are_none() {
        assert!(Sessions::of(&[]).is_none());
    }
}
