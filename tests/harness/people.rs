//! Users of a deployment, and the conversations that tests put them in.

use super::api::Api;
use super::client::Client;
use super::connect::Connect;
use super::deployment::Deployment;

/// A user with a token.
pub struct User {
    pub id: String,
    pub token: String,
    /// Calls at the first node.
    pub api: Api,
    nodes: Vec<String>,
}

/// A conversation and its members, the creator first.
pub struct Room<const N: usize> {
    pub id: String,
    pub users: [User; N],
}

impl User {
    /// A socket at the first node, still to be described.
    pub fn socket(&self) -> Connect {
        Connect::new(&self.nodes, &self.token)
    }

    /// A socket at the first node, authenticated by header.
    pub async fn connect(&self) -> Client {
        self.socket().connect().await
    }

    /// A socket at another node.
    pub async fn connect_at(&self, node: usize) -> Client {
        self.socket().node(node).connect().await
    }

    /// Calls at another node.
    pub fn api_at(&self, node: usize) -> Api {
        self.api.at(&self.nodes[node])
    }

    /// `http://HOST:PORT` of every node.
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }
}

impl Deployment {
    /// A user of that exact id.
    pub async fn user_named(&self, id: &str) -> User {
        let token = self.token(id).await;
        User {
            id: id.into(),
            api: Api::new(&self.nodes()[0], &token),
            token,
            nodes: self.nodes().to_vec(),
        }
    }

    /// A user whom no other test knows.
    pub async fn user(&self, name: &str) -> User {
        self.user_named(&format!("{name}-{}", uuid::Uuid::new_v4().simple()))
            .await
    }

    /// Several such users.
    pub async fn users<const N: usize>(&self, names: [&str; N]) -> [User; N] {
        let users = futures_util::future::join_all(names.map(|it| self.user(it))).await;
        users
            .try_into()
            .unwrap_or_else(|_| unreachable!("one user for each name"))
    }

    /// A direct conversation of two new users.
    pub async fn direct(&self) -> Room<2> {
        let users = self.users(["ann", "bob"]).await;
        let id = users[0].api.direct(&users[1].id).await;
        Room { id, users }
    }

    /// A group of new users; the first creates it.
    pub async fn group<const N: usize>(&self, names: [&str; N]) -> Room<N> {
        let users = self.users(names).await;
        let others: Vec<&str> = users[1..].iter().map(|it| it.id.as_str()).collect();
        let id = users[0].api.group(&others).await;
        Room { id, users }
    }
}
