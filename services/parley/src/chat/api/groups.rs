//! Groups over HTTP: who is in one, and changes of it. And how people appear.

use protocol::http::{AddMembers, Conversation, Members, PresenceList, SetRole, UpdateConversation};
use protocol::{ConversationId, Timestamp, UserId, limits};
use reqwest::{RequestBuilder, Url};

use super::{Api, Failure};
use crate::chat::client::{Change, Who};

/// Members that are shown: as many as their presence can be asked for at once.
const SHOWN: usize = limits::PRESENCE_USERS;

impl Api {
    /// Changes a group. Gives the group as it is now, where the change was one of the group and not of one member.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(in crate::chat) async fn change(&self, change: &Change) -> Result<Option<Box<Conversation>>, Failure> {
        let request: RequestBuilder = match change {
            Change::Invite(id, members) => {
                let members = members.clone();
                self.client.post(self.members(id, None)?).json(&AddMembers { members })
            }
            Change::Remove(id, user) => {
                let request = self.client.delete(self.members(id, Some(user))?);
                return self.body(request).await.map(|_| None);
            }
            Change::Role(id, user, role) => {
                let request = self.client.patch(self.members(id, Some(user))?);
                request.json(&SetRole { role: *role })
            }
            Change::Rename(id, name) => {
                let address = self.server.http(&format!("/v1/conversations/{}", id.as_str()));
                self.client.patch(address).json(&UpdateConversation {
                    name: Some(name.clone()),
                    history: None,
                })
            }
        };
        self.call(request).await.map(Some)
    }

    /// The first members of a conversation, and how they appear.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(in crate::chat) async fn who(&self, id: &ConversationId) -> Result<Who, Failure> {
        let request = self.client.get(self.members(id, None)?).query(&[("limit", SHOWN)]);
        let page: Members = self.call(request).await?;
        let users: Vec<UserId> = page.members.iter().map(|it| it.user_id.clone()).collect();
        // Who is a member can be told without it.
        let presence = self
            .presence(&users)
            .await
            .unwrap_or(PresenceList { presence: Vec::new() });
        Ok(Who {
            members: page.members,
            more: page.next.is_some(),
            presence,
            at: Timestamp::now(),
        })
    }

    /// How these users appear, as many as may be asked for at once.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(in crate::chat) async fn presence(&self, users: &[UserId]) -> Result<PresenceList, Failure> {
        // Repeated and not joined: an encoded comma would be part of an id.
        let users: Vec<_> = users.iter().map(|it| ("users", it.as_str())).collect();
        let users = &users[..users.len().min(limits::PRESENCE_USERS)];
        let request = self.client.get(self.server.http("/v1/presence"));
        self.call(request.query(users)).await
    }

    /// The address of a conversation's members, or of one of them: a user's id may hold anything.
    fn members(&self, id: &ConversationId, user: Option<&UserId>) -> Result<Url, Failure> {
        let address = self.server.http(&format!("/v1/conversations/{}/members", id.as_str()));
        let mut url = Url::parse(&address).map_err(|error| Failure::lasting(error.to_string()))?;
        if let (Some(user), Ok(mut segments)) = (user, url.path_segments_mut()) {
            segments.push(user.as_str());
        }
        Ok(url)
    }
}
