//! What a token's holder may do.

use std::fmt;
use std::str::FromStr;

use crate::clock::Timestamp;
use crate::id::AppId;
use crate::name::AppRef;

/// The scope of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Admin,
    /// Publishing messages, to any application.
    Publish,
    /// One application: its endpoints, messages and attempts.
    App(AppRef),
}

/// Text that is not a scope.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a scope is admin, publish or app:<id or uid>")]
pub struct BadScope;

impl FromStr for Scope {
    type Err = BadScope;
    fn from_str(text: &str) -> Result<Self, BadScope> {
        match text {
            "admin" => Ok(Self::Admin),
            "publish" => Ok(Self::Publish),
            _ => text.strip_prefix("app:").and_then(|app| app.parse().ok()).map(Self::App).ok_or(BadScope),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin => f.write_str("admin"),
            Self::Publish => f.write_str("publish"),
            Self::App(app) => write!(f, "app:{app}"),
        }
    }
}

/// A verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What it allows.
    pub scope: Scope,
    /// The token's own id, by which it can be revoked.
    pub token: String,
    /// When the token ends by itself.
    pub expires_at: Timestamp,
}

impl Grant {
    /// Whether everything is allowed.
    pub fn is_admin(&self) -> bool {
        self.scope == Scope::Admin
    }

    /// Whether the event catalog may be read.
    pub fn may_read_catalog(&self) -> bool {
        self.scope != Scope::Publish
    }

    /// Whether messages may be published to `app`, named as the caller did and as it was resolved.
    pub fn may_publish(&self, named: &AppRef, resolved: Option<AppId>) -> bool {
        self.scope == Scope::Publish || self.may_use(named, resolved)
    }

    /// Whether endpoints, messages and attempts of `app` may be seen and changed.
    pub fn may_use(&self, named: &AppRef, resolved: Option<AppId>) -> bool {
        match &self.scope {
            Scope::Admin => true,
            Scope::Publish => false,
            Scope::App(own) => own == named || resolved.is_some_and(|id| *own == AppRef::Id(id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_allows_what_it_says() {
        let id = AppId::from_bytes([1; 20]);
        let (own, other): (AppRef, AppRef) = (AppRef::Id(id), "other".parse().expect("valid"));
        let grant = |text: &str| {
            let (scope, token) = (text.parse().expect("a scope"), String::new());
            Grant { scope, token, expires_at: Timestamp::default() }
        };
        let app = grant(&format!("app:{id}"));
        assert!(app.may_use(&own, Some(id)) && app.may_publish(&own, Some(id)));
        assert!(app.may_use(&"by-uid".parse().expect("valid"), Some(id)));
        assert!(!app.may_use(&other, None) && !app.is_admin());
        assert!(grant("publish").may_publish(&other, None) && !grant("publish").may_use(&other, None));
        assert!(grant("admin").may_use(&other, None) && grant("admin").is_admin());
        assert_eq!("root".parse::<Scope>(), Err(BadScope));
        assert_eq!("app:a/b".parse::<Scope>(), Err(BadScope));
    }
}
