//! What is wrong with a setting, or with the server that it names, in one line.

/// A setting that is wrong. Its text is one line, `PARLEY_STREAM__PARTITIONS: expected …, got …`, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct ConfigError {
    setting: String,
    problem: String,
}

impl ConfigError {
    /// An error of `setting`, written as its environment variable (or the path of a file). `problem` must hold no
    /// secret; line breaks in it become spaces.
    pub fn new(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            setting: one_line(setting.into()),
            problem: one_line(problem.into()),
        }
    }

    /// The same, saying also in which file the value stands.
    pub(crate) fn in_file(self, file: &str) -> Self {
        Self::new(self.setting, format!("{} (in {file})", self.problem))
    }

    /// The setting as an environment variable, such as `PARLEY_STREAM__MAX_AGE`.
    pub fn setting(&self) -> &str {
        &self.setting
    }
}

/// A server that did not answer within the configured wait. Its text is one line that begins with the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct Unavailable {
    setting: String,
    problem: String,
}

impl Unavailable {
    /// For example of `PARLEY_NATS__URL`: `no NATS server answered within 30 s at nats://…`. The problem must hold no
    /// secret: pass addresses through [`crate::without_passwords`].
    pub fn new(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            setting: setting.into(),
            problem: problem.into(),
        }
    }
}

fn one_line(text: String) -> String {
    if text.contains(['\n', '\r']) {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    } else {
        text
    }
}
