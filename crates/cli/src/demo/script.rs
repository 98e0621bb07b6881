//! The script: who receives, what is published, and what must come of it.

use std::time::Duration;

use serde_json::{Value, json};

/// How a receiver answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// 204 at once.
    Ok,
    /// 503 twice, then 204.
    FailsTwice,
    /// 500 until it is mended.
    AlwaysFails,
    /// 204 after a while.
    Slow,
    /// No answer.
    Hangs,
    /// 410.
    Gone,
    /// 204 at once; its endpoint is bound to [`CHANNEL`].
    Bound,
}

impl Part {
    /// Everybody, in the order of the table.
    pub const ALL: [Self; 7] = [Self::Ok, Self::FailsTwice, Self::AlwaysFails, Self::Slow, Self::Hangs, Self::Gone, Self::Bound];

    /// Its endpoint's uid, and the path of its URL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::FailsTwice => "fails-twice",
            Self::AlwaysFails => "always-fails",
            Self::Slow => "slow",
            Self::Hangs => "hangs",
            Self::Gone => "gone",
            Self::Bound => "bound",
        }
    }

    /// For the table.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Ok => "204, every type",
            Self::FailsTwice => "503 twice, then 204",
            Self::AlwaysFails => "500 until mended",
            Self::Slow => "204 after 700 ms",
            Self::Hangs => "no answer in 1 s",
            Self::Gone => "410",
            Self::Bound => "204, channel client_acme",
        }
    }

    /// The event types its endpoint asks for; none means every type.
    const fn event_types(self) -> &'static [&'static str] {
        match self {
            Self::Ok | Self::Bound => &[],
            Self::FailsTwice => &["ALERT_CREATED", "CASE_CREATED"],
            Self::AlwaysFails => &["RULE_TRIGGERED", "USER_LOGIN_FAILURE"],
            Self::Slow => &["USER_CREATED", "USER_PASSWORD_CHANGED"],
            Self::Hangs => &["ENTITY_FLAGGED"],
            Self::Gone => &["GROUP_CATEGORY_DELETED"],
        }
    }

    /// What its endpoint is created with. Retries come as soon as a second later: nobody wants to watch for ten minutes.
    pub fn endpoint(self, url: &str) -> Value {
        let (event_types, name) = (self.event_types(), format!("demonstration: {}", self.name()));
        let mut endpoint = json!({"uid": self.name(), "name": name, "url": url, "retrySchedule": [1, 1]});
        if !event_types.is_empty() {
            endpoint["eventTypes"] = json!(event_types);
        }
        match self {
            Self::Bound => endpoint["channels"] = json!([CHANNEL]),
            Self::Hangs => endpoint["timeoutMs"] = json!(HANG.as_millis()),
            _ => {}
        }
        endpoint
    }

    /// Whether an event is for it: the rule, written down once more and independently of the program.
    pub fn wants(self, event: &Event) -> bool {
        match self {
            Self::Bound => event.channel == Some(CHANNEL),
            part => part.event_types().is_empty() || part.event_types().contains(&event.kind),
        }
    }

    /// Requests that each of its events must cost before anything is mended.
    pub const fn attempts(self) -> usize {
        match self {
            Self::Ok | Self::Slow | Self::Gone | Self::Bound => 1,
            Self::FailsTwice | Self::AlwaysFails | Self::Hangs => 3,
        }
    }

    /// Why its events end as dead letters, if they do.
    pub const fn dead(self) -> Option<&'static str> {
        match self {
            Self::AlwaysFails | Self::Hangs => Some("attempts_exhausted"),
            Self::Gone => Some("gone"),
            Self::Ok | Self::FailsTwice | Self::Slow | Self::Bound => None,
        }
    }
}

/// The shortest timeout an endpoint may have.
pub const HANG: Duration = Duration::from_secs(1);
/// How long the slow receiver takes.
pub const SLOW: Duration = Duration::from_millis(700);
/// The channel one endpoint is bound to.
pub const CHANNEL: &str = "client_acme";

/// An event to publish.
pub struct Event {
    pub kind: &'static str,
    pub channel: Option<&'static str>,
    pub data: &'static str,
}

const fn event(kind: &'static str, channel: Option<&'static str>, data: &'static str) -> Event {
    Event { kind, channel, data }
}

const ACME: Option<&str> = Some(CHANNEL);
const GLOBEX: Option<&str> = Some("client_globex");
const AGENT: Option<&str> = Some("agent_7");

/// Events as compliance, identity and payment products publish them.
pub const EVENTS: [Event; 20] = [
    event("ALERT_CREATED", ACME, r#"{"alert_id": "al-1001", "score": 87, "status": "OPEN"}"#),
    event("ALERT_CLOSED", ACME, r#"{"alert_id": "al-1001", "disposition": "FALSE_POSITIVE"}"#),
    event("ALERT_REOPENED", GLOBEX, r#"{"alert_id": "al-0960"}"#),
    event("CASE_CREATED", None, r#"{"case_id": "ca-77", "alerts": ["al-1001", "al-1002"]}"#),
    event("CASE_CLOSED", None, r#"{"case_id": "ca-70"}"#),
    event("ENTITY_FLAGGED", GLOBEX, r#"{"entity_id": "en-5", "list": "watch"}"#),
    event("RULE_TRIGGERED", ACME, r#"{"rule_id": "ru-3", "amount": 9900.50, "currency": "EUR"}"#),
    event("RULE_CREATED", None, r#"{"rule_id": "ru-4"}"#),
    event("VERIFICATION_AUTO_APPROVED", None, r#"{"verification_id": "ve-12"}"#),
    event("VERIFICATION_MANUAL_REVIEW_NEEDED", AGENT, r#"{"verification_id": "ve-13"}"#),
    event("USER_CREATED", ACME, r#"{"user": {"id": 41, "name": "Zoë"}}"#),
    event("USER_LOGIN", None, r#"{"user": {"id": 41}}"#),
    event("USER_LOGIN_FAILURE", None, r#"{"user": {"id": 41}, "tries": 3}"#),
    event("USER_PASSWORD_CHANGED", GLOBEX, r#"{"user": {"id": 41}}"#),
    event("USER_BLOCKED", None, r#"{"user": {"id": 42}}"#),
    event("ROLE_CREATED", None, r#"{"role": "auditor"}"#),
    event("GROUP_CATEGORY_DELETED", None, r#"{"category": "legacy"}"#),
    event("MFA_VERIFIED", AGENT, r#"{"user": {"id": 41}, "method": "totp"}"#),
    event("FLOW_UPDATED", None, r#"{"flow": "onboarding", "version": 12}"#),
    event("TOKEN_RENEWED", ACME, r#"{"client": "mobile", "expires_in": 3600}"#),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_something_to_do_and_the_bound_one_is_not_told_everything() {
        for part in Part::ALL {
            let count = EVENTS.iter().filter(|event| part.wants(event)).count();
            assert!(count > 0, "{part:?}");
            assert!(part == Part::Ok || count < EVENTS.len(), "{part:?}");
        }
        assert!(EVENTS.iter().all(|event| serde_json::from_str::<Value>(event.data).is_ok()));
    }
}
