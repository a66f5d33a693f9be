//! Creating a conversation: one entry in the log, then the directory, then the answer. MongoDB is not needed.

use std::collections::HashSet;
use std::time::Duration;

use bus::{LogError, directory};
use protocol::http::{CreateConversation, HistoryAccess};
use protocol::rpc::{Create, Created};
use protocol::server_frame::{ConversationCreated, ConversationType};
use protocol::{ClientId, Code, ConversationId, Refusal, ServerFrame, Timestamp, UserId, envelope, limits};

use crate::change::too_large;
use crate::conversation::shown::shown;
use crate::conversation::{State, snapshot};
use crate::memberships::{present, store_all};
use crate::service::{Service, unavailable};

/// Time for everything; a group of 10,000 takes about a second.
const DEADLINE: Duration = Duration::from_secs(4);

/// What a request comes to.
///
/// # Errors
/// `invalid`, with what to change.
fn plan(creator: &UserId, body: &CreateConversation, now: Timestamp) -> Result<ConversationCreated, Refusal> {
    let mut members = vec![creator.clone()];
    let mut seen: HashSet<&UserId> = std::iter::once(creator).collect();
    members.extend(body.members.iter().filter(|it| seen.insert(it)).cloned());
    let (conversation_id, name, history) = match body.conversation_type {
        ConversationType::Direct => {
            let [_, other] = members.as_slice() else {
                return Err(Refusal::invalid("a direct conversation has exactly one other member"));
            };
            (ConversationId::direct(creator, other), None, HistoryAccess::All)
        }
        ConversationType::Group => {
            let fresh = ClientId::generate;
            let client_id = body.client_id.clone().unwrap_or_else(fresh);
            let name = body.name.as_deref().map(str::trim).filter(|it| !it.is_empty());
            let id = ConversationId::group(creator, &client_id);
            (id, name.map(str::to_owned), body.history)
        }
    };
    if members.len() > limits::MEMBERS {
        return Err(Refusal::invalid(format!("more than {} members", limits::MEMBERS)));
    }
    if name
        .as_deref()
        .is_some_and(|it| it.chars().nth(limits::NAME_CHARS).is_some())
    {
        return Err(Refusal::invalid(format!(
            "`name` is longer than {} characters",
            limits::NAME_CHARS
        )));
    }
    Ok(ConversationCreated {
        conversation_id,
        seq: 1,
        conversation_type: body.conversation_type,
        name,
        history,
        members,
        by: creator.clone(),
        timestamp: now,
    })
}

impl Service {
    /// Creates a conversation, or finds the one that is there.
    ///
    /// # Errors
    /// `invalid`, `too_large`, `not_found` where the creator has left what is there, `unavailable`: the same request
    /// may be repeated.
    pub(crate) async fn create(&self, request: Create, now: Timestamp) -> Result<Created, Refusal> {
        let done = tokio::time::timeout(DEADLINE, self.create_within(request, now)).await;
        done.unwrap_or_else(|_| Err(Refusal::unavailable("no answer in time: repeat the same request")))
    }

    async fn create_within(&self, request: Create, now: Timestamp) -> Result<Created, Refusal> {
        let creator = request.user_id;
        let planned = plan(&creator, &request.body, now)?;
        let (state, created) = self.create_or_find(&planned).await?;
        if !state.members.contains(&creator) {
            return Err(Refusal::no_conversation());
        }
        // Before the answer, and again on a repetition: a replica may have been killed between entry and directory.
        let stored = store_all(&self.log, present(&state, state.members.iter())).await;
        stored.map_err(|error| unavailable(&error))?;
        let conversation = if created {
            shown(&state)
        } else {
            let conversation = self.conversations.open(&state.id);
            self.conversation_after(&creator, &conversation, &state).await?
        };
        Ok(Created { conversation, created })
    }

