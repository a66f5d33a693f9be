//! Settings: a bad one is one clear line and the right exit code.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Deployment, Refused};

/// Expects exit code 64 and one line that names the setting.
fn assert_configuration_error(refused: &Refused, setting: &str) {
    assert_eq!(refused.code, Some(64), "{}", refused.stderr);
    assert_eq!(refused.lines().len(), 1, "one clear line: {}", refused.stderr);
    assert!(
        refused.stderr.contains(setting),
        "it names {setting}: {}",
        refused.stderr
    );
}

async fn refused_with(setting: &str, value: &str) -> Refused {
    Deployment::start().env(setting, value).refused().await
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_named() {
    let refused = refused_with("PARLEY_STREAM__PARTITIONS", "many").await;
    assert_configuration_error(&refused, "PARLEY_STREAM__PARTITIONS");
}

#[tokio::test]
async fn a_value_out_of_range_is_named() {
    assert_configuration_error(
        &refused_with("PARLEY_STREAM__PARTITIONS", "0").await,
        "PARLEY_STREAM__PARTITIONS",
    );
}

#[tokio::test]
async fn an_unknown_key_is_named() {
    assert_configuration_error(
        &refused_with("PARLEY_STREAM__COLOUR", "red").await,
        "PARLEY_STREAM__COLOUR",
    );
}

#[tokio::test]
async fn an_unknown_ack_is_named() {
    assert_configuration_error(
        &refused_with("PARLEY_STREAM__ACK", "perhaps").await,
        "PARLEY_STREAM__ACK",
    );
}

#[tokio::test]
async fn a_log_younger_than_the_duplicate_window_is_a_configuration_error() {
    let start = Deployment::start()
        .env("PARLEY_STREAM__MAX_AGE", "5s")
        .env("PARLEY_STREAM__DUPLICATE_WINDOW", "10s");
    assert_configuration_error(&start.refused().await, "PARLEY_STREAM__MAX_AGE");
}

#[tokio::test]
async fn with_separate_processes_too_a_bad_value_ends_up_itself() {
    let refused = Deployment::start()
        .separate()
        .env("PARLEY_CONNECTION__HEARTBEAT_MS", "soon")
        .refused()
        .await;
    assert_configuration_error(&refused, "PARLEY_CONNECTION__HEARTBEAT_MS");
}

#[tokio::test]
async fn an_unreachable_nats_exits_69_and_is_named() {
    // A port of the reserved range where nobody listens.
    let start = Deployment::start()
        .arg("--nats")
        .arg("nats://ann:hush-hush@127.0.0.1:1");
    let refused = start.env("PARLEY_NATS__WAIT", "2s").refused().await;
    assert_eq!(refused.code, Some(69), "{}", refused.stderr);
    assert!(refused.stderr.to_lowercase().contains("nats"), "{}", refused.stderr);
    assert!(
        !refused.stderr.contains("hush-hush"),
        "a secret in the error: {}",
        refused.stderr
    );
}

#[tokio::test]
async fn an_unreachable_mongodb_exits_69_and_is_named() {
    let uri = "mongodb://ann:hush-hush@127.0.0.1:1/?replicaSet=rs0";
    let start = Deployment::start()
        .arg("--mongodb")
        .arg(uri)
        .env("PARLEY_MONGODB__WAIT", "2s");
    let refused = start.refused().await;
    assert_eq!(refused.code, Some(69), "{}", refused.stderr);
    assert!(refused.stderr.to_lowercase().contains("mongodb"), "{}", refused.stderr);
    assert!(
        !refused.stderr.contains("hush-hush"),
        "a secret in the error: {}",
        refused.stderr
    );
}

#[tokio::test]
async fn another_number_of_partitions_on_an_existing_log_is_refused() {
    let mut deployment = Deployment::start().launch().await;
    deployment.stop_with(Signal::SIGTERM).await;
    let start = Deployment::start().env("PARLEY_STREAM__PARTITIONS", "8");
    let refused = start.refused_on(&deployment.data(), Duration::from_secs(30)).await;
    assert_eq!(refused.code, Some(64), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("PARLEY_STREAM__PARTITIONS"),
        "{}",
        refused.stderr
    );
}

#[tokio::test]
async fn a_token_is_all_that_parley_token_prints() {
    let deployment = crate::harness::shared().await;
    let output = deployment
        .parley(&["token", "--user", "ann", "--device", "d1", "--ttl", "5m"])
        .await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(text.trim().split('.').count(), 3, "{text}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn any_number_of_partitions_works() {
    for partitions in ["1", "16"] {
        let deployment = Deployment::start()
            .env("PARLEY_STREAM__PARTITIONS", partitions)
            .launch()
            .await;
        for _ in 0..5 {
            let room = deployment.direct().await;
            let bob = room.users[1].connect().await;
            room.users[0].api.say(&room.id, "hello").await;
            bob.expect_text("hello").await;
            assert_eq!(room.users[1].api.history_forwards(&room.id, 50).await.len(), 1);
        }
    }
}

#[tokio::test]
async fn no_message_and_no_token_is_in_any_log() {
    let deployment = Deployment::start()
        .separate()
        .env("PARLEY_LOG__LEVEL", "debug")
        .launch()
        .await;
    let room = deployment.direct().await;
    let text = "for your eyes only";
    let bob = room.users[1].socket().first_frame().connect().await;
    room.users[0].connect().await.say(&room.id, text).await;
    bob.expect_text(text).await;
    bob.send_text(&format!("{{\"type\":\"message:send\",\"text\":\"{text}\""))
        .await;
    bob.expect_error("bad_frame").await;
    room.users[1].api.history(&room.id, "").await.ok();
    room.users[0]
        .socket()
        .query_token()
        .open()
        .await
        .send_text(r#"{"type":"ping"}"#)
        .await;
    let mut logs = vec![deployment.stderr(), deployment.stdout()];
    for entry in std::fs::read_dir(deployment.data().join("logs"))
        .into_iter()
        .flatten()
        .flatten()
    {
        logs.push(String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned());
    }
    assert!(
        logs.iter().map(String::len).sum::<usize>() > 1_000,
        "there are logs to look at"
    );
    for secret in [text, &room.users[0].token, &room.users[1].token] {
        let line = logs.iter().flat_map(|it| it.lines()).find(|it| it.contains(secret));
        assert!(line.is_none(), "{line:?}");
    }
}

#[tokio::test]
async fn a_collector_that_cannot_be_spoken_to_is_a_configuration_error() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318");
    let start = Deployment::start().env(endpoint.0, endpoint.1);
    assert_configuration_error(&start.refused().await, endpoint.0);
    let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon");
    let start = Deployment::start().env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
    assert_configuration_error(&start.env(protocol.0, protocol.1).refused().await, protocol.0);
}
