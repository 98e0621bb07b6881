//! Names people choose: event types, channels, uids, and the patterns endpoints subscribe with.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::id::AppId;
use crate::limits;

/// Text that breaks the grammar `[A-Za-z0-9._-]` or its length.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{what} must be 1 to {longest} characters of A-Z a-z 0-9 . _ -")]
pub struct BadName {
    what: &'static str,
    longest: usize,
}

fn follows_grammar(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident $what:literal $longest:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                if follows_grammar(text, $longest) {
                    Ok(Self(Arc::from(text)))
                } else {
                    Err(BadName { what: $what, longest: $longest })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        text_serde!($name);
    )*};
}

macro_rules! text_serde {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

names! {
    /// A kind of event, `ALERT_CREATED` or `user.created`.
    EventType "an event type" limits::EVENT_TYPE_CHARS;
    /// A label on events and endpoints that narrows who receives what.
    Channel "a channel" limits::CHANNEL_CHARS;
    /// The caller's own name for an application or endpoint.
    Uid "a uid" limits::UID_CHARS;
}

/// What an endpoint subscribes to: one type, or every type with a prefix (`user.*`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventPattern {
    /// Exactly this type.
    Exact(EventType),
    /// Every type that starts with this text; empty means every type.
    Prefix(Arc<str>),
}

impl EventPattern {
    /// Whether an event of this type is meant.
    pub fn matches(&self, event_type: &EventType) -> bool {
        match self {
            Self::Exact(exact) => exact == event_type,
            Self::Prefix(prefix) => event_type.as_str().starts_with(&**prefix),
        }
    }
}

impl FromStr for EventPattern {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        match text.strip_suffix('*') {
            Some("") => Ok(Self::Prefix(Arc::from(""))),
            Some(prefix) if follows_grammar(prefix, limits::EVENT_TYPE_CHARS) => Ok(Self::Prefix(Arc::from(prefix))),
            Some(_) => Err(BadName { what: "an event type prefix", longest: limits::EVENT_TYPE_CHARS }),
            None => text.parse().map(Self::Exact),
        }
    }
}

impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(exact) => exact.fmt(f),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

text_serde!(EventPattern);

/// An application named by whoever publishes or calls: its id, or the uid the caller gave it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppRef {
    /// By id.
    Id(AppId),
    /// By the caller's own name.
    Uid(Uid),
}

impl AppRef {
    /// The uid of the application that always exists and takes events that name none.
    pub const DEFAULT_UID: &'static str = "default";

    /// The uid, if it is one.
    pub fn into_uid(self) -> Option<Uid> {
        match self {
            Self::Id(_) => None,
            Self::Uid(uid) => Some(uid),
        }
    }
}

impl FromStr for AppRef {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => text.parse().map(Self::Uid),
        }
    }
}

impl fmt::Display for AppRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Uid(uid) => uid.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_enforced() {
        for good in ["a", "user.created", "ALERT_CREATED", "a-b", &"x".repeat(256)] {
            assert!(good.parse::<EventType>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "ü", "a\r\nb", "a*", &"x".repeat(257)] {
            assert!(bad.parse::<EventType>().is_err(), "{bad}");
        }
        assert!("x".repeat(128).parse::<Channel>().is_ok());
        assert!("x".repeat(129).parse::<Channel>().is_err());
    }

    #[test]
    fn patterns_match_by_prefix_only_at_the_end() {
        let created: EventType = "user.created".parse().expect("valid");
        for (pattern, matches) in
            [("user.created", true), ("user.*", true), ("*", true), ("user.c*", true), ("User.*", false), ("user", false)]
        {
            let parsed: EventPattern = pattern.parse().expect("valid");
            assert_eq!(parsed.matches(&created), matches, "{pattern}");
            assert_eq!(parsed.to_string(), pattern);
        }
        for bad in ["us*er", "**", "a b*", ""] {
            assert!(bad.parse::<EventPattern>().is_err(), "{bad}");
        }
    }
}
