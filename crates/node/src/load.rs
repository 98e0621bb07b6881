//! Reading a configuration: flag over environment over file over default, and where each value came from.
//!
//! The environment variable of a key is `HOOKYARD_` and its path, joined by `__`: `HOOKYARD_DELIVERY__TIMEOUT`. Every secret can
//! come from a file named by the same key with `_file` behind it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, ensure};
use figment::error::Kind;
use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::Value;
use figment::{Figment, Profile, Source};

use crate::config::Config;
use crate::service_links::ServiceLinks;
use crate::{local, shown};

/// What the variables of all keys begin with.
const PREFIX: &str = "HOOKYARD_";
/// Variables of that prefix that belong to the command line's client and to the tests.
const OTHERS: [&str; 6] = ["url", "token", "config", "test_amqp_url", "test_redis_url", "test_crashes"];
/// Names that are at most so different may be the same with a slip of the finger.
const ALIKE: f64 = 0.7;

/// What lies over the defaults, the lowest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layers<'a> {
    /// A file in TOML.
    pub file: Option<&'a Path>,
    /// `key=value`, as flags name them.
    pub flags: &'a [String],
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// `--set`.
    Flag,
    /// The file that holds a secret.
    SecretFile(PathBuf),
    /// The data folder, which has made its own.
    DataFolder(PathBuf),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(file) | Self::SecretFile(file) | Self::DataFolder(file) => write!(f, "{}", file.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::Flag => f.write_str("--set"),
        }
    }
}

/// Where values came from, by key; what is not among them is a default.
#[derive(Clone, Debug, Default)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// Of the value of a key.
    pub fn of(&self, key: &str) -> Origin {
        self.0.get(key).cloned().unwrap_or(Origin::Default)
    }

    pub(crate) fn note(&mut self, key: &str, origin: Origin) {
        self.0.insert(key.to_owned(), origin);
    }
}

/// The environment variable of a key.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

impl Config {
    /// Reads what is named, and the environment.
    ///
    /// # Errors
    /// When something cannot be read, is no value of its key, or is of a key that does not exist.
    pub fn load(layers: Layers<'_>) -> anyhow::Result<Self> {
        let mut figment = Figment::new();
        if let Some(file) = layers.file {
            ensure!(file.exists(), "there is no configuration file {}", file.display());
            figment = figment.merge(Toml::file_exact(file));
        }
        let ours = Env::prefixed(PREFIX).ignore(&OTHERS);
        let links = ServiceLinks::among(ours.iter().map(|(name, _)| name.as_str().to_lowercase()));
        figment = figment.merge(ours.filter(move |name| !links.include(&name.as_str().to_lowercase())).split("__"));
        for flag in layers.flags {
            let (key, value) = flag.split_once('=').with_context(|| format!("--set {flag}: wants key=value"))?;
            // As a variable's text is read: a number, a boolean or a list where it looks like one.
            let value: Value = value.parse().unwrap_or_else(|never: std::convert::Infallible| match never {});
            figment = figment.merge(Serialized::from(value, Profile::Default).key(key));
        }
        let mut config: Self = figment.extract().map_err(|error| explained(&error))?;
        config.note_origins(&figment, layers.file);
        config.read_files()?;
        local::fill_in(&mut config)?;
        Ok(config)
    }

    /// Whether everything is kept in one file, with neither broker nor store.
    pub fn is_embedded(&self) -> bool {
        self.amqp_url.is_none() && self.redis_url.is_none()
    }

    fn note_origins(&mut self, figment: &Figment, file: Option<&Path>) {
        for key in self.keys() {
            let Some(metadata) = figment.find_metadata(&key) else { continue };
            let origin = match &metadata.source {
                Some(Source::File(path)) => Origin::File(file.unwrap_or(path).to_owned()),
                _ if metadata.name.contains("environment") => Origin::Environment(variable(&key)),
                _ => Origin::Flag,
            };
            self.origins.note(&key, origin);
        }
    }

    fn read_files(&mut self) -> anyhow::Result<()> {
        let pairs = [
            ("amqp_url", &mut self.amqp_url, &self.amqp_url_file),
            ("redis_url", &mut self.redis_url, &self.redis_url_file),
            ("redis_journal_url", &mut self.redis_journal_url, &self.redis_journal_url_file),
            ("secret_key", &mut self.secret_key, &self.secret_key_file),
            ("jwt_secret", &mut self.jwt_secret, &self.jwt_secret_file),
        ];
        for (key, value, file) in pairs {
            if let Some(file) = file {
                ensure!(
                    value.is_none(),
                    "{} and {} are both set: leave one of them out",
                    variable(key),
                    variable(&format!("{key}_file"))
                );
                let context = || format!("{} names {}, which cannot be read", variable(&format!("{key}_file")), file.display());
                let text = std::fs::read_to_string(file).with_context(context)?;
                *value = Some(text.trim().to_owned());
                self.origins.note(key, Origin::SecretFile(file.clone()));
            }
        }
        Ok(())
    }
}

