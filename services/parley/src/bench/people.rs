//! Users of the load: their tokens, and their conversations, made over HTTP like any app's.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use config::{Auth, Config, Secret};
use futures_util::{StreamExt, TryStreamExt, stream};
use protocol::claims::{Audience, Claims};
use protocol::http::{Conversation, CreateConversation, History, HistoryAccess, Member, Members, PresenceList};
use protocol::push::{Device, RegisterDevice};
use protocol::server_frame::{ConversationType, Presence};
use protocol::{UserId, limits};
use serde::de::DeserializeOwned;

use super::crew::{RoomPlan, Seat};
use super::target::Target;
use crate::{key, token};

/// Longer than any run.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3600);
/// Requests at once.
const ABREAST: usize = 16;

/// Users that nobody else has: two runs on one deployment do not meet.
#[derive(Debug)]
pub(super) struct People {
    run: String,
    auth: Auth,
    secret: Secret,
    http: reqwest::Client,
}

impl People {
    /// # Errors
    /// The deployment's key cannot be read.
    pub(super) fn new(data: &Path) -> anyhow::Result<Self> {
        let auth = Config::load(None, |_| {})?.auth;
        let secret = key::secret(auth.clone(), data)?;
        // A proxy of the environment is for the outside.
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self {
            run: protocol::ClientId::generate().canonical(),
            auth,
            secret,
            http,
        })
    }

    /// The users of another process of the same run.
    pub(super) fn of_run(self, run: &str) -> Self {
        Self {
            run: run.to_owned(),
            ..self
        }
    }

    /// Names this run's users among all others.
    pub(super) fn run(&self) -> &str {
        &self.run
    }

    /// The id of the user with this number.
    ///
    /// # Errors
    /// None.
    pub(super) fn user(&self, number: usize) -> anyhow::Result<UserId> {
        UserId::parse(&format!("bench-{}-{number}", self.run)).context("not a user id")
    }

    /// A token for a user.
    ///
    /// # Errors
    /// The clock is before 1970.
    pub(super) fn token(&self, user: &UserId) -> anyhow::Result<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let claims = Claims {
            sub: user.as_str().to_owned(),
            exp: (now + TOKEN_TTL).as_secs(),
            iss: self.auth.issuer.clone(),
            aud: Audience::One(self.auth.audience.clone()),
            device_id: None,
            name: None,
        };
        token::sign(&claims, &self.secret)
    }

    /// Makes `rooms` conversations of `members` users each, who connect to the target's servers in turn.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) async fn rooms(&self, target: &Target, rooms: usize, members: usize) -> anyhow::Result<Vec<RoomPlan>> {
        let made = (0..rooms).map(|room| self.room(target, room * members..(room + 1) * members));
        stream::iter(made).buffered(ABREAST).try_collect().await
    }

    /// Makes one conversation of the users with these numbers.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) async fn room(
        &self,
        target: &Target,
        numbers: impl IntoIterator<Item = usize>,
    ) -> anyhow::Result<RoomPlan> {
        let servers = &target.servers;
        let mut users = Vec::new();
        let mut members = Vec::new();
        for number in numbers {
            let user = self.user(number)?;
            let token = self.token(&user)?;
            members.push(Seat {
                server: servers[number % servers.len()].clone(),
                token,
            });
            users.push(user);
        }
        let first = members.first().context("a room without members")?.clone();
        let conversation_type = if users.len() == 2 {
            ConversationType::Direct
        } else {
            ConversationType::Group
        };
        let is_group = conversation_type == ConversationType::Group;
        let body = CreateConversation {
            conversation_type,
            name: is_group.then(|| "bench".to_owned()),
            members: users.split_off(1),
            client_id: is_group.then(protocol::ClientId::generate),
            history: HistoryAccess::All,
        };
        let request = self.http.post(format!("{}/v1/conversations", first.server)).json(&body);
        let conversation: Conversation = answer(request, &first.token).await?;
        Ok(RoomPlan {
            conversation_id: conversation.conversation_id.as_str().to_owned(),
            members,
        })
    }

    /// Registers a device for push.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) async fn register(&self, seat: &Seat, device: &RegisterDevice) -> anyhow::Result<()> {
        let request = self.http.post(format!("{}/v1/devices", seat.server)).json(device);
        let _: Device = answer(request, &seat.token).await?;
        Ok(())
    }

    /// All members of a conversation, with their watermarks.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) async fn members(&self, seat: &Seat, conversation_id: &str) -> anyhow::Result<Vec<Member>> {
        let (mut all, mut next) = (Vec::new(), None);
        loop {
            let url = format!("{}/v1/conversations/{conversation_id}/members", seat.server);
            let mut query = vec![("limit", limits::MEMBERS_MOST.to_string())];
            query.extend(next.take().map(|it| ("next", it)));
            let page: Members = answer(self.http.get(url).query(&query), &seat.token).await?;
            all.extend(page.members);
            match page.next {
                Some(token) => next = Some(token),
                None => return Ok(all),
            }
        }
    }

    /// How these users appear to somebody.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) async fn presence(&self, seat: &Seat, users: &[UserId]) -> anyhow::Result<Vec<Presence>> {
        let query: Vec<_> = users.iter().map(|it| ("users", it.as_str())).collect();
        let request = self.http.get(format!("{}/v1/presence", seat.server)).query(&query);
        let list: PresenceList = answer(request, &seat.token).await?;
        Ok(list.presence)
    }

    /// All messages of a conversation, oldest first, as `(seq, client id)`.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) async fn history(&self, seat: &Seat, conversation_id: &str) -> anyhow::Result<Vec<(u64, String)>> {
        let mut all = Vec::new();
        let mut after = 0;
        loop {
            let url = format!("{}/v1/conversations/{conversation_id}/messages", seat.server);
            let most = limits::HISTORY_MOST.to_string();
            let request = self
                .http
                .get(url)
                .query(&[("after", after.to_string()), ("limit", most)]);
            let page: History = answer(request, &seat.token).await?;
            all.extend(page.messages.iter().map(|it| (it.seq, it.client_id.canonical())));
            match page.messages.last() {
                Some(last) if page.more => after = last.seq,
                _ => return Ok(all),
            }
        }
    }
}

async fn answer<T: DeserializeOwned>(request: reqwest::RequestBuilder, token: &str) -> anyhow::Result<T> {
    let answer = request.bearer_auth(token).send().await?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer.json().await?);
    }
    let url = answer.url().clone();
    bail!("{url} answered {status}: {}", answer.text().await.unwrap_or_default())
}
