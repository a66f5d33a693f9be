//! `parley verify`: it finds what is missing or differs in MongoDB, and repairs it from the log.

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};

use crate::harness::{Deployment, Room};

const NEEDLE: &str = "the needle in the haystack";

/// A deployment whose history holds the needle among other messages.
async fn with_needle() -> (Deployment, Room<2>) {
    let deployment = Deployment::start().launch().await;
    let room = deployment.direct().await;
    for text in ["before", NEEDLE, "after"] {
        room.users[0].api.say(&room.id, text).await;
    }
    deployment.verify().await;
    (deployment, room)
}

/// Does something to every document that holds the needle, wherever the product keeps it.
async fn tamper(deployment: &Deployment, change: impl AsyncFn(&mongodb::Collection<Document>, Document)) {
    let uri = format!(
        "mongodb://127.0.0.1:{}/?directConnection=true",
        deployment.port("mongod")
    );
    let database = mongodb::Client::with_uri_str(&uri).await.unwrap().database("parley");
    let mut found = 0;
    for name in database.list_collection_names().await.unwrap() {
        let collection = database.collection::<Document>(&name);
        let all: Vec<Document> = collection.find(doc! {}).await.unwrap().try_collect().await.unwrap();
        for document in all.into_iter().filter(|it| it.to_string().contains(NEEDLE)) {
            change(&collection, document).await;
            found += 1;
        }
    }
    assert!(found > 0, "the message is stored somewhere");
}

fn with_other_text(value: Bson) -> Bson {
    match value {
        Bson::String(text) => Bson::String(text.replace(NEEDLE, "a forgery")),
        Bson::Document(inner) => Bson::Document(inner.into_iter().map(|(k, v)| (k, with_other_text(v))).collect()),
        Bson::Array(inner) => Bson::Array(inner.into_iter().map(with_other_text).collect()),
        other => other,
    }
}

async fn assert_found_and_repaired(deployment: &Deployment, room: &Room<2>) {
    let found = deployment.parley(&["verify"]).await;
    assert_eq!(
        found.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&found.stdout)
    );
    assert!(!found.stdout.is_empty(), "it prints what is missing or differs");
    let repaired = deployment.parley(&["verify", "--repair"]).await;
    assert!(
        matches!(repaired.status.code(), Some(0 | 1)),
        "{}",
        String::from_utf8_lossy(&repaired.stderr)
    );
    deployment.verify().await;
    let history = room.users[1].api.history_forwards(&room.id, 50).await;
    let texts: Vec<_> = history.iter().map(|it| it["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["before", NEEDLE, "after"]);
}

#[tokio::test]
async fn a_message_missing_in_mongodb_is_found_and_repaired() {
    let (deployment, room) = with_needle().await;
    let remove = async |collection: &mongodb::Collection<Document>, document: Document| {
        collection
            .delete_one(doc! { "_id": document.get("_id").unwrap() })
            .await
            .unwrap();
    };
    tamper(&deployment, remove).await;
    assert_found_and_repaired(&deployment, &room).await;
}

#[tokio::test]
async fn a_message_that_differs_in_mongodb_is_found_and_repaired() {
    let (deployment, room) = with_needle().await;
    let forge = async |collection: &mongodb::Collection<Document>, document: Document| {
        let id = document.get("_id").unwrap().clone();
        let Bson::Document(forged) = with_other_text(Bson::Document(document)) else {
            unreachable!()
        };
        collection.replace_one(doc! { "_id": id }, forged).await.unwrap();
    };
    tamper(&deployment, forge).await;
    assert_found_and_repaired(&deployment, &room).await;
}

#[tokio::test]
async fn servers_that_the_environment_names_are_compared_as_by_the_services() {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_parley"))
        .args(["verify", "--data", "/nowhere"])
        .env("PARLEY_NATS__URL", "nats://127.0.0.1:1")
        .env("PARLEY_NATS__WAIT", "100ms")
        .env("PARLEY_MONGODB__URI", "mongodb://127.0.0.1:1")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("127.0.0.1:1"), "{said}");
    assert_eq!(output.status.code(), Some(69), "away, and not different: {said}");
}