/// What is wrong, all of it, each with its key and where that was said; of a key that does not exist, the nearest that does.
fn explained(error: &figment::Error) -> anyhow::Error {
    let told: Vec<String> = error.clone().into_iter().map(|one| explain(&one)).collect();
    anyhow!("the configuration is wrong: {}", told.join("; "))
}

fn explain(error: &figment::Error) -> String {
    let is_environment = error.metadata.as_ref().is_some_and(|metadata| metadata.name.contains("environment"));
    let named = |key: &str| if is_environment { variable(key) } else { key.to_owned() };
    let place = match error.metadata.as_ref().and_then(|metadata| metadata.source.as_ref()) {
        Some(Source::File(path)) => format!(" in {}", path.display()),
        _ => String::new(),
    };
    match &error.kind {
        Kind::UnknownField(field, known) => {
            let within: Vec<&str> = error.path.iter().map(String::as_str).filter(|part| *part != field).collect();
            let full = |name: &str| named(&within.iter().copied().chain([name]).collect::<Vec<_>>().join("."));
            let nearest = nearest(field, known).map(|name| format!(": did you mean {}?", full(name)));
            format!("there is no key {}{place}{}", full(field), nearest.unwrap_or_default())
        }
        // What a secret is taken for would be told with it.
        Kind::InvalidType(..) | Kind::InvalidValue(..) if shown::may_hold_a_secret(&error.path.join(".")) => {
            format!(
                "{}{place}: this is not text; one that looks like a number wants quotes: '\"…\"'",
                named(&error.path.join("."))
            )
        }
        kind => format!("{}{place}: {kind}", named(&error.path.join("."))),
    }
}

/// The name that looks most like this one, if any does.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |other: &str| strsim::jaro_winkler(name, other);
    let best = known.iter().copied().max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(best) >= ALIKE).then_some(best)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn from_toml(text: &str) -> Result<Config, String> {
        Figment::new().merge(Toml::string(text)).extract().map_err(|error| explained(&error).to_string())
    }

    fn with_flags(flags: &[&str]) -> Result<Config, String> {
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        Config::load(Layers { file: None, flags: &flags }).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn human_values_are_read_and_unknown_keys_refused_with_the_nearest() {
        let config =
            from_toml("[delivery]\nretry_schedule = '1s, 2m'\ntimeout = '5s'\n[events]\nmax_bytes = '1MiB'").expect("valid");
        assert_eq!(config.delivery.retry_schedule, [Duration::from_secs(1), Duration::from_secs(120)]);
        assert_eq!(config.events.max_bytes, 1 << 20);
        let error = from_toml("[delivery]\ntimeuot = '5s'").err().expect("refused");
        assert!(error.contains("no key delivery.timeuot") && error.contains("did you mean delivery.timeout?"), "{error}");
        let error = from_toml("qqq = 1").err().expect("refused");
        assert!(error.contains("no key qqq") && !error.contains("did you mean"), "{error}");
        let error = from_toml("[delivery]\ntimeout = 'soon'").err().expect("refused");
        assert!(error.contains("delivery.timeout") && error.contains("not a duration"), "{error}");
    }

    #[test]
    fn a_flag_says_what_counts_and_that_it_did() {
        let config = with_flags(&["delivery.timeout=5s", "amqp.shards=3", "delivery.allow_hosts=a.example,b.example"]);
        let config = config.expect("valid");
        assert_eq!((config.delivery.timeout, config.amqp.shards), (Duration::from_secs(5), 3));
        assert_eq!(config.delivery.allow_hosts, ["a.example", "b.example"]);
        assert_eq!(config.origins.of("delivery.timeout"), Origin::Flag);
        assert_eq!(config.origins.of("delivery.concurrency"), Origin::Default);
        let mistakes = [
            ("delivery", "key=value"),
            ("delivery.tiemout=5s", "delivery.timeout"),
            ("amqp.shards=many", "amqp.shards"),
            // What looks like a number, and is read as one, is told as what it should be.
            ("delivery.timeout=5", "5s is in seconds"),
            ("delivery.timeout=1.5", "\"1.5\" is not a duration"),
            ("delivery.timeout=true", "\"true\" is not a duration"),
            ("delivery.retry_schedule=5", "5s is in seconds"),
            ("delivery.retry_schedule=[5,10]", "5s is in seconds"),
            ("listen=8080", "no address with a port"),
        ];
        for (flag, what) in mistakes {
            let error = with_flags(&[flag]).err().unwrap_or_default();
            assert!(error.contains(what), "{flag}: {error}");
        }
    }

    #[test]
    fn a_secret_that_is_no_text_is_not_told() {
        for flag in ["jwt_secret=12345678901234567890", "secret_key=[1,2]", "redis_url=98765"] {
            let error = with_flags(&[flag]).err().unwrap_or_default();
            assert!(
                error.contains("this is not text") && !error.contains("12345678901234567890") && !error.contains("98765"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_variable_of_a_key_is_its_path() {
        assert_eq!(variable("delivery.retry_schedule"), "HOOKYARD_DELIVERY__RETRY_SCHEDULE");
    }
}
