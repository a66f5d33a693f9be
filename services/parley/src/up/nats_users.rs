//! The users of a deployment's NATS: what each may do, and passwords. Those of its own NATS are made once and kept; those of
//! another are read.
//!
//! The permissions are those of every deployment, `deploy/nats/permissions.conf`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, bail};
use rand::RngCore;

use crate::data_dir::DataDir;
use crate::service::Kind;

const PERMISSIONS: &str = include_str!("../../../../deploy/nats/permissions.conf");

/// The tool's own user: everything within the account.
pub(super) const OPERATOR: &str = "operator";

/// Bytes of randomness in a password; it is written as twice as many hexadecimal digits.
const PASSWORD_BYTES: usize = 16;

/// Passwords by the name of their user. They can be used, not printed.
#[derive(Clone)]
pub(super) struct Users {
    passwords: BTreeMap<String, String>,
    /// Whether the server is this deployment's own: it has no TLS then, whatever the settings say of another.
    is_own: bool,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(passwords)")
    }
}

impl Users {
    /// Writes what the server's file includes: `permissions.conf` as it is today, and `passwords.conf` with what was in it
    /// before and a fresh password for each user that it had not.
    ///
    /// # Errors
    /// The files cannot be read or written.
    pub(super) fn write(data: &DataDir) -> anyhow::Result<Self> {
        let permissions = data.join("nats/permissions.conf");
        fs::write(&permissions, PERMISSIONS).with_context(|| format!("cannot write {}", permissions.display()))?;
        let path = data.join("nats/passwords.conf");
        let before = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            before => before.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let mut passwords: BTreeMap<String, String> = before.lines().filter_map(password).collect();
        for user in Kind::ALL.map(Kind::name).into_iter().chain([OPERATOR]) {
            passwords.entry(user.to_owned()).or_insert_with(fresh);
        }
        write(&path, &passwords).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            passwords,
            is_own: true,
        })
    }

    /// Those of a NATS that runs already, from a file of the same form.
    ///
    /// # Errors
    /// It cannot be read, or lacks a service.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let passwords: BTreeMap<String, String> = text.lines().filter_map(password).collect();
        for kind in Kind::ALL {
            if !passwords.contains_key(kind.name()) {
                let variable = format!("{}_PASSWORD: \"…\"", kind.name().to_uppercase());
                bail!("{} has no line {variable}", path.display());
            }
        }
        Ok(Self {
            passwords,
            is_own: false,
        })
    }

    /// Lets a service log in as itself, whatever else its settings say about a login.
    pub(super) fn log_in(&self, kind: Kind, nats: &mut config::Nats) {
        nats.user = Some(kind.name().to_owned());
        nats.password = self.passwords.get(kind.name()).cloned();
        nats.credentials = None;
        if self.is_own {
            nats.ca_file = None;
        }
    }
}

fn fresh() -> String {
    let mut bytes = [0; PASSWORD_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// User and password of a line as [`write()`] writes them.
fn password(line: &str) -> Option<(String, String)> {
    let (variable, value) = line.split_once("_PASSWORD: ")?;
    let value = value.trim().strip_prefix('"')?.strip_suffix('"')?;
    Some((variable.to_lowercase(), value.to_owned()))
}

fn write(path: &Path, passwords: &BTreeMap<String, String>) -> std::io::Result<()> {
    let temporary = path.with_extension("conf.new");
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)?;
    writeln!(file, "# Made by `parley up` at its first start, and kept.")?;
    for (user, password) in passwords {
        writeln!(file, "{}_PASSWORD: \"{password}\"", user.to_uppercase())?;
    }
    file.sync_all()?;
    fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn passwords_are_made_once_each_and_only_their_owner_reads_them() {
        let folder = std::env::temp_dir().join(format!("parley-users-{}", std::process::id()));
        let data = DataDir::create(&folder).unwrap();
        fs::create_dir_all(data.join("nats")).unwrap();
        let first = Users::write(&data).unwrap().passwords;
        let path = data.join("nats/passwords.conf");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let names: Vec<&str> = first.keys().map(String::as_str).collect();
        assert_eq!(names, ["connection", "message", "operator", "presence", "push"]);
        let different: std::collections::HashSet<&String> = first.values().collect();
        assert_eq!(different.len(), first.len());
        // A user that came with a later version gets one, and the others keep theirs.
        let lines = fs::read_to_string(&path).unwrap();
        let without: Vec<&str> = lines.lines().filter(|it| !it.starts_with("PUSH_")).collect();
        fs::write(&path, without.join("\n")).unwrap();
        let second = Users::write(&data).unwrap().passwords;
        assert_eq!(second["message"], first["message"]);
        assert!(second["push"].len() == 2 * PASSWORD_BYTES && second["push"] != first["push"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_file_that_lacks_a_service_is_refused_by_the_name_of_its_line() {
        let file = std::env::temp_dir().join(format!("parley-passwords-{}", std::process::id()));
        let all = ["CONNECTION", "MESSAGE", "PRESENCE", "PUSH"].map(|it| format!("{it}_PASSWORD: \"of {it}\"\n"));
        fs::write(&file, all[..3].concat()).unwrap();
        let error = Users::read(&file).unwrap_err().to_string();
        assert!(error.contains("PUSH_PASSWORD"), "{error}");
        fs::write(&file, all.concat()).unwrap();
        let users = Users::read(&file).unwrap();
        let mut nats = config::Nats {
            ca_file: Some("/ca.pem".into()),
            ..config::Nats::default()
        };
        users.log_in(Kind::Push, &mut nats);
        assert_eq!(
            (nats.password.as_deref(), nats.ca_file.is_some()),
            (Some("of PUSH"), true)
        );
        fs::remove_file(file).unwrap();
    }

    #[test]
    fn a_service_logs_in_as_itself_and_as_nobody_else() {
        let users = Users {
            passwords: BTreeMap::from([("push".to_owned(), "secret".to_owned())]),
            is_own: true,
        };
        let mut nats = config::Nats {
            credentials: Some("/elsewhere.creds".into()),
            user: Some("other".to_owned()),
            ..config::Nats::default()
        };
        users.log_in(Kind::Push, &mut nats);
        assert_eq!(
            (nats.user.as_deref(), nats.password.as_deref()),
            (Some("push"), Some("secret"))
        );
        nats.validate().unwrap();
        assert!(!format!("{users:?}").contains("secret"));
    }
}
