//! Receipts in large groups whose entries in the log were replaced by later ones before their sender came, or the node.

use serde_json::Value;

use crate::harness::Deployment;
use crate::receipts_large::{Crowd, told};

#[tokio::test]
async fn a_mark_replaced_before_the_node_started_is_told_to_its_sender_on_resume_and_page_by_page() {
    let mut deployment = Deployment::start().replicas("connection=2,message=2").launch().await;
    let crowd = Crowd::at(&deployment).await;
    let [ann, bob, eve, joe] = crowd.sockets().await;
    crowd.say(1, "2 by bob").await;
    crowd.say(2, "3 by eve").await;
    let cursor = bob.settled_cursor().await;
    bob.kill().await;
    crowd.read(&joe, 2).await;
    // Ann's mark lies between the two of Joe's.
    crowd.read(&ann, 2).await;
    crowd.read(&eve, 2).await;
    let (anns, eves) = (crowd.users[0].connect_at(1).await, crowd.users[2].connect_at(1).await);
    crowd.read(&joe, 3).await;
    crowd.assert_told(&eve, 3, 3).await;
    drop((ann, eve, joe, anns, eves));
    deployment.restart().await;

    let again = crowd.users[1].socket().node(1).resume(&cursor).connect().await;
    again.expect("checkpoint").await;
    assert!(told(&again).contains(&3), "{:?}", told(&again));
    // What is read page by page is the same as what comes at once.
    let (events, _) = crowd.users[1].api.since(&cursor, 1).await;
    let is_joes = |it: &&Value| it["user_id"] == crowd.users[3].id.as_str();
    assert_eq!(events.iter().filter(is_joes).count(), 1);
}