    async fn create_or_find(&self, planned: &ConversationCreated) -> Result<(State, bool), Refusal> {
        let conversation = self.conversations.open(&planned.conversation_id);
        let mut slot = conversation.state.lock().await;
        if slot.is_some() {
            return Ok((self.refresh(&conversation, &mut slot).await?, false));
        }
        // Its entries may have aged out of the log, where a second creation would then succeed.
        let known = directory::find(self.log.bus(), &planned.by, &planned.conversation_id).await;
        if known.map_err(|error| unavailable(&error))?.is_some() {
            match self.load(&conversation).await {
                Ok(state) => {
                    *slot = Some(state.clone());
                    return Ok((state, false));
                }
                Err(refusal) if refusal.code == Code::NotFound => {}
                Err(refusal) => return Err(refusal),
            }
        }
        let payload = envelope::encode(&ServerFrame::ConversationCreated(planned.clone()), 0);
        let bytes_most = self.log.bus().payload_bytes_most();
        if payload.len() > bytes_most || !snapshot::fits(&State::created(planned, 0), bytes_most) {
            return Err(too_large());
        }
        let (state, created) = match self.log.append(conversation.subject.clone(), None, 0, payload).await {
            Ok(appended) => (State::created(planned, appended.position), true),
            Err(LogError::Conflict) => (self.load(&conversation).await?, false),
            Err(error) => return Err(unavailable(&error)),
        };
        *slot = Some(state.clone());
        Ok((state, created))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::state::tests::user;

    fn body(conversation_type: ConversationType, members: &[&str]) -> CreateConversation {
        let members = members.iter().map(|it| user(it)).collect();
        CreateConversation {
            conversation_type,
            name: Some("  n ".into()),
            members,
            client_id: None,
            history: HistoryAccess::Joined,
        }
    }

    fn plan_for_ann(body: &CreateConversation) -> Result<ConversationCreated, Refusal> {
        plan(&user("ann"), body, Timestamp::from_millis(1))
    }

    #[test]
    fn a_direct_conversation_has_exactly_one_other_and_no_name() {
        let planned = plan_for_ann(&body(ConversationType::Direct, &["bob", "ann", "bob"])).unwrap();
        assert_eq!((planned.members, planned.name), (vec![user("ann"), user("bob")], None));
        assert_eq!(planned.history, HistoryAccess::All);
        for others in [&[][..], &["ann"], &["bob", "eve"]] {
            assert_eq!(
                plan_for_ann(&body(ConversationType::Direct, others)).unwrap_err().code,
                Code::Invalid
            );
        }
    }

    #[test]
    fn a_groups_creator_comes_first_and_its_name_is_trimmed() {
        let planned = plan_for_ann(&body(ConversationType::Group, &["bob", "ann", "eve"])).unwrap();
        assert_eq!(planned.members, [user("ann"), user("bob"), user("eve")]);
        assert_eq!(
            (planned.name.as_deref(), planned.history),
            (Some("n"), HistoryAccess::Joined)
        );
        let alone = CreateConversation {
            name: Some(" ".into()),
            ..body(ConversationType::Group, &[])
        };
        assert_eq!(plan_for_ann(&alone).unwrap().name, None);
    }

    #[test]
    fn a_group_under_the_same_client_id_is_the_same_and_without_one_a_new_one() {
        let fresh = body(ConversationType::Group, &["bob"]);
        assert_ne!(
            plan_for_ann(&fresh).unwrap().conversation_id,
            plan_for_ann(&fresh).unwrap().conversation_id
        );
        let named = CreateConversation {
            client_id: Some(ClientId::generate()),
            ..fresh
        };
        assert_eq!(
            plan_for_ann(&named).unwrap().conversation_id,
            plan_for_ann(&named).unwrap().conversation_id
        );
    }

    #[test]
    fn limits_are_kept() {
        let name = Some("ö".repeat(limits::NAME_CHARS + 1));
        assert!(
            plan_for_ann(&CreateConversation {
                name,
                ..body(ConversationType::Group, &[])
            })
            .is_err()
        );
        let members = (0..limits::MEMBERS).map(|n| user(&format!("u{n}"))).collect();
        let many = CreateConversation {
            members,
            ..body(ConversationType::Group, &[])
        };
        assert!(plan_for_ann(&many).is_err(), "one too many with the creator");
    }
}
