//! What a failed process says last: one line on stderr, and an exit code that a script can act on.

use config::{ConfigError, EXIT_CONFIG, EXIT_UNAVAILABLE, Unavailable};

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
