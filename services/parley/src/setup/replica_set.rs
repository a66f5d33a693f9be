//! Makes MongoDB servers a replica set: once, whoever comes first.
//!
//! A set that is there already is left as it is, also where its members are others: changing a set is the operator's.

use std::future::Future;
use std::time::Duration;

use config::{ConfigError, Mongodb, without_passwords};
use lifecycle::Unavailable;
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};
use tokio::time::{Instant, sleep};

/// MongoDB's code of "this replica set has never been set up".
const NOT_YET_INITIALIZED: i32 = 94;

/// Between two looks.
const POLL: Duration = Duration::from_millis(200);

/// For one command: more than any of them takes where a server is there.
const COMMAND: Duration = Duration::from_secs(5);

const URI: &str = "PARLEY_MONGODB__URI";

/// Returns when the set has a member that takes writes.
///
/// # Errors
/// The address names no replica set, or the configured wait is over.
pub(super) async fn make(config: &Mongodb) -> anyhow::Result<()> {
    // What the driver says of an address may quote a password.
    let options = ClientOptions::parse(&config.uri).await;
    let options = options.map_err(|_| ConfigError::new(URI, "not an address that MongoDB's driver understands"))?;
    let Some(name) = options.repl_set_name.clone() else {
        return Err(ConfigError::new(URI, "names no replica set: add replicaSet=NAME").into());
    };
    let members: Vec<String> = options.hosts.iter().map(ToString::to_string).collect();
    // One server is spoken to directly: as long as there is no set, a driver that looks for one finds nobody.
    let mut direct = options;
    direct.hosts.truncate(1);
    direct.repl_set_name = None;
    direct.direct_connection = Some(true);
    direct.server_selection_timeout = Some(COMMAND);
    let admin = Client::with_options(direct)?.database("admin");
    until_made(config, || step(&admin, &name, &members)).await
}

async fn until_made<F>(config: &Mongodb, mut look: impl FnMut() -> F) -> anyhow::Result<()>
where
    F: Future<Output = mongodb::error::Result<bool>>,
{
    let started = Instant::now();
    loop {
        let problem = match look().await {
            Ok(true) => return Ok(()),
            Ok(false) => "no member takes writes yet".to_owned(),
            Err(error) => error.to_string(),
        };
        if started.elapsed() >= config.wait {
            let address = without_passwords(&config.uri);
            let waited = config.wait.as_secs();
            let problem = format!("no replica set was ready at {address} within {waited} s: {problem}");
            return Err(Unavailable::new(URI, problem).into());
        }
        sleep(POLL).await;
    }
}

/// One step towards a set with a primary; true when there is one.
async fn step(admin: &Database, name: &str, members: &[String]) -> mongodb::error::Result<bool> {
    let hello = admin.run_command(doc! { "hello": 1 }).await?;
    if hello.get_str("primary").is_ok() {
        return Ok(true);
    }
    match admin.run_command(doc! { "replSetGetStatus": 1 }).await {
        Err(error) if matches!(&*error.kind, ErrorKind::Command(command) if command.code == NOT_YET_INITIALIZED) => {
            admin
                .run_command(doc! { "replSetInitiate": set(name, members) })
                .await?;
        }
        // A set without a primary, for now.
        Err(_) | Ok(_) => {}
    }
    Ok(false)
}

fn set(name: &str, members: &[String]) -> Document {
    let members: Vec<Document> = (0..)
        .zip(members)
        .map(|(number, host): (i32, _)| doc! { "_id": number, "host": host })
        .collect();
    doc! { "_id": name, "version": 1, "members": members }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(uri: &str) -> Mongodb {
        Mongodb {
            uri: uri.to_owned(),
            wait: Duration::ZERO,
            ..Mongodb::default()
        }
    }

    #[tokio::test]
    async fn an_address_without_a_set_is_a_wrong_setting() {
        let error = make(&config("mongodb://127.0.0.1:1/")).await.unwrap_err();
        assert_eq!(lifecycle::exit_code(&error), 64, "{error}");
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_told_without_its_password() {
        let uri = "mongodb://ann:hush-hush@127.0.0.1:1/?replicaSet=rs0&serverSelectionTimeoutMS=10&connectTimeoutMS=10";
        let error = make(&config(uri)).await.unwrap_err();
        assert_eq!(lifecycle::exit_code(&error), 69, "{error}");
        assert!(!error.to_string().contains("hush-hush"), "{error}");
    }

    #[test]
    fn every_server_of_the_address_is_a_member() {
        let members = ["a:27017".to_owned(), "b:27018".to_owned()];
        let expected = doc! { "_id": "rs1", "version": 1, "members": [
            { "_id": 0, "host": "a:27017" }, { "_id": 1, "host": "b:27018" },
        ] };
        assert_eq!(set("rs1", &members), expected);
    }
}
