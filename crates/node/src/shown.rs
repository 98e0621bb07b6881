//! A configuration as people read it: every key with its value and where that came from, and the reference of all keys. No secret
//! is in either.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use url::Url;
use utoipa::PartialSchema as _;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use crate::config::{Amqp, ApiConfig, Config, DeliveryConfig, EventsConfig, JournalConfig};
use crate::load::{Origin, variable};

/// What stands for a value that is not shown.
const HIDDEN: &str = "****";
/// Keys whose values are secret as a whole.
const SECRET: [&str; 2] = ["secret_key", "jwt_secret"];

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its path: `delivery.timeout`.
    pub key: String,
    /// Its value as it would be written, masked where it is secret; empty for none.
    pub value: String,
    /// Where that came from.
    pub origin: Origin,
}

impl Config {
    /// Every key, in the order of their names.
    pub fn rows(&self) -> Vec<Row> {
        let shown = |(key, value): (String, Value)| Row { value: shown(&key, &value), origin: self.origins.of(&key), key };
        flat(self).into_iter().map(shown).collect()
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        flat(self).into_keys().collect()
    }
}

/// What the reference begins with.
const HEAD: &str = "\
# Configuration

A flag counts over the environment, that over the file, and the file over the default:

| layer | how |
|---|---|
| flag | `--set delivery.timeout=5s`, as often as wanted, on every command |
| environment | `HOOKYARD_DELIVERY__TIMEOUT=5s`: `HOOKYARD_` and the key's path, joined by `__` |
| file | `--config hookyard.toml`, or `HOOKYARD_CONFIG`; TOML, with `timeout = \"5s\"` in section `[delivery]` |

Durations are written `15s`, `10m`, `7d`; several of them, and lists, with commas. Sizes are written `256KiB`. A key that does not
exist is an error that names the nearest. Every secret can come from a file: `HOOKYARD_SECRET_KEY_FILE=/run/secrets/key`.
`hookyard config print` shows every value and where it came from, secrets masked; `hookyard config check` fails where something is
wrong or missing. RabbitMQ and Redis are both given or neither; with neither, one process keeps everything in one file.

";

/// The reference of all keys, in Markdown: `docs/configuration.md`.
pub fn reference() -> String {
    let mut text = format!("{HEAD}| variable | meaning | default |\n|---|---|---|\n");
    let meanings = meanings();
    let rows = Config::default().rows();
    // Of a key that can come from a file the file's own is no news.
    let is_file = |key: &str| key.strip_suffix("_file").is_some_and(|key| rows.iter().any(|row| row.key == key));
    for Row { key, value, .. } in rows.iter().filter(|row| !is_file(&row.key)) {
        let meaning = meanings.get(key).map_or("", String::as_str).replace('|', "\\|").replace('\n', " ");
        let default = if value.is_empty() { "–".to_owned() } else { format!("`{value}`") };
        // Writing to a string does not fail.
        writeln!(text, "| `{}` | {meaning} | {default} |", variable(key)).ok();
    }
    text
}

/// Values by their paths.
fn flat(config: &Config) -> BTreeMap<String, Value> {
    fn walk(path: &str, value: Value, found: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name } else { format!("{path}.{name}") };
                    walk(&path, value, found);
                }
            }
            value => {
                found.insert(path.to_owned(), value);
            }
        }
    }
    let mut found = BTreeMap::new();
    // Texts, numbers and lists of those always serialise.
    walk("", serde_json::to_value(config).unwrap_or_default(), &mut found);
    found
}

/// Whether a key's value may be a secret, or have one in it.
pub(crate) fn may_hold_a_secret(key: &str) -> bool {
    SECRET.contains(&key) || key.ends_with("url") || key == "delivery.proxy"
}

fn shown(key: &str, value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(|value| shown(key, value)).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    };
    if SECRET.contains(&key) { HIDDEN.to_owned() } else { without_password(text) }
}

/// A URL's password is not shown, and neither is what only looks like a URL with one.
fn without_password(text: String) -> String {
    match Url::parse(&text) {
        Ok(mut url) if url.has_host() && url.password().is_some() => {
            if url.set_password(Some(HIDDEN)).is_ok() {
                url.into()
            } else {
                HIDDEN.to_owned()
            }
        }
        Ok(url) if url.has_host() => text,
        _ if text.contains('@') => HIDDEN.to_owned(),
        _ => text,
    }
}

/// What keys mean, as their fields say.
fn meanings() -> BTreeMap<String, String> {
    let sections = [
        ("", Config::schema()),
        ("amqp.", Amqp::schema()),
        ("api.", ApiConfig::schema()),
        ("delivery.", DeliveryConfig::schema()),
        ("events.", EventsConfig::schema()),
        ("journal.", JournalConfig::schema()),
    ];
    let mut meanings = BTreeMap::new();
    for (prefix, schema) in sections {
        let RefOr::T(Schema::Object(object)) = schema else { continue };
        for (name, field) in object.properties {
            let description = match field {
                RefOr::T(Schema::Object(field)) => field.description,
                RefOr::T(Schema::Array(field)) => field.description,
                _ => continue,
            };
            meanings.insert(format!("{prefix}{name}"), description.unwrap_or_default());
        }
    }
    meanings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_meaning() {
        let meanings = meanings();
        for key in Config::default().keys() {
            assert!(meanings.get(&key).is_some_and(|meaning| !meaning.is_empty()), "{key}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let config = Config {
            amqp_url: Some("amqps://user:hidden@broker.example:5671/vhost".to_owned()),
            redis_url: Some("user:hidden@not a url".to_owned()),
            secret_key: Some("hidden".to_owned()),
            jwt_secret: Some("hidden".to_owned()),
            ..Config::default()
        };
        let rows = config.rows();
        let value = |key: &str| rows.iter().find(|row| row.key == key).map(|row| row.value.clone()).expect("a row");
        assert!(rows.iter().all(|row| !row.value.contains("hidden")));
        assert_eq!(value("amqp_url"), "amqps://user:****@broker.example:5671/vhost");
        assert_eq!((value("secret_key"), value("delivery.retry_schedule")), (HIDDEN.to_owned(), "30s,10m".to_owned()));
    }
}
