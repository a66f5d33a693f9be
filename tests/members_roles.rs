//! Who may do what in a group: the whole table, and who becomes owner when the owner leaves.

use serde_json::{Value, json};

use crate::harness::{Change, Reply, User, shared};

/// A group with somebody of every role, a spare of each that is no user's own, and a stranger.
struct Club {
    id: String,
    owner: User,
    admin: User,
    member: User,
    stranger: User,
}

const ADMIN: &str = "another admin";
const MEMBER: &str = "another member";

impl Club {
    async fn new() -> Self {
        let [owner, admin, member, stranger] = shared().await.users(["owner", "admin", "member", "stranger"]).await;
        let id = owner.api.group(&[&admin.id, &member.id, ADMIN, MEMBER]).await;
        for user in [&admin.id, ADMIN] {
            owner.api.set_role(&id, user, "admin").await.ok();
        }
        Self {
            id,
            owner,
            admin,
            member,
            stranger,
        }
    }

    /// One row of the table: a change that the owner, an admin, a member and a stranger attempt, and what each is
    /// answered. What is refused changes nothing.
    async fn row(&self, change: Change<'_>, expected: [u16; 4]) {
        self.row_of(async |user| user.api.change(&self.id, change).await, expected)
            .await;
    }

    async fn row_of(&self, attempt: impl AsyncFn(&User) -> Reply, expected: [u16; 4]) {
        // The stranger first, the owner last: what is allowed must not spoil what is still to be refused.
        let users = [&self.stranger, &self.member, &self.admin, &self.owner];
        for (user, status) in users.into_iter().zip(expected.into_iter().rev()) {
            let before = self.shown().await;
            let reply = attempt(user).await;
            assert_eq!(reply.status, status, "{}: {}", user.id, reply.body);
            match status {
                403 => reply.assert_problem(403, "forbidden"),
                404 => reply.assert_problem(404, "not_found"),
                _ => continue,
            }
            assert_eq!(
                self.shown().await,
                before,
                "refused to {} and done all the same",
                user.id
            );
        }
    }

    async fn shown(&self) -> Value {
        self.owner.api.conversation(&self.id).await
    }
}

#[tokio::test]
async fn owner_and_admins_rename() {
    Club::new().await.row(Change::Rename("new"), [200, 200, 403, 404]).await;
}

#[tokio::test]
async fn owner_and_admins_set_what_newcomers_see() {
    let club = Club::new().await;
    let joined = json!({"history": "joined"});
    let set = async |user: &User| user.api.update(&club.id, &joined).await;
    club.row_of(set, [200, 200, 403, 404]).await;
}

#[tokio::test]
async fn owner_and_admins_add() {
    Club::new().await.row(Change::Add(&["new"]), [200, 200, 403, 404]).await;
}

#[tokio::test]
async fn owner_and_admins_remove_a_member() {
    let club = Club::new().await;
    let remove = async |user: &User| {
        club.owner.api.add(&club.id, &[MEMBER]).await.ok();
        user.api.remove(&club.id, MEMBER).await
    };
    club.row_of(remove, [204, 204, 403, 404]).await;
}

#[tokio::test]
async fn owner_and_admins_remove_an_admin() {
    let club = Club::new().await;
    let remove = async |user: &User| {
        club.owner.api.add(&club.id, &[ADMIN]).await.ok();
        club.owner.api.set_role(&club.id, ADMIN, "admin").await.ok();
        user.api.remove(&club.id, ADMIN).await
    };
    club.row_of(remove, [204, 204, 403, 404]).await;
}

#[tokio::test]
async fn nobody_else_removes_the_owner() {
    let club = Club::new().await;
    // The owner himself leaves by this, which is another matter.
    club.row(Change::Remove(&club.owner.id), [204, 403, 403, 404]).await;
}

#[tokio::test]
async fn only_the_owner_makes_an_admin() {
    Club::new()
        .await
        .row(Change::Role(MEMBER, "admin"), [200, 403, 403, 404])
        .await;
}

#[tokio::test]
async fn only_the_owner_unmakes_an_admin() {
    Club::new()
        .await
        .row(Change::Role(ADMIN, "member"), [200, 403, 403, 404])
        .await;
}

#[tokio::test]
async fn nobody_changes_his_own_role() {
    let club = Club::new().await;
    let promote = async |user: &User| user.api.set_role(&club.id, &user.id, "admin").await;
    club.row_of(promote, [403, 403, 403, 404]).await;
    let demote = async |user: &User| user.api.set_role(&club.id, &user.id, "member").await;
    club.row_of(demote, [403, 403, 403, 404]).await;
}

#[tokio::test]
async fn every_member_may_leave() {
    let club = Club::new().await;
    let leave = async |user: &User| user.api.remove(&club.id, &user.id).await;
    club.row_of(leave, [204, 204, 204, 404]).await;
}

