//! What a failed process says last: one line on stderr, and an exit code that a script can act on.

use config::{ConfigError, EXIT_CONFIG};

/// Exit code of a process whose servers did not answer in time (`EX_UNAVAILABLE`).
pub const EXIT_UNAVAILABLE: u8 = 69;

/// A server that did not answer within the configured wait. Its text is one line that begins with the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct Unavailable {
    setting: String,
    problem: String,
}

impl Unavailable {
    /// For example of `PARLEY_NATS__URL`: `no NATS server answered within 30 s at nats://…`. The problem must hold no
    /// secret: pass addresses through [`config::without_passwords`].
    pub fn new(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            setting: setting.into(),
            problem: problem.into(),
        }
    }
}

/// The exit code for an error: 64 if a setting is wrong, 69 if a server is away, else 1.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<ConfigError>().is_some() || error.chain().any(|cause| cause.is::<ConfigError>()) {
        EXIT_CONFIG
    } else if error.downcast_ref::<Unavailable>().is_some() || error.chain().any(|cause| cause.is::<Unavailable>()) {
        EXIT_UNAVAILABLE
    } else {
        1
    }
}

/// Prints the error as one line on stderr and gives the exit code. For wrong settings and absent servers the line is
/// theirs alone: what the program was about to do with them does not help whoever has to mend it.
pub fn report(name: &str, error: &anyhow::Error) -> u8 {
    let line = if let Some(config) = error.chain().find_map(|cause| cause.downcast_ref::<ConfigError>()) {
        config.to_string()
    } else if let Some(away) = error.chain().find_map(|cause| cause.downcast_ref::<Unavailable>()) {
        away.to_string()
    } else {
        format!("{error:#}")
    };
    eprintln!("{name}: {}", line.lines().collect::<Vec<_>>().join(" "));
    exit_code(error)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_code_tells_a_wrong_setting_from_an_absent_server_from_the_rest() {
        let wrong: Result<(), _> = Err(ConfigError::new("PARLEY_X__Y", "no"));
        let away: Result<(), _> = Err(Unavailable::new("PARLEY_NATS__URL", "no answer"));
        assert_eq!(exit_code(&wrong.clone().unwrap_err().into()), 64);
        assert_eq!(exit_code(&wrong.context("starting").unwrap_err()), 64);
        assert_eq!(exit_code(&away.context("starting").context("more").unwrap_err()), 69);
        assert_eq!(exit_code(&anyhow::anyhow!("else")), 1);
    }
}
