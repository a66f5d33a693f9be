//! Where the server is, and with what token this user comes there.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use config::{Auth, Config, Secret};
use protocol::claims::Audience;
use protocol::{Claims, UserId};

use crate::{key, token};

/// Of a token that this client makes for itself. It makes a fresh one for each use.
const TOKEN_TTL: Duration = Duration::from_secs(12 * 3600);

/// A server's public address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// Host, port and path, without a slash at the end.
    rest: String,
}

impl FromStr for Server {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = match text.split_once("://") {
            Some(("http" | "ws", rest)) => rest,
            Some(("https" | "wss", _)) => {
                return Err(
                    "this client does not speak TLS: go through a tunnel to the server, such as `kubectl \
                            port-forward` or `ssh -L`, and name its http:// address"
                        .into(),
                );
            }
            Some(_) => return Err(format!("expected http://HOST:PORT, got {text:?}")),
            None => text,
        };
        let rest = rest.trim_end_matches('/');
        let url = reqwest::Url::parse(&format!("http://{rest}")).map_err(|error| error.to_string())?;
        if !url.username().is_empty() || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("expected http://HOST:PORT, got {text:?}"));
        }
        Ok(Self { rest: rest.to_owned() })
    }
}

impl Server {
    /// The address of an HTTP path that begins with a slash.
    pub(super) fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.rest)
    }

    /// The address of the socket.
    pub(super) fn socket(&self) -> String {
        format!("ws://{}/v1/ws", self.rest)
    }
}

/// Where tokens come from.
#[derive(Clone)]
pub(super) enum Tokens {
    /// Given by the user.
    Given(String),
    /// Made with a deployment's key, as `parley token` does.
    Made {
        /// Whose.
        user: UserId,
        /// Issuer and audience.
        auth: Box<Auth>,
        /// The key.
        secret: Secret,
        /// The deployment's folder, to be named in an error.
        data: PathBuf,
    },
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Given(_) => "Given",
            Self::Made { .. } => "Made",
        })
    }
}

impl Tokens {
    /// Tokens made with the key of the deployment in `data`.
    ///
    /// # Errors
    /// There is no key, or it is unusable.
    pub(super) fn make(user: UserId, data: &Path) -> anyhow::Result<Self> {
        let auth = Config::load(None, |_| {})?.auth;
        let is_own_key = auth.hs256_secret.is_none() && auth.hs256_secret_file.is_none();
        if is_own_key && !data.join("auth.key").exists() {
            bail!(
                "no deployment in {}: start one with `parley up`, name its folder with --data, or give a --token",
                data.display()
            );
        }
        let secret = key::secret(auth.clone(), data)?;
        Ok(Self::Made {
            user,
            auth: Box::new(auth),
            secret,
            data: data.to_owned(),
        })
    }

    /// A token for one use.
    ///
    /// # Errors
    /// It cannot be signed.
    pub(super) fn token(&self) -> anyhow::Result<String> {
        let (user, auth, secret) = match self {
            Self::Given(token) => return Ok(token.clone()),
            Self::Made { user, auth, secret, .. } => (user, auth, secret),
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.context("this machine's clock is before 1970")?;
        let claims = Claims {
            sub: user.as_str().to_owned(),
            exp: (now + TOKEN_TTL).as_secs(),
            iss: auth.issuer.clone(),
            aud: Audience::One(auth.audience.clone()),
            device_id: None,
            name: None,
        };
        token::sign(&claims, secret)
    }

    /// What it means that the server refused a token, in its words `said`, and what to do.
    pub(super) fn refused(&self, said: &str) -> String {
        match self {
            Self::Given(_) => format!("the server does not accept the token: {said}"),
            Self::Made { data, .. } => format!(
                "the server does not accept a token of the deployment in {}: name the folder of the server's own with \
                 --data, or give a --token",
                data.display()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_where_http_is() {
        for text in [
            "http://127.0.0.1:8080",
            "http://127.0.0.1:8080/",
            "127.0.0.1:8080",
            "ws://127.0.0.1:8080",
        ] {
            let server: Server = text.parse().unwrap();
            assert_eq!(server.socket(), "ws://127.0.0.1:8080/v1/ws");
            assert_eq!(
                server.http("/v1/conversations"),
                "http://127.0.0.1:8080/v1/conversations"
            );
        }
        assert_eq!(
            "http://host/chat/".parse::<Server>().unwrap().socket(),
            "ws://host/chat/v1/ws"
        );
    }

    #[test]
    fn what_cannot_be_reached_is_said_at_once() {
        assert!("https://chat.example".parse::<Server>().unwrap_err().contains("TLS"));
        for text in ["ftp://x", "http://", "http://u:p@host", "http://host?x=1", "http://a b"] {
            assert!(text.parse::<Server>().is_err(), "{text}");
        }
    }

    #[test]
    fn without_a_deployment_nothing_is_made() {
        let folder = std::env::temp_dir().join(format!("parley-no-deployment-{}", std::process::id()));
        let error = Tokens::make(UserId::parse("ann").unwrap(), &folder)
            .unwrap_err()
            .to_string();
        assert!(error.contains("parley up"), "{error}");
        assert!(!folder.exists());
    }
}
