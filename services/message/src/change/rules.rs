//! Who may change what, and what becomes of it: pure functions of the conversation's state.

use std::collections::HashSet;

use protocol::http::{Role, UpdateConversation};
use protocol::rpc::Change;
use protocol::server_frame::{ConversationType, ConversationUpdated, MemberAdded, MemberRemoved, RoleChange};
use protocol::{Code, Refusal, Timestamp, UserId, limits};

use crate::conversation::State;
use crate::event::Event;

/// What to do with a change.
#[derive(Debug, PartialEq)]
pub(crate) enum Decision {
    /// Append this, if the log still ends where the state says.
    Append(Event),
    /// Everything is so already.
    Nothing,
    /// Refuse; final only if the state is fresh.
    Refuse(Refusal),
}

/// Checks what needs no knowledge of the conversation, and brings the change into its one form: a trimmed name, each
/// user once.
///
/// # Errors
/// `invalid`, with what to change.
pub(crate) fn draft(change: Change) -> Result<Change, Refusal> {
    Ok(match change {
        Change::Update(UpdateConversation { name, history }) => {
            let name = name.map(|it| it.trim().to_owned());
            if name.is_none() && history.is_none() {
                return Err(Refusal::invalid("nothing to change: neither `name` nor `history`"));
            }
            let wrong = |it: &String| it.is_empty() || it.chars().nth(limits::NAME_CHARS).is_some();
            if name.as_ref().is_some_and(wrong) {
                let most = limits::NAME_CHARS;
                return Err(Refusal::invalid(format!(
                    "`name` is 1 to {most} characters after trimming"
                )));
            }
            Change::Update(UpdateConversation { name, history })
        }
        Change::Add(mut users) => {
            let mut seen = HashSet::new();
            users.retain(|it| seen.insert(it.clone()));
            if users.is_empty() {
                return Err(Refusal::invalid("`members` is empty"));
            }
            if users.len() > limits::MEMBERS {
                return Err(too_many());
            }
            Change::Add(users)
        }
        Change::SetRole(_, Role::Owner) => {
            return Err(Refusal::invalid("`role` is `admin` or `member`: an owner only leaves"));
        }
        change @ (Change::Remove(_) | Change::SetRole(..)) => change,
    })
}

/// Decides on a draft at `now`.
pub(crate) fn decide(state: &State, caller: &UserId, change: &Change, now: Timestamp) -> Decision {
    let Some(own) = state.members.get(caller) else {
        return Decision::Refuse(Refusal::no_conversation());
    };
    if state.conversation_type == ConversationType::Direct {
        return Decision::Refuse(forbidden("a direct conversation is of the same two for ever"));
    }
    let event = Next {
        state,
        caller,
        seq: state.head.seq + 1,
        // Clocks of replicas differ; within a conversation time never goes back.
        timestamp: now.max(state.head.timestamp),
    };
    let decided = match change {
        Change::Remove(user) if user == caller => Ok(event.leave(own.role)),
        Change::SetRole(user, role) => event.set_role(own.role, user, *role),
        _ if own.role == Role::Member => Err(forbidden("only the owner and admins do this")),
        Change::Update(update) => Ok(event.update(update)),
        Change::Add(users) => event.add(users),
        Change::Remove(user) => event.remove(user),
    };
    match decided {
        Ok(Some(event)) => Decision::Append(event),
        Ok(None) => Decision::Nothing,
        Err(refusal) => Decision::Refuse(refusal),
    }
}

/// The event to come.
struct Next<'a> {
    state: &'a State,
    caller: &'a UserId,
    seq: u64,
    timestamp: Timestamp,
}

type Decided = Result<Option<Event>, Refusal>;

impl Next<'_> {
    fn update(&self, update: &UpdateConversation) -> Option<Event> {
        let name = update.name.clone().filter(|it| Some(it) != self.state.name.as_ref());
        let history = update.history.filter(|it| *it != self.state.history);
        let changes = name.is_some() || history.is_some();
        changes.then(|| {
            Event::Updated(ConversationUpdated {
                name,
                history,
                ..self.updated()
            })
        })
    }

    fn add(&self, users: &[UserId]) -> Decided {
        let members = &self.state.members;
        let new: Vec<UserId> = users.iter().filter(|it| !members.contains(it)).cloned().collect();
        if new.is_empty() {
            return Ok(None);
        }
        let size = members.len() + new.len();
        if size > limits::MEMBERS {
            return Err(too_many());
        }
        let added = MemberAdded {
            conversation_id: self.state.id.clone(),
            seq: self.seq,
            user_ids: new,
            by: self.caller.clone(),
            timestamp: self.timestamp,
            conversation: None,
        };
        Ok(Some(Event::Added(added, size as u64)))
    }

    fn remove(&self, user: &UserId) -> Decided {
        match self.state.members.get(user).map(|it| it.role) {
            None => Err(no_such_member()),
            Some(Role::Owner) => Err(forbidden("nobody but himself removes the owner")),
            Some(Role::Admin | Role::Member) => Ok(Some(self.removed(user, None))),
        }
    }

    fn leave(&self, own: Role) -> Option<Event> {
        let heir = self.state.members.successor(self.caller).filter(|_| own == Role::Owner);
        Some(self.removed(self.caller, heir.map(|it| it.user_id.clone())))
    }

    fn set_role(&self, own: Role, user: &UserId, role: Role) -> Decided {
        if own != Role::Owner {
            return Err(forbidden("only the owner makes and unmakes admins"));
        }
        if user == self.caller {
            return Err(forbidden("an owner stays owner until he leaves"));
        }
        let Some(member) = self.state.members.get(user) else {
            return Err(no_such_member());
        };
        let change = RoleChange {
            user_id: user.clone(),
            role,
        };
        let updated = ConversationUpdated {
            roles: vec![change],
            ..self.updated()
        };
        Ok((member.role != role).then_some(Event::Updated(updated)))
    }

    fn updated(&self) -> ConversationUpdated {
        ConversationUpdated {
            conversation_id: self.state.id.clone(),
            seq: self.seq,
            by: self.caller.clone(),
            name: None,
            history: None,
            roles: Vec::new(),
            timestamp: self.timestamp,
        }
    }

    fn removed(&self, user: &UserId, owner: Option<UserId>) -> Event {
        let removed = MemberRemoved {
            conversation_id: self.state.id.clone(),
            seq: self.seq,
            user_ids: vec![user.clone()],
            by: self.caller.clone(),
            owner,
            timestamp: self.timestamp,
        };
        Event::Removed(removed, self.state.members.len() as u64 - 1)
    }
}

fn forbidden(message: &str) -> Refusal {
    Refusal::new(Code::Forbidden, message)
}

fn no_such_member() -> Refusal {
    Refusal::new(Code::NotFound, "that user is not a member of this conversation")
}

fn too_many() -> Refusal {
    Refusal::invalid(format!("more than {} members: nobody was added", limits::MEMBERS))
}
