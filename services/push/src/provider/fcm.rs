//! Google's push service, HTTP v1: one request per push, to one of several projects.
//!
//! Left out: topics and conditions, and what Google would forward to Apple or to browsers.

mod answer;
mod message;
#[cfg(test)]
mod tests;
mod token;

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use config::ConfigError;
use fcm_v1::auth::ServiceAccountKey;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, header};
use protocol::Timestamp;
use rustls::ClientConfig;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::http2::{Client, Outgoing, Target, Timeouts};
use super::{Answer, Provider, Push, Scope};
use answer::Judged;
use token::{TokenError, Tokens};

/// Google.
#[derive(Debug)]
pub(crate) struct Fcm {
    client: Client,
    projects: Vec<Project>,
    apps: Vec<String>,
}

#[derive(Debug)]
struct Project {
    path: PathAndQuery,
    tokens: Arc<Tokens>,
}

impl Fcm {
    /// `None` without credentials. Reads the credentials files; connects to nobody yet.
    pub(crate) fn new(config: &config::Fcm, tls: &Arc<ClientConfig>) -> anyhow::Result<Option<Self>> {
        if config.credentials.is_empty() {
            return Ok(None);
        }
        let target = Target::new("fcm", &config.url, tls.clone())
            .map_err(|it| ConfigError::new("PARLEY_PUSH__FCM__URL", format!("{:?}: {it}", config.url)))?;
        let mut fcm = Self {
            client: Client::new(target, Timeouts::default()),
            projects: Vec::new(),
            apps: Vec::new(),
        };
        for file in &config.credentials {
            let invalid =
                |problem: String| ConfigError::new("PARLEY_PUSH__FCM__CREDENTIALS", format!("{file}: {problem}"));
            let (id, key) = read(Path::new(file)).map_err(invalid)?;
            if fcm.apps.contains(&id) {
                return Err(invalid(format!("project {id:?} has another file already")).into());
            }
            let path = PathAndQuery::try_from(format!("/v1/projects/{id}/messages:send"))
                .map_err(|_| invalid("project_id is no name of a project".to_owned()))?;
            let tokens = Arc::new(Tokens::new(id.clone(), key));
            fcm.projects.push(Project { path, tokens });
            fcm.apps.push(id);
        }
        Ok(Some(fcm))
    }

    /// Projects that may be pushed to.
    pub(crate) fn apps(&self) -> &[String] {
        &self.apps
    }

    async fn attempt(&self, push: &Push, now: Timestamp) -> Answer {
        let project = self.apps.iter().position(|it| *it == push.address.app);
        let Some(project) = project.and_then(|it| self.projects.get(it)) else {
            return Answer::Refused {
                reason: "the project is not among the settings' credentials".to_owned(),
            };
        };
        let body = match message::message(push, now) {
            Ok(body) => Bytes::from(body),
            Err(error) => {
                return Answer::Refused {
                    reason: error.to_string(),
                };
            }
        };
        let mut token = match project.tokens.get(now).await {
            Ok(token) => token,
            Err(error) => return without_token(error),
        };
        let mut request = Outgoing {
            path: project.path.clone(),
            headers: HeaderMap::with_capacity(2),
            body,
        };
        let json = HeaderValue::from_static("application/json");
        request.headers.insert(header::CONTENT_TYPE, json);
        // Once more with a new token if Google does not take ours.
        for _ in 0..2 {
            request.headers.insert(header::AUTHORIZATION, token.clone());
            let reply = match self.client.send(&request).await {
                Ok(reply) => reply,
                Err(error) => return error.into(),
            };
            match answer::judge(&reply, now) {
                Judged::Answer(answer) => return answer,
                Judged::TokenRefused => match project.tokens.renewed(&token, now).await {
                    Ok(renewed) => token = renewed,
                    Err(error) => return without_token(error),
                },
            }
        }
        without_token(TokenError::Refused)
    }
}

impl Provider for Fcm {
    fn push<'a>(&'a self, push: &'a Push) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(self.attempt(push, Timestamp::now()))
    }
}

fn without_token(error: TokenError) -> Answer {
    let reason = error.to_string();
    match error {
        // Whether Google cannot be reached or does not know the account is not said: the devices are kept either way.
        TokenError::Failed => Answer::Later {
            reason,
            after: Some(token::PAUSE),
            scope: Scope::App,
        },
        TokenError::Refused => Answer::OurFault { reason, after: None },
    }
}

/// The project and the key of a credentials file. Its problems show nothing of the file.
fn read(file: &Path) -> Result<(String, ServiceAccountKey), String> {
    let text = std::fs::read(file).map_err(|it| it.to_string())?;
    let key: ServiceAccountKey = serde_json::from_slice(&text).map_err(|it| {
        format!(
            "not the JSON of a service account (line {}, column {})",
            it.line(),
            it.column()
        )
    })?;
    let id = key.project_id.clone().unwrap_or_default();
    let in_name = |it: u8| it.is_ascii_alphanumeric() || b"-.:_".contains(&it);
    if id.is_empty() || !id.bytes().all(in_name) {
        return Err("project_id is missing, or no name of a project".to_owned());
    }
    let rsa = PrivatePkcs8KeyDer::from_pem_slice(key.private_key.as_bytes())
        .ok()
        .and_then(|it| any_supported_type(&PrivateKeyDer::Pkcs8(it)).ok())
        .is_some_and(|it| it.algorithm() == rustls::SignatureAlgorithm::RSA);
    if !rsa {
        return Err("private_key is no PKCS #8 PEM of an RSA key".to_owned());
    }
    if key.token_uri.parse::<http::Uri>().is_err() {
        return Err("token_uri is not a URL".to_owned());
    }
    Ok((id, key))
}
