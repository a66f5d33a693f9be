//! The folder of one deployment, `./.parley` by default: where everything in it is.
//!
//! Scripts and tests rely on `pids/NAME` and `ports/NAME`; the rest is private to this crate.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The folder used where none is named.
pub const DEFAULT: &str = ".parley";

/// A deployment's folder. The path is absolute, so that it is recognised in the command lines of child processes.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

/// Held by the one `parley up` that runs on a folder; given back by dropping it, or by the process's death.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl DataDir {
    /// The folder at `path`, made if it is not there.
    ///
    /// # Errors
    /// It cannot be made or is no folder.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("cannot use {} as the data folder", path.display()))?;
        Ok(Self(path.canonicalize().with_context(|| {
            format!("cannot use {} as the data folder", path.display())
        })?))
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path inside.
    pub fn join(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.0.join(inside)
    }

    /// The log file of a child process.
    pub fn log(&self, name: &str) -> PathBuf {
        self.0.join("logs").join(format!("{name}.log"))
    }

    /// Takes the folder for this process and makes the folders in it.
    ///
    /// # Errors
    /// Another process has it.
    pub fn lock(&self) -> anyhow::Result<Lock> {
        let path = self.join("lock");
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                bail!(
                    "another `parley up` (process {}) runs on {}: stop it, or choose another folder with --data",
                    holder.trim(),
                    self.0.display()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        for folder in ["pids", "ports", "logs", "nats", "mongod"] {
            fs::create_dir_all(self.join(folder))?;
        }
        Ok(Lock { _file: file })
    }

    /// The port of a running child: `nats`, `mongod`, `connection-0` (its private one), …
    pub fn port(&self, name: &str) -> Option<u16> {
        self.read("ports", name)
    }

    /// The process id of a running child.
    pub fn pid(&self, name: &str) -> Option<i32> {
        self.read("pids", name)
    }

    /// Writes down a child that was just started. Whoever reads sees the old value or the new one, never half of it.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn write_child(&self, name: &str, pid: u32, port: u16) -> std::io::Result<()> {
        self.replace("ports", name, &port.to_string())?;
        self.replace("pids", name, &pid.to_string())
    }

    /// Writes down a port of this process's own.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_port(&self, name: &str, port: u16) -> std::io::Result<()> {
        self.replace("ports", name, &port.to_string())
    }

    /// Forgets a child that has ended for good.
    pub fn remove_child(&self, name: &str) {
        for folder in ["pids", "ports"] {
            // Not there is as good as removed.
            let _ = fs::remove_file(self.join(folder).join(name));
        }
    }

    /// The names in `pids`.
    pub fn children(&self) -> Vec<String> {
        let entries = fs::read_dir(self.join("pids")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| !name.starts_with('.')).collect()
    }

    fn read<T: std::str::FromStr>(&self, folder: &str, name: &str) -> Option<T> {
        fs::read_to_string(self.join(folder).join(name))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    fn replace(&self, folder: &str, name: &str, value: &str) -> std::io::Result<()> {
        let temporary = self.join(folder).join(format!(".{name}"));
        fs::write(&temporary, format!("{value}\n"))?;
        fs::rename(temporary, self.join(folder).join(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_once_and_tells_by_whom() {
        let path = std::env::temp_dir().join(format!("parley-lock-{}", std::process::id()));
        let data = DataDir::create(&path).unwrap();
        let lock = data.lock().unwrap();
        let error = data.lock().unwrap_err().to_string();
        assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
        drop(lock);
        data.lock().unwrap();
        data.write_child("nats", 7, 4222).unwrap();
        assert_eq!(
            (data.pid("nats"), data.port("nats"), data.children()),
            (Some(7), Some(4222), vec!["nats".to_owned()])
        );
        data.remove_child("nats");
        assert_eq!((data.pid("nats"), data.port("nats")), (None, None));
        fs::remove_dir_all(path).unwrap();
    }
}
