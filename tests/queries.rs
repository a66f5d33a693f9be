//! Every query that the message service makes of MongoDB is answered from an index.

use mongodb::bson::{Bson, Document, doc};

use crate::harness::shared;

/// All stages of a plan, from the outermost inwards.
fn stages(plan: &Bson, found: &mut Vec<String>) {
    match plan {
        Bson::Document(document) => {
            if let Ok(stage) = document.get_str("stage") {
                found.push(stage.to_owned());
            }
            document.iter().for_each(|(_, value)| stages(value, found));
        }
        Bson::Array(values) => values.iter().for_each(|value| stages(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_query_is_an_index_query() {
    let deployment = shared().await;
    let room = deployment.direct().await;
    room.users[0].api.say(&room.id, "so that no collection is empty").await;
    // A read waits for the projection: from here on there are documents of every kind to plan for.
    room.users[1].api.history(&room.id, "").await.ok();
    let port = std::fs::read_to_string(deployment.data().join("ports/mongod")).unwrap();
    let uri = format!("mongodb://127.0.0.1:{}/?directConnection=true", port.trim());
    let database = mongodb::Client::with_uri_str(uri).await.unwrap().database("parley");
    let samples = message::store::queries::samples();
    assert!(samples.len() > 10);
    for (name, query) in samples {
        let explain = doc! { "explain": query, "verbosity": "queryPlanner" };
        let answer: Document = database.run_command(explain).await.unwrap();
        let plan = answer.get_document("queryPlanner").unwrap().get("winningPlan").unwrap();
        let mut found = Vec::new();
        stages(plan, &mut found);
        let indexed = found.iter().any(|it| it == "IXSCAN" || it == "IDHACK");
        let bad = found.iter().any(|it| it == "COLLSCAN" || it == "SORT");
        assert!(indexed && !bad, "{name}: {found:?}");
    }
}
