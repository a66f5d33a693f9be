//! Many at once: a storm of resumes costs NATS no consumers and MongoDB nothing.

use futures_util::future::join_all;

use crate::harness::{Broker, Deployment};

const CLIENTS: usize = 150;

#[tokio::test]
async fn a_storm_of_resumes_makes_no_consumers_and_needs_no_mongodb() {
    let deployment = Deployment::start().replicas("connection=2,message=2").launch().await;
    let room = deployment.direct().await;
    let bob = &room.users[1];
    let cursor = bob.connect().await.settled_cursor().await;
    for number in 0..30 {
        room.users[0].api.say(&room.id, &number.to_string()).await;
    }
    let broker = Broker::of(&deployment).await;
    let before = broker.consumers().await;
    deployment.pause("mongod");
    let opening = (0..CLIENTS).map(|it| bob.socket().node(it % 2).resume(&cursor).connect());
    let sockets = join_all(opening).await;
    for socket in &sockets {
        assert_eq!(socket.ready["resumed"], true);
        for number in 0..30 {
            socket.expect_text(&number.to_string()).await;
        }
    }
    assert_eq!(
        broker.consumers().await,
        before,
        "consumers of all streams, with {CLIENTS} more sockets"
    );
    deployment.unpause("mongod");
}
