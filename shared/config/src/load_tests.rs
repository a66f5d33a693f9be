//! Tests of loading: each kind of mistake, and who beats whom.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Ack, Config, ConfigError, Format, settings};

fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn load(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::load_from(None, environment(pairs), |_| {})
}

fn message(pairs: &[(&str, &str)]) -> String {
    load(pairs).unwrap_err().to_string()
}

/// A configuration file that is gone with the value.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("parley-config-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn load(&self, pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::load_from(Some(self.0.as_path()), environment(pairs), |_| {})
    }

    fn message(&self) -> String {
        self.load(&[])
            .unwrap_err()
            .to_string()
            .replace(&self.0.display().to_string(), "FILE")
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn nothing_set_gives_the_defaults() {
    assert_eq!(load(&[]).unwrap(), Config::default());
}

#[test]
fn every_kind_of_value_is_read_from_the_environment() {
    let config = load(&[
        ("PARLEY_NATS__URL", "nats://a:1,nats://b:2"),
        ("PARLEY_NATS__CREDENTIALS", "/run/nats.creds"),
        ("PARLEY_NATS__CA_FILE", "/run/ca.pem"),
        ("PARLEY_STREAM__PARTITIONS", "16"),
        ("PARLEY_STREAM__MAX_AGE", "1h"),
        ("PARLEY_STREAM__ACK", "stored"),
        ("PARLEY_HTTP__LISTEN", "[::1]:0"),
        ("PARLEY_HTTP__QUERY_TOKEN", "true"),
        (
            "PARLEY_HTTP__ALLOWED_ORIGINS",
            "https://a.example, https://b.example:8443",
        ),
        ("PARLEY_LOG__FORMAT", "text"),
        ("PARLEY_CONNECTION_SERVICE_HOST", "10.0.0.1"),
        ("PATH", "/bin"),
    ])
    .unwrap();
    assert_eq!(config.nats.url, "nats://a:1,nats://b:2");
    assert_eq!(config.nats.credentials, Some("/run/nats.creds".into()));
    assert_eq!(config.nats.ca_file, Some("/run/ca.pem".into()));
    assert_eq!(config.stream.partitions, 16);
    assert_eq!(config.stream.max_age, Duration::from_secs(3600));
    assert_eq!(config.stream.ack, Ack::Stored);
    assert_eq!(config.http.listen, "[::1]:0".parse().unwrap());
    assert!(config.http.query_token);
    assert_eq!(
        config.http.allowed_origins,
        ["https://a.example", "https://b.example:8443"]
    );
    assert_eq!(config.log.format, Format::Text);
}

#[test]
fn environment_beats_file_beats_default() {
    let file = TempFile::new(
        "precedence",
        "[stream]\npartitions = 8\nreplicas = 3\n[http]\nallowed_origins = [\"https://a.example\"]\n",
    );
    let pairs = environment(&[("PARLEY_STREAM__REPLICAS", "5")]);
    let config = Config::load_from(Some(file.0.as_path()), pairs, |config| {
        config.stream.partitions = 2;
        config.stream.replicas = 2;
        config.connection.memory_mib = 7;
        config.auth.hs256_secret = Some("a default that a program sets, 32 bytes".to_owned());
    })
    .unwrap();
    assert_eq!(config.stream.replicas, 5);
    assert_eq!(config.stream.partitions, 8);
    assert_eq!(config.connection.memory_mib, 7);
    assert_eq!(config.http.allowed_origins, ["https://a.example"]);
    assert_eq!(
        config.auth.hs256_secret.as_deref(),
        Some("a default that a program sets, 32 bytes")
    );
}

#[test]
fn a_later_file_beats_an_earlier_one_key_by_key() {
    let first = TempFile::new(
        "first",
        "[nats]\nurl = \"nats://a:1\"\nuser = \"a\"\npassword = \"one\"\n",
    );
    let second = TempFile::new("second", "[nats]\npassword = \"two\"\n");
    let load = |files: [&TempFile; 2]| Config::load_from(files.map(|file| file.0.as_path()), [], |_| {});
    let nats = load([&first, &second]).unwrap().nats;
    assert_eq!(
        (nats.url.as_str(), nats.password.as_deref()),
        ("nats://a:1", Some("two"))
    );
    assert_eq!(load([&second, &first]).unwrap().nats.password.as_deref(), Some("one"));
}

#[test]
fn the_file_that_a_wrong_value_is_from_is_named() {
    let right = TempFile::new("right", "[stream]\npartitions = 8\n");
    for (name, text) in [
        ("range", "[stream]\npartitions = 1000\n"),
        ("type", "[stream]\npartitions = \"x\"\n"),
    ] {
        let wrong = TempFile::new(name, text);
        let files = [right.0.as_path(), wrong.0.as_path()];
        let error = Config::load_from(files, [], |_| {}).unwrap_err().to_string();
        assert!(error.ends_with(&format!(" (in {})", wrong.0.display())), "{error}");
        // The environment's value is the wrong one then.
        let environment = environment(&[("PARLEY_STREAM__PARTITIONS", "0")]);
        let error = Config::load_from(files, environment, |_| {}).unwrap_err().to_string();
        assert!(error.ends_with("got 0"), "{error}");
    }
}

#[test]
fn a_nats_user_and_its_password_come_together() {
    let (user, password) = (("PARLEY_NATS__USER", "me"), ("PARLEY_NATS__PASSWORD", "hunter2"));
    let nats = load(&[user, password]).unwrap().nats;
    assert_eq!(
        (nats.user.as_deref(), nats.password.as_deref()),
        (Some("me"), Some("hunter2"))
    );
    assert!(message(&[user]).starts_with("PARLEY_NATS__PASSWORD: not set"));
    assert!(message(&[password]).starts_with("PARLEY_NATS__USER: not set"));
    let both = message(&[user, password, ("PARLEY_NATS__CREDENTIALS", "/run/nats.creds")]);
    assert!(
        both.starts_with("PARLEY_NATS__CREDENTIALS: set together with"),
        "{both}"
    );
}

#[test]
fn an_empty_variable_is_not_set() {
    assert_eq!(
        load(&[("PARLEY_NATS__CREDENTIALS", ""), ("PARLEY_AUTH__HS256_SECRET", "")]).unwrap(),
        Config::default()
    );
}

#[test]
fn a_value_of_the_wrong_type_names_the_variable_and_what_is_expected() {
    for (name, value, expected) in [
        (
            "PARLEY_STREAM__PARTITIONS",
            "many",
            r#"expected a number from 1 to 256, got "many""#,
        ),
        (
            "PARLEY_STREAM__PARTITIONS",
            "70000",
            r#"expected a number from 1 to 256, got "70000""#,
        ),
        (
            "PARLEY_STREAM__PARTITIONS",
            "-1",
            r#"expected a number from 1 to 256, got "-1""#,
        ),
        (
            "PARLEY_STREAM__PARTITIONS",
            "257",
            "expected a number from 1 to 256, got 257",
        ),
        ("PARLEY_STREAM__REPLICAS", "0", "expected a number from 1 to 5, got 0"),
        (
            "PARLEY_STREAM__DUPLICATE_WINDOW",
            "0s",
            "expected a duration above zero such as 2m, got 0",
        ),
        (
            "PARLEY_STREAM__MAX_AGE",
            "7",
            r#"expected a duration such as 7d, got "7""#,
        ),
        (
            "PARLEY_STREAM__ACK",
            "maybe",
            r#"expected logged or stored, got "maybe""#,
        ),
        (
            "PARLEY_HTTP__LISTEN",
            "localhost",
            r#"expected an address and port such as 0.0.0.0:8080, got "localhost""#,
        ),
        (
            "PARLEY_HTTP__QUERY_TOKEN",
            "perhaps",
            r#"expected true or false, got "perhaps""#,
        ),
        (
            "PARLEY_HTTP__ALLOWED_ORIGINS",
            "https://a.example/",
            r#"expected origins such as https://chat.example, separated by commas, got "https://a.example/""#,
        ),
        (
            "PARLEY_CONNECTION__HEARTBEAT_MS",
            "99",
            "expected milliseconds from 100 to 600000, got 99",
        ),
        ("PARLEY_LOG__FORMAT", "xml", r#"expected text or json, got "xml""#),
    ] {
        assert_eq!(message(&[(name, value)]), format!("{name}: {expected}"));
    }
}

#[test]
fn a_maximum_age_below_the_window_is_refused() {
    let message = message(&[("PARLEY_STREAM__MAX_AGE", "1m")]);
    assert!(
        message.starts_with("PARLEY_STREAM__MAX_AGE: 60s is below the 120s"),
        "{message}"
    );
}

#[test]
fn an_unknown_variable_is_an_error_that_lists_the_known_ones() {
    assert_eq!(
        message(&[("PARLEY_STREAM__PARTITONS", "hunter2")]),
        "PARLEY_STREAM__PARTITONS: unknown setting; section stream has partitions, replicas, duplicate_window, \
         max_age, ack"
    );
    assert_eq!(
        message(&[("PARLEY_FOO__BAR", "hunter2")]),
        "PARLEY_FOO__BAR: unknown setting; the sections are nats, mongodb, stream, http, connection, presence, push, auth, admin, log"
    );
}

#[test]
fn an_unknown_key_of_the_file_is_an_error_that_names_the_file() {
    assert_eq!(
        TempFile::new("unknown", "[admin]\nport = 1\n").message(),
        "PARLEY_ADMIN__PORT: unknown setting; section admin has listen (in FILE)"
    );
    assert_eq!(
        TempFile::new("scalar", "stream = 4\n").message(),
        "PARLEY_STREAM: expected a table [stream] in FILE"
    );
}

#[test]
fn a_broken_or_missing_file_is_named_without_its_content() {
    let message = TempFile::new("broken", "[auth]\nhs256_secret = \"hunter2\n").message();
    assert_eq!(message, "FILE: TOML parse error at line 2, column 24");
    let missing = Config::load_from(Some(Path::new("/no/such/parley.toml")), [], |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("/no/such/parley.toml: cannot read the configuration file"),
        "{missing}"
    );
}

#[test]
fn a_secret_is_in_no_error_and_in_no_debug_output() {
    for (name, value) in [
        ("PARLEY_AUTH__HS256_SECRET", "hunter2"),
        ("PARLEY_NATS__URL", "http://me:hunter2@host"),
        ("PARLEY_MONGODB__URI", "me:hunter2@host"),
        ("PARLEY_AUTH__HS256_SECERT", "hunter2"),
    ] {
        let message = message(&[(name, value)]);
        assert!(
            message.starts_with(&format!("{name}: ")) && !message.contains("hunter2"),
            "{message}"
        );
    }
    let typed = TempFile::new("secret", "[auth]\nhs256_secret = [\"hunter2\"]\n").message();
    assert!(
        typed.starts_with("PARLEY_AUTH__HS256_SECRET: expected") && !typed.contains("hunter2"),
        "{typed}"
    );
    let config = load(&[
        ("PARLEY_AUTH__HS256_SECRET", "hunter2hunter2hunter2hunter2hunter2"),
        ("PARLEY_NATS__URL", "nats://me:hunter2@host"),
        ("PARLEY_NATS__USER", "me"),
        ("PARLEY_NATS__PASSWORD", "hunter2"),
        ("PARLEY_MONGODB__URI", "mongodb://me:hunter2@host"),
    ])
    .unwrap();
    assert!(!format!("{config:?} {:?}", config.auth.secret()).contains("hunter2"));
}

#[test]
fn the_secret_comes_from_the_file_where_there_is_one() {
    let file = TempFile::new("key", "0123456789012345678901234567890123456789\n");
    let inline = ("PARLEY_AUTH__HS256_SECRET", "inline inline inline inline inline inline");
    let path = file.0.display().to_string();
    let config = load(&[inline, ("PARLEY_AUTH__HS256_SECRET_FILE", &path)]).unwrap();
    assert_eq!(
        config.auth.secret().unwrap().expose(),
        b"0123456789012345678901234567890123456789"
    );
    assert_eq!(
        load(&[inline]).unwrap().auth.secret().unwrap().expose(),
        inline.1.as_bytes()
    );
    let none = load(&[]).unwrap().auth.secret().unwrap_err().to_string();
    assert!(none.starts_with("PARLEY_AUTH__HS256_SECRET: not set"), "{none}");
    let short = TempFile::new("short", "short\n");
    let path = short.0.display().to_string();
    let error = load(&[("PARLEY_AUTH__HS256_SECRET_FILE", &path)])
        .unwrap()
        .auth
        .secret()
        .unwrap_err();
    assert_eq!(error.setting(), "PARLEY_AUTH__HS256_SECRET_FILE");
}

fn keys(key: &str, value: &config_rs::Value) -> Vec<String> {
    match &value.kind {
        config_rs::ValueKind::Table(table) => table
            .iter()
            .flat_map(|(inner, value)| keys(&format!("{key}.{inner}"), value))
            .collect(),
        _ => vec![key.to_owned()],
    }
}

#[test]
fn the_table_of_settings_has_every_field_and_no_other() {
    let defaults = config_rs::Config::try_from(&Config::default()).unwrap();
    let tables: config_rs::Map<String, config_rs::Value> = defaults.try_deserialize().unwrap();
    let mut fields: Vec<_> = tables
        .iter()
        .flat_map(|(section, value)| keys(section, value))
        .chain(["auth.hs256_secret".to_owned(), "nats.password".to_owned()])
        .collect();
    fields.sort();
    let mut table: Vec<_> = settings().map(|setting| setting.key.to_owned()).collect();
    table.sort();
    assert_eq!(table, fields);
}

#[test]
fn a_provider_with_a_key_needs_what_belongs_to_it() {
    let key = ("PARLEY_PUSH__APNS__KEY_FILE", "/run/key.p8");
    assert_eq!(
        message(&[key]),
        "PARLEY_PUSH__APNS__KEY_ID: expected the id of the key, needed with push.apns.key_file, got nothing"
    );
    let whole = [
        key,
        ("PARLEY_PUSH__APNS__KEY_ID", "K"),
        ("PARLEY_PUSH__APNS__TEAM_ID", "T"),
        ("PARLEY_PUSH__APNS__APPS", "org.example.a, org.example.b"),
    ];
    assert_eq!(load(&whole).unwrap().push.apns.apps, ["org.example.a", "org.example.b"]);
    assert!(message(&whole[..3]).starts_with("PARLEY_PUSH__APNS__APPS: expected bundle ids"));
    assert!(message(&[("PARLEY_PUSH__WEBPUSH__KEY_FILE", "/run/k")]).starts_with("PARLEY_PUSH__WEBPUSH__SUBJECT:"));
    let url = message(&[("PARLEY_PUSH__FCM__URL", "http://fcm.example")]);
    assert!(
        url.starts_with("PARLEY_PUSH__FCM__URL: expected a URL such as https://"),
        "{url}"
    );
}
