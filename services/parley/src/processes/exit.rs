//! How a child ended, and what it said last.

use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use config::{ConfigError, EXIT_CONFIG};
use lifecycle::{EXIT_UNAVAILABLE, Unavailable};

use crate::servers;

/// Most bytes of a log's end that are looked at.
const TAIL_BYTES: u64 = 4096;

/// A child's end.
#[derive(Debug, Clone)]
pub(super) struct Exit {
    name: String,
    code: Option<i32>,
    how: String,
    log: PathBuf,
}

impl Exit {
    pub(super) fn new(name: &str, status: std::io::Result<ExitStatus>, log: PathBuf) -> Self {
        let (code, how) = match status {
            Ok(status) => (status.code(), how(status)),
            Err(error) => (None, format!("cannot be watched: {error}")),
        };
        Self {
            name: name.to_owned(),
            code,
            how,
            log,
        }
    }

    /// As an error of the whole, with the child's own exit code where that says what is wrong.
    pub(super) fn into_error(self) -> anyhow::Error {
        let last = last_line(&self.log);
        let said = last
            .strip_prefix(self.name.split('-').next().unwrap_or_default())
            .unwrap_or(&last);
        let said = said.trim_start_matches(": ");
        let (setting, problem) = said.split_once(": ").unwrap_or(("PARLEY_*", said));
        if self.code == Some(i32::from(EXIT_CONFIG)) {
            return ConfigError::new(setting, problem).into();
        }
        if self.code == Some(i32::from(EXIT_UNAVAILABLE)) {
            return Unavailable::new(setting, problem).into();
        }
        let hint = servers::missing_library(&last)
            .map(|hint| format!("; {hint}"))
            .unwrap_or_default();
        anyhow::anyhow!(
            "{self} at its start, saying \"{last}\" (all of it in {}){hint}",
            self.log.display()
        )
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.how)
    }
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

/// The last line that is not empty, or nothing.
fn last_line(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(end.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: i32, said: &str) -> anyhow::Error {
        let log = std::env::temp_dir().join(format!("parley-exit-{}-{code}", std::process::id()));
        std::fs::write(&log, format!("first\n{said}\n\n")).unwrap();
        let error = Exit::new("connection-0", Ok(ExitStatus::from_raw(code << 8)), log.clone()).into_error();
        std::fs::remove_file(log).unwrap();
        error
    }

    #[test]
    fn a_childs_own_line_and_exit_code_become_those_of_the_whole() {
        let wrong = error(64, "connection: PARLEY_LOG__FORMAT: expected text or json, got \"xml\"");
        assert_eq!(
            wrong.to_string(),
            "PARLEY_LOG__FORMAT: expected text or json, got \"xml\""
        );
        assert_eq!(lifecycle::exit_code(&wrong), 64);
        let away = error(69, "connection: PARLEY_NATS__URL: no answer from nats://h:1");
        assert_eq!(
            (away.to_string().as_str(), lifecycle::exit_code(&away)),
            ("PARLEY_NATS__URL: no answer from nats://h:1", 69)
        );
        let other = error(1, "oh no").to_string();
        assert!(
            other.starts_with("connection-0 ended with exit code 1 at its start, saying \"oh no\""),
            "{other}"
        );
    }
}
