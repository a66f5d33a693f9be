//! The key of a deployment's development tokens: made by whoever needs it first, kept for ever.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use config::{Auth, Secret};
use rand::RngCore;

use crate::data_dir::DataDir;

/// Bytes of randomness in a key; it is written as twice as many hexadecimal digits.
const KEY_BYTES: usize = 32;

/// Sets the deployment's own key where the operator has set none.
///
/// # Errors
/// The key's file cannot be made.
pub(crate) fn use_for(auth: &mut Auth, data: &DataDir) -> anyhow::Result<()> {
    if auth.hs256_secret.is_none() && auth.hs256_secret_file.is_none() {
        auth.hs256_secret_file = Some(path(data)?);
    }
    Ok(())
}

/// The key to sign with: the operator's, else the deployment's.
///
/// # Errors
/// The operator's key is unusable, or the deployment's cannot be made.
pub(crate) fn secret(mut auth: Auth, data: &Path) -> anyhow::Result<Secret> {
    if auth.hs256_secret.is_none() && auth.hs256_secret_file.is_none() {
        use_for(&mut auth, &DataDir::create(data)?)?;
    }
    Ok(auth.secret()?)
}

/// The file `auth.key`, made with a fresh key if it is not there.
fn path(data: &DataDir) -> anyhow::Result<PathBuf> {
    let path = data.join("auth.key");
    if !path.exists() {
        make(&path).with_context(|| format!("cannot make the key {}", path.display()))?;
    }
    Ok(path)
}

/// `up` and `token` may both be first: the file appears whole under its name, once.
fn make(path: &Path) -> std::io::Result<()> {
    let mut key = [0; KEY_BYTES];
    rand::rng().fill_bytes(&mut key);
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let temporary = path.with_extension(format!("key.{}", std::process::id()));
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)?;
    writeln!(file, "{digits}")?;
    file.sync_all()?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_reads_it() {
        let folder = std::env::temp_dir().join(format!("parley-key-{}", std::process::id()));
        let first = secret(Auth::default(), &folder).unwrap();
        assert_eq!(first.expose().len(), 2 * KEY_BYTES);
        make(&folder.join("auth.key")).unwrap();
        assert_eq!(secret(Auth::default(), &folder).unwrap(), first);
        assert_eq!(
            fs::metadata(folder.join("auth.key")).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_operators_key_wins() {
        let mut auth = Auth {
            hs256_secret: Some("x".repeat(32)),
            ..Auth::default()
        };
        assert_eq!(
            secret(auth.clone(), Path::new("/nowhere")).unwrap().expose(),
            [b'x'; 32]
        );
        use_for(&mut auth, &DataDir::create(&std::env::temp_dir()).unwrap()).unwrap();
        assert_eq!(auth.hs256_secret_file, None);
    }
}
