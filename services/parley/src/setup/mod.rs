//! `parley setup`: what a deployment in containers needs before its services start. Each step may be done again at any
//! time, by several at once, and changes nothing that is there already.
//!
//! On a workstation `parley up` does the same for itself. It leaves out the streams in NATS: the services make those.

mod replica_set;

use std::path::{Path, PathBuf};

use clap::Args;
use config::Config;

use crate::data_dir::{self, DataDir};
use crate::{fake_push, key};

/// What `parley setup` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "The replica set is the one that PARLEY_MONGODB__URI names: its name, and every server in the address as \
                        a member. PARLEY_MONGODB__WAIT (30s) is how long it may take; then the exit code is 69."
)]
pub(crate) struct Options {
    /// The deployment's folder, for the key of development tokens
    #[arg(long, value_name = "DIR", default_value = data_dir::DEFAULT)]
    data: PathBuf,
    /// Make MongoDB's servers a replica set, unless they are one, and wait until it takes writes
    #[arg(long)]
    mongodb: bool,
    /// Make the keys that `parley fake-push` checks, into DIR/fake-push
    #[arg(long)]
    fake_push: bool,
    #[command(flatten)]
    played: fake_push::Place,
}

/// Does what was asked for, the key of tokens always.
///
/// # Errors
/// The folder cannot be written, or MongoDB is away or refuses.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let config = Config::load(None, |_| {})?;
    make_key(&config, &options.data)?;
    if options.fake_push {
        let folder = DataDir::create(&options.data)?.join(fake_push::FOLDER);
        ::fake_push::FakePush::prepare(&folder, &options.played.options()?)?;
        eprintln!(
            "parley: the keys of the played push providers are in {}",
            folder.display()
        );
    }
    if options.mongodb {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(replica_set::make(&config.mongodb))?;
        eprintln!("parley: MongoDB takes writes");
    }
    Ok(())
}

fn make_key(config: &Config, data: &Path) -> anyhow::Result<()> {
    key::secret(config.auth.clone(), data).map(|_| ())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn again_it_changes_nothing() {
        let folder = std::env::temp_dir().join(format!("parley-setup-{}", std::process::id()));
        let data = folder.display().to_string();
        let line = [
            "setup",
            "--data",
            &data,
            "--fake-push",
            "--name",
            "played",
            "--listen",
            "0.0.0.0:7000",
        ];
        let options = Line::try_parse_from(line).unwrap().options;
        let written = || {
            run(&options).unwrap();
            [
                "auth.key",
                "fake-push/ca.pem",
                "fake-push/apns.p8",
                "fake-push/fcm.json",
                "fake-push/vapid.pem",
            ]
            .map(|name| std::fs::read_to_string(folder.join(name)).unwrap())
        };
        let first = written();
        assert!(first[3].contains("http://played:7000/token"), "{}", first[3]);
        assert_eq!(written(), first);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
