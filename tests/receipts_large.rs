//! Receipts in groups of more than 100 members: told to those who sent what they cover, and to the user's own devices.

use serde_json::{Value, json};

use crate::harness::{Client, Deployment, User, shared};
use crate::receipts::{assert_told, mark};

/// A group of 101: four users, and others whom nobody knows.
pub struct Crowd {
    pub id: String,
    pub users: [User; 4],
}

impl Crowd {
    async fn new() -> Self {
        Self::at(shared().await).await
    }

    pub async fn at(deployment: &Deployment) -> Self {
        let users = deployment.users(["ann", "bob", "eve", "joe"]).await;
        let mut members: Vec<String> = (0..97).map(|it| format!("{}-{it}", users[0].id)).collect();
        members.extend(users[1..].iter().map(|it| it.id.clone()));
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        Self {
            id: users[0].api.group(&members).await,
            users,
        }
    }

    /// Of the users, each at the other node than the one before.
    pub async fn sockets(&self) -> [Client; 4] {
        let [ann, bob, eve, joe] = &self.users;
        [
            ann.connect().await,
            bob.connect_at(1).await,
            eve.connect().await,
            joe.connect_at(1).await,
        ]
    }

    pub async fn say(&self, user: usize, text: &str) {
        self.users[user].api.say(&self.id, text).await;
    }

    pub async fn read(&self, socket: &Client, seq: u64) {
        socket.send(mark("message:read", &self.id, json!({"seq": seq}))).await;
    }

    pub async fn assert_told(&self, socket: &Client, user: usize, seq: u64) {
        assert_told(socket, "message:read", &self.id, &self.users[user].id, seq).await;
    }
}

/// All read marks that came, by `seq`.
pub fn told(socket: &Client) -> Vec<u64> {
    let all = socket.frames.all();
    let marks = all.iter().filter(|it| it["type"] == "message:read");
    marks.filter_map(|it| it["seq"].as_u64()).collect()
}

#[tokio::test]
async fn each_step_is_told_to_the_senders_of_what_it_covers_and_to_nobody_else() {
    let crowd = Crowd::new().await;
    let [ann, bob, eve, joe] = crowd.sockets().await;
    crowd.say(1, "2 by bob").await;
    crowd.say(2, "3 by eve").await;
    crowd.say(0, "4 by ann").await;
    crowd.say(1, "5 by bob").await;
    crowd.read(&joe, 3).await;
    for socket in [&bob, &eve] {
        crowd.assert_told(socket, 3, 3).await;
    }
    crowd.read(&joe, 4).await;
    crowd.assert_told(&ann, 3, 4).await;
    crowd.read(&joe, 5).await;
    crowd.assert_told(&bob, 3, 5).await;
    // One more for all three: whatever else was on its way has come.
    for user in 0..3 {
        crowd.say(user, "6 to 8").await;
    }
    crowd.read(&joe, 8).await;
    for socket in [&ann, &bob, &eve] {
        crowd.assert_told(socket, 3, 8).await;
    }
    assert_eq!(
        (told(&ann), told(&bob), told(&eve)),
        (vec![4, 8], vec![3, 5, 8], vec![3, 8])
    );
}

#[tokio::test]
async fn the_users_other_devices_are_told_whoever_sent() {
    let crowd = Crowd::new().await;
    let (phone, tablet) = (crowd.users[3].connect().await, crowd.users[3].connect_at(1).await);
    crowd.say(0, "by ann").await;
    crowd.read(&phone, 2).await;
    crowd.assert_told(&tablet, 3, 2).await;
}

#[tokio::test]
async fn a_delivery_is_told_to_the_sender_too() {
    let crowd = Crowd::new().await;
    let [_, bob, eve, joe] = crowd.sockets().await;
    crowd.say(1, "by bob").await;
    joe.send(mark("message:delivered", &crowd.id, json!({"seq": 2}))).await;
    assert_told(&bob, "message:delivered", &crowd.id, &crowd.users[3].id, 2).await;
    crowd.say(2, "by eve").await;
    joe.send(mark("message:delivered", &crowd.id, json!({"seq": 3}))).await;
    assert_told(&eve, "message:delivered", &crowd.id, &crowd.users[3].id, 3).await;
    assert_eq!(eve.frames.count("message:delivered"), 1);
}