#[tokio::test]
async fn a_new_role_is_told_to_every_member_and_holds_at_once() {
    let club = Club::new().await;
    let socket = club.admin.connect_at(1).await;
    club.owner.api.set_role(&club.id, &club.member.id, "admin").await.ok();
    club.member.api_at(1).rename(&club.id, "by a new admin").await.ok();
    let event = socket.next_event().await;
    assert_eq!(event["type"], "conversation:updated");
    assert_eq!(event["roles"], json!([{"user_id": club.member.id, "role": "admin"}]));
    assert_eq!((&event["by"], event.get("name")), (&json!(club.owner.id), None));
    club.owner.api.set_role(&club.id, &club.member.id, "member").await.ok();
    club.member
        .api
        .rename(&club.id, "no more")
        .await
        .assert_problem(403, "forbidden");
}

#[tokio::test]
async fn in_a_direct_conversation_all_of_it_is_forbidden() {
    let room = shared().await.direct().await;
    let [ann, bob] = &room.users;
    for user in [ann, bob] {
        for change in [
            Change::Rename("two"),
            Change::Add(&["third"]),
            Change::Remove(&ann.id),
            Change::Remove(&bob.id),
            Change::Role(&ann.id, "admin"),
            Change::Role(&bob.id, "admin"),
        ] {
            user.api.change(&room.id, change).await.assert_problem(403, "forbidden");
        }
    }
    assert_eq!(ann.api.say(&room.id, "unharmed").await["seq"], 2);
}

/// The role of a member as another one sees it.
async fn role(by: &User, room: &str, user: &str) -> Value {
    let shown = by.api.conversation(room).await;
    let members = shown["members"].as_array().unwrap();
    members.iter().find(|it| it["user_id"] == user).unwrap()["role"].clone()
}

#[tokio::test]
async fn when_the_owner_leaves_the_longest_standing_admin_becomes_owner() {
    let [ann, bob, eve, joe] = shared().await.users(["ann", "bob", "eve", "joe"]).await;
    let id = ann.api.group(&[&bob.id]).await;
    for user in [&eve, &joe] {
        ann.api.add(&id, &[&user.id]).await.ok();
        ann.api.set_role(&id, &user.id, "admin").await.ok();
    }
    let socket = bob.connect_at(1).await;
    assert_eq!(ann.api.remove(&id, &ann.id).await.status, 204);
    let event = socket.next_event().await;
    assert_eq!(
        (&event["type"], &event["owner"]),
        (&json!("member:removed"), &json!(eve.id)),
        "{event}"
    );
    assert_eq!(role(&bob, &id, &eve.id).await, "owner");
    assert_eq!(role(&bob, &id, &joe.id).await, "admin");
}

#[tokio::test]
async fn where_there_is_no_admin_the_longest_standing_member_becomes_owner() {
    let [ann, bob, eve] = shared().await.users(["ann", "bob", "eve"]).await;
    let id = ann.api.group(&[&bob.id]).await;
    ann.api.add(&id, &[&eve.id]).await.ok();
    let socket = eve.connect().await;
    assert_eq!(ann.api.remove(&id, &ann.id).await.status, 204);
    assert_eq!(socket.next_event().await["owner"], bob.id.as_str());
    assert_eq!(role(&eve, &id, &bob.id).await, "owner");
}

#[tokio::test]
async fn who_became_owner_may_do_what_an_owner_may() {
    let [ann, bob, eve] = shared().await.users(["ann", "bob", "eve"]).await;
    let id = ann.api.group(&[&bob.id, &eve.id]).await;
    ann.api.remove(&id, &ann.id).await;
    bob.api_at(1).set_role(&id, &eve.id, "admin").await.ok();
    eve.api.remove(&id, &bob.id).await.assert_problem(403, "forbidden");
}

#[tokio::test]
async fn when_another_leaves_the_owner_stays_and_no_event_names_one() {
    let club = Club::new().await;
    let socket = club.owner.connect().await;
    club.admin.api.remove(&club.id, &club.admin.id).await;
    assert_eq!(socket.next_event().await.get("owner"), None);
    assert_eq!(role(&club.owner, &club.id, &club.owner.id).await, "owner");
}

#[tokio::test]
async fn the_last_one_may_leave_too() {
    let ann = shared().await.user("ann").await;
    let id = ann.api.group(&[]).await;
    let socket = ann.connect().await;
    assert_eq!(ann.api.remove(&id, &ann.id).await.status, 204);
    assert_eq!(socket.next_event().await["type"], "member:removed");
    ann.api
        .get(&format!("/v1/conversations/{id}"))
        .await
        .assert_problem(404, "not_found");
}
