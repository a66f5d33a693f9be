//! Who we are to NATS and which server we believe: user, credentials, trusted roots, and what a refusal of either says.

use std::error::Error;
use std::io::BufReader;
use std::path::Path;

use async_nats::rustls;
use async_nats::rustls::pki_types::CertificateDer;
use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::{ConnectErrorKind, ConnectOptions, ServerAddr};
use config::{ConfigError, without_passwords};

/// Puts the settings into the client's options.
///
/// # Errors
/// A file that cannot be read or holds no certificate.
pub(crate) async fn apply(config: &config::Nats, mut options: ConnectOptions) -> Result<ConnectOptions, ConfigError> {
    if let Some(path) = &config.credentials {
        let loaded = options.credentials_file(path).await;
        options = loaded.map_err(|error| ConfigError::new("PARLEY_NATS__CREDENTIALS", error.to_string()))?;
    }
    if let Some((user, password)) = user(config) {
        options = options.user_and_password(user, password);
    }
    if let Some(path) = &config.ca_file {
        check_roots(path)?;
        // Whoever says what to trust does not want to be talked out of encryption by a server that offers none.
        options = options.add_root_certificates(path.clone()).require_tls(true);
    }
    Ok(options)
}

/// Name and password: of the first address that has them, else of the settings. The client looks at no address for them.
fn user(config: &config::Nats) -> Option<(String, String)> {
    let in_url = config.url.split(',').find_map(|part| {
        let address: ServerAddr = part.trim().parse().ok()?;
        let name = address.username()?;
        Some((decode(name), decode(address.password().unwrap_or_default())))
    });
    in_url.or_else(|| Some((config.user.clone()?, config.password.clone()?)))
}

/// Undoes the percent encoding of a URL's part. What is no such encoding stays as it is.
fn decode(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn check_roots(path: &Path) -> Result<(), ConfigError> {
    let wrong = |problem: String| ConfigError::new("PARLEY_NATS__CA_FILE", format!("{}: {problem}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let mut certificates = 0;
    for certificate in CertificateDer::pem_reader_iter(BufReader::new(file)) {
        certificate.map_err(|error| wrong(format!("not a usable PEM file: {error}")))?;
        certificates += 1;
    }
    match certificates {
        0 => Err(wrong("holds no certificate".to_owned())),
        _ => Ok(()),
    }
}

/// The setting that is wrong if a connection failed for this; `None` where the server may just be away.
pub(crate) fn refusal(config: &config::Nats, failure: &async_nats::ConnectError) -> Option<ConfigError> {
    let servers = without_passwords(&config.url);
    if failure.kind() == ConnectErrorKind::AuthorizationViolation {
        let (setting, problem) = match (user(config), &config.credentials) {
            (None, None) => ("PARLEY_NATS__USER", "wants a user and a password"),
            (None, Some(_)) => ("PARLEY_NATS__CREDENTIALS", "refuses these credentials"),
            (Some(_), _) if config.user.is_some() => ("PARLEY_NATS__PASSWORD", "refuses this user with this password"),
            (Some(_), _) => ("PARLEY_NATS__URL", "refuses the user and password in it"),
        };
        return Some(ConfigError::new(
            setting,
            format!("the NATS server at {servers} {problem}"),
        ));
    }
    let rustls::Error::InvalidCertificate(problem) = tls_error(failure)? else {
        return None;
    };
    let advice = if config.ca_file.is_some() {
        "is not signed by what stands in this file, or not made for this name"
    } else {
        "is not trusted here: name the file of the root that signed it"
    };
    let problem = format!("the certificate of the NATS server at {servers} {advice} ({problem})");
    Some(ConfigError::new("PARLEY_NATS__CA_FILE", problem))
}

/// The error of TLS inside: tokio-rustls hides it in an I/O error, which shows its own source but not itself.
fn tls_error(failure: &async_nats::ConnectError) -> Option<&rustls::Error> {
    let mut cause = failure.source();
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref()) {
            return Some(tls);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> config::Nats {
        config::Nats {
            url: url.to_owned(),
            user: Some("set".to_owned()),
            password: Some("apart".to_owned()),
            ..config::Nats::default()
        }
    }

    #[test]
    fn the_user_of_an_address_beats_the_settings() {
        let pair = |url| user(&config(url)).unwrap();
        assert_eq!(pair("nats://a:1,nats://b:2"), ("set".to_owned(), "apart".to_owned()));
        assert_eq!(
            pair("nats://a:1, tls://me:p%40ss%2c@b:2"),
            ("me".to_owned(), "p@ss,".to_owned())
        );
        assert_eq!(user(&config::Nats::default()), None);
    }

    #[test]
    fn what_is_no_percent_encoding_stays() {
        for (text, decoded) in [("a%20b", "a b"), ("100%", "100%"), ("%zz%4", "%zz%4"), ("%C3%A4", "ä")] {
            assert_eq!(decode(text), decoded, "{text}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_a_wrong_setting() {
        let file = std::env::temp_dir().join(format!("parley-roots-{}", std::process::id()));
        let problem = || check_roots(&file).unwrap_err().to_string();
        assert!(problem().contains("cannot be read"), "{}", problem());
        std::fs::write(&file, "nothing of the kind").unwrap();
        assert!(problem().contains("holds no certificate"), "{}", problem());
        assert!(problem().starts_with("PARLEY_NATS__CA_FILE: "), "{}", problem());
        std::fs::remove_file(file).unwrap();
    }
}