#[tokio::test]
async fn a_resume_brings_a_mark_to_the_sender_of_what_it_covered_though_later_steps_were_for_others() {
    let crowd = Crowd::new().await;
    let [ann, bob, eve, joe] = crowd.sockets().await;
    crowd.say(1, "2 by bob").await;
    crowd.say(2, "3 by eve").await;
    let cursors = [bob.settled_cursor().await, eve.settled_cursor().await];
    let anns_cursor = ann.settled_cursor().await;
    bob.kill().await;
    crowd.read(&joe, 2).await;
    // Her own device tells that it is written.
    let desk = crowd.users[3].connect().await;
    crowd.read(&joe, 3).await;
    crowd.assert_told(&eve, 3, 3).await;
    let resumed = async |user: usize, cursor: &str| {
        let socket = crowd.users[user].socket().node(user % 2).resume(cursor).connect().await;
        socket.expect("checkpoint").await;
        told(&socket)
    };
    assert!(
        !resumed(1, &cursors[0]).await.is_empty(),
        "bob was told that 2 was read"
    );
    assert_eq!(resumed(2, &cursors[1]).await, [3]);
    assert_eq!(resumed(0, &anns_cursor).await, [0; 0], "ann sent nothing of it");
    drop(desk);
}

#[tokio::test]
async fn since_brings_the_same_marks_as_a_resume() {
    let crowd = Crowd::new().await;
    let [ann, bob, _, joe] = crowd.sockets().await;
    crowd.say(1, "2 by bob").await;
    let cursors = [bob.settled_cursor().await, ann.settled_cursor().await];
    crowd.read(&joe, 2).await;
    crowd.assert_told(&bob, 3, 2).await;
    for (user, cursor, expected) in [(1, &cursors[0], 1), (0, &cursors[1], 0)] {
        let (events, _) = crowd.users[user].api_at(1).since(cursor, 10).await;
        let marks: Vec<&Value> = events.iter().filter(|it| it["type"] == "message:read").collect();
        assert_eq!(marks.len(), expected, "user {user}: {marks:?}");
    }
}

#[tokio::test]
async fn marks_that_follow_one_another_are_told_as_the_last_of_them() {
    let crowd = Crowd::new().await;
    let [ann, bob, _, joe] = crowd.sockets().await;
    for number in 0..30 {
        crowd.say(number % 2, "by ann or bob").await;
    }
    for seq in 2..=31 {
        crowd.read(&joe, seq).await;
    }
    for socket in [&ann, &bob] {
        let last = |it: &Value| it["type"] == "message:read" && it["seq"] == 31;
        socket.frames.frame("the last mark", last).await;
        let told = told(socket);
        assert!(
            told.is_sorted() && told.len() <= 6,
            "thirty marks at once are a few steps: {told:?}"
        );
    }
    let shown = crowd.users[3].api.conversation(&crowd.id).await;
    assert_eq!(shown["read_seq"], 31);
}

#[tokio::test]
async fn the_state_of_every_member_can_be_read_by_all_of_them() {
    let crowd = Crowd::new().await;
    let [_, bob, _, joe] = crowd.sockets().await;
    crowd.say(1, "2 by bob").await;
    crowd.read(&joe, 2).await;
    crowd.assert_told(&bob, 3, 2).await;
    let readers = crowd.users[2].api.members(&crowd.id, "read=2").await;
    let readers: Vec<&Value> = readers.iter().map(|it| &it["user_id"]).collect();
    assert!(readers.contains(&&json!(crowd.users[3].id)), "{readers:?}");
    assert!(!readers.contains(&&json!(crowd.users[2].id)), "{readers:?}");
    assert_eq!(crowd.users[2].api.members(&crowd.id, "limit=50").await.len(), 101);
}
