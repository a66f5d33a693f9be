//! Layers environment over file over defaults, and turns whatever is wrong into one line about one setting.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use config_rs::{ConfigError as Cause, File, FileFormat, Source, Value, ValueKind};

use crate::setting::{settings, variable};
use crate::{Config, ConfigError, Setting};

impl Config {
    /// Reads `files` (TOML) and this process's `PARLEY_…` environment over the built-in defaults as changed by
    /// `defaults`, and validates the result. A later file beats an earlier one, the environment beats all. An empty
    /// variable counts as not set.
    ///
    /// # Errors
    /// One line naming the first setting that is unknown, unusable or contradictory, and its file if it is from one.
    pub fn load<'a>(
        files: impl IntoIterator<Item = &'a Path>,
        defaults: impl FnOnce(&mut Self),
    ) -> Result<Self, ConfigError> {
        Self::load_from(files, std::env::vars_os(), defaults)
    }

    /// [`Config::load`] with the environment given.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_from<'a>(
        files: impl IntoIterator<Item = &'a Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        defaults: impl FnOnce(&mut Self),
    ) -> Result<Self, ConfigError> {
        let mut base = Self::default();
        defaults(&mut base);
        let layer = config_rs::Config::try_from(&base).map_err(|error| internal(&error))?;
        let mut builder = config_rs::Config::builder().add_source(layer);
        let mut origins = Origins::default();
        for path in files {
            builder = builder.add_source(read(path, &mut origins)?);
        }
        for (name, value) in environment {
            if let Some((setting, value)) = variable_of(&name, &value)? {
                origins.0.remove(&setting.variable());
                builder = builder
                    .set_override(setting.key, value)
                    .map_err(|error| internal(&error))?;
            }
        }
        let merged = builder.build().map_err(|error| internal(&error))?;
        let mut config: Self = merged
            .clone()
            .try_deserialize()
            .map_err(|error| origins.name(explain(&error, &merged)))?;
        // The settings that are never serialised, and so not part of the layer above.
        config.auth.hs256_secret = config.auth.hs256_secret.or(base.auth.hs256_secret);
        config.nats.password = config.nats.password.or(base.nats.password);
        config.validate().map_err(|error| origins.name(error))?;
        Ok(config)
    }
}

/// Which file a setting's value is from, by its variable; not the ones that the environment sets.
#[derive(Debug, Default)]
struct Origins(HashMap<String, String>);

impl Origins {
    fn name(&self, error: ConfigError) -> ConfigError {
        match self.0.get(error.setting()) {
            Some(file) => error.in_file(file),
            None => error,
        }
    }
}

/// The setting that a variable sets; `None` for a variable that is not ours. A single underscore after `PARLEY_` is
/// not ours either: Kubernetes makes such variables for every service (`PARLEY_CONNECTION_SERVICE_HOST`).
fn variable_of(name: &OsString, value: &OsString) -> Result<Option<(&'static Setting, String)>, ConfigError> {
    let Some(name) = name
        .to_str()
        .filter(|name| name.starts_with("PARLEY_") && name.contains("__"))
    else {
        return Ok(None);
    };
    let Some(setting) = settings().find(|setting| setting.variable() == name) else {
        let section = name["PARLEY_".len()..]
            .split("__")
            .next()
            .unwrap_or_default()
            .to_lowercase();
        return Err(ConfigError::new(name, unknown(&section)));
    };
    match value.to_str() {
        Some("") => Ok(None),
        Some(value) => Ok(Some((setting, value.to_owned()))),
        None => Err(ConfigError::new(
            name,
            format!("expected {}, got bytes that are not UTF-8", setting.expected),
        )),
    }
}

/// The file as a source, once all its keys are known to be ours.
fn read(path: &Path, origins: &mut Origins) -> Result<impl Source + Send + Sync + 'static, ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::new(name.as_str(), format!("cannot read the configuration file: {error}")))?;
    let source = File::from_str(&text, FileFormat::Toml);
    // Only the first line tells the place; the others quote the file, and may quote a secret.
    let table = source.collect().map_err(|error| {
        ConfigError::new(
            name.as_str(),
            error.to_string().lines().next().unwrap_or("not TOML").to_owned(),
        )
    })?;
    for (key, value) in table {
        check_keys(&key, &value, &name, origins)?;
    }
    Ok(source)
}

fn check_keys(key: &str, value: &Value, file: &str, origins: &mut Origins) -> Result<(), ConfigError> {
    if settings().any(|setting| setting.key == key) {
        origins.0.insert(variable(key), file.to_owned());
        return Ok(());
    }
    let is_section = settings().any(|setting| setting.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')));
    match &value.kind {
        ValueKind::Table(table) if is_section => table
            .iter()
            .try_for_each(|(inner, value)| check_keys(&format!("{key}.{inner}"), value, file, origins)),
        _ if is_section => Err(ConfigError::new(
            variable(key),
            format!("expected a table [{key}] in {file}"),
        )),
        _ => {
            let section = key.split('.').next().unwrap_or_default();
            Err(ConfigError::new(
                variable(key),
                format!("{} (in {file})", unknown(section)),
            ))
        }
    }
}

/// What to say of a key that does not exist: the ones that do.
fn unknown(section: &str) -> String {
    let inside = settings().filter_map(|setting| setting.key.strip_prefix(section)?.strip_prefix('.'));
    let mut names: Vec<_> = inside.collect();
    if names.is_empty() {
        names = settings().filter_map(|setting| setting.key.split('.').next()).collect();
        names.dedup();
        return format!("unknown setting; the sections are {}", names.join(", "));
    }
    format!("unknown setting; section {section} has {}", names.join(", "))
}

/// The line for a value that is not of its type.
fn explain(cause: &Cause, merged: &config_rs::Config) -> ConfigError {
    let key = match cause {
        Cause::Type { key: Some(key), .. } | Cause::At { key: Some(key), .. } | Cause::NotFound(key) => key,
        _ => return internal(cause),
    };
    let key = key.split('[').next().unwrap_or(key);
    let got = merged
        .get::<Value>(key)
        .map_or_else(|_| "nothing".to_owned(), |value| shown(&value));
    crate::setting::invalid(key, got)
}

fn shown(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(_) => "a list".to_owned(),
        _ => value.to_string(),
    }
}

/// Something that our own layering should have made impossible; its text could quote a value, so it is not shown.
fn internal(_cause: &Cause) -> ConfigError {
    ConfigError::new(
        "PARLEY_*",
        "the settings do not fit together; run with fewer of them to find the one",
    )
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
