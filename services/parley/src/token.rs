//! `parley token`: a development token. A real deployment has an issuer of its own; this stands in for it.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::Args;
use config::{Auth, Config, Secret};
use jsonwebtoken::{EncodingKey, Header};
use protocol::claims::Audience;
use protocol::{Claims, UserId, limits};

use crate::{data_dir, key};

/// What `parley token` takes.
#[derive(Debug, Args)]
#[command(
    after_help = "Signs with PARLEY_AUTH__HS256_SECRET or PARLEY_AUTH__HS256_SECRET_FILE if one is set, else with \
                        the key in DIR/auth.key, which is made if it is not there."
)]
pub struct Options {
    /// The user's id: 1 to 128 bytes
    #[arg(long, value_name = "ID", value_parser = user_id)]
    user: String,
    /// The only device that may use the token
    #[arg(long, value_name = "ID", value_parser = device_id)]
    device: Option<String>,
    /// A name to show
    #[arg(long)]
    name: Option<String>,
    /// How long it is good: s, m, h or d
    #[arg(long, default_value = "1h", value_parser = config::parse_duration)]
    ttl: Duration,
    /// The deployment's folder
    #[arg(long, value_name = "DIR", default_value = data_dir::DEFAULT)]
    data: PathBuf,
}

fn user_id(text: &str) -> Result<String, String> {
    match UserId::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(format!(
            "a user id has 1 to {} bytes, this one has {}",
            limits::ID_BYTES,
            text.len()
        )),
    }
}

fn device_id(text: &str) -> Result<String, String> {
    if (1..=limits::ID_BYTES).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "a device id has 1 to {} bytes, this one has {}",
        limits::ID_BYTES,
        text.len()
    ))
}

/// Prints the token.
///
/// # Errors
/// A wrong `PARLEY_AUTH__…` setting, or a key that cannot be read or made.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let auth = Config::load(None, |_| {})?.auth;
    let secret = key::secret(auth.clone(), &options.data)?;
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("this machine's clock is before 1970")?;
    let claims = claims(options, &auth, now);
    writeln!(std::io::stdout(), "{}", sign(&claims, &secret)?).context("cannot print the token")
}

fn claims(options: &Options, auth: &Auth, now: Duration) -> Claims {
    Claims {
        sub: options.user.clone(),
        exp: now.as_secs().saturating_add(options.ttl.as_secs()),
        iss: auth.issuer.clone(),
        aud: Audience::One(auth.audience.clone()),
        device_id: options.device.clone(),
        name: options.name.clone(),
    }
}

/// Signs claims with HS256.
///
/// # Errors
/// None that a usable secret allows.
pub fn sign(claims: &Claims, secret: &Secret) -> anyhow::Result<String> {
    let key = EncodingKey::from_secret(secret.expose());
    jsonwebtoken::encode(&Header::default(), claims, &key).context("cannot sign the token")
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &[&str]) -> Result<Options, String> {
        let line = std::iter::once("token").chain(line.iter().copied());
        Line::try_parse_from(line)
            .map(|line| line.options)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_token_says_what_was_asked_for_and_verifies() {
        let options = options(&["--user", "ann", "--device", "phone", "--name", "Ann", "--ttl", "2m"]).unwrap();
        let auth = Auth {
            hs256_secret: Some("k".repeat(32)),
            ..Auth::default()
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let token = sign(&claims(&options, &auth, now), &auth.secret().unwrap()).unwrap();
        let mut validation = Validation::new(jsonwebtoken::Algorithm::HS256);
        validation.set_audience(&["parley"]);
        validation.set_issuer(&["parley-dev"]);
        let key = DecodingKey::from_secret("k".repeat(32).as_bytes());
        let read = jsonwebtoken::decode::<Claims>(&token, &key, &validation)
            .unwrap()
            .claims;
        assert_eq!(
            (read.sub.as_str(), read.device_id.as_deref(), read.name.as_deref()),
            ("ann", Some("phone"), Some("Ann"))
        );
        assert_eq!(read.exp, now.as_secs() + 120);
    }

    #[test]
    fn an_empty_or_long_user_id_and_a_ttl_without_unit_are_refused() {
        let long = "é".repeat(65);
        assert!(
            options(&["--user", ""])
                .unwrap_err()
                .contains("a user id has 1 to 128 bytes, this one has 0")
        );
        assert!(options(&["--user", &long]).unwrap_err().contains("this one has 130"));
        assert!(
            options(&["--user", "a", "--device", ""])
                .unwrap_err()
                .contains("a device id has 1 to 128 bytes")
        );
        assert!(
            options(&["--user", "a", "--ttl", "5"])
                .unwrap_err()
                .contains("a duration such as")
        );
        assert_eq!(options(&["--user", "a"]).unwrap().ttl, Duration::from_secs(3600));
    }
}
