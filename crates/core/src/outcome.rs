//! The outcome: what follows from an attempt.

use std::time::Duration;

use crate::attempt::{AttemptClass, AttemptResult, Directive, RetryAfter};
use crate::clock::Timestamp;
use crate::delivery::{Delivery, Trigger};
use crate::directory::Policy;
use crate::limits;

/// Why a delivery will not be tried again on its own. A closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadReason {
    /// The last attempt of its schedule failed.
    AttemptsExhausted,
    /// The receiver answered 410.
    Gone,
    /// Outbound safety refused the address.
    Blocked,
    /// The endpoint was inactive when the delivery came up.
    EndpointInactive,
    /// The endpoint was silent for too long, or is not in the directory.
    EndpointUnavailable,
    /// The endpoint's `maxAge` passed.
    Expired,
    /// The receiver asked to stop.
    Aborted,
}

impl DeadReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::AttemptsExhausted,
        Self::Gone,
        Self::Blocked,
        Self::EndpointInactive,
        Self::EndpointUnavailable,
        Self::Expired,
        Self::Aborted,
    ];

    /// Its name everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::Gone => "gone",
            Self::Blocked => "blocked",
            Self::EndpointInactive => "endpoint_inactive",
            Self::EndpointUnavailable => "endpoint_unavailable",
            Self::Expired => "expired",
            Self::Aborted => "aborted",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// Why a delivery was dropped without being dead: nobody is left to receive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiscardReason {
    /// The endpoint, or its application, was deleted.
    EndpointDeleted,
    /// An operator discarded the dead letter.
    Operator,
}

impl DiscardReason {
    /// Every reason.
    pub const ALL: [Self; 2] = [Self::EndpointDeleted, Self::Operator];

    /// Its name everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EndpointDeleted => "endpoint_deleted",
            Self::Operator => "operator",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Delivered,
    /// The next attempt is due then.
    Retry {
        /// Not before this moment.
        at: Timestamp,
    },
    /// It will not be tried again on its own.
    Dead(DeadReason),
    /// There is nobody to deliver to.
    Discarded(DiscardReason),
}

impl Outcome {
    /// Whether nothing more happens on its own.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Retry { .. })
    }
}

impl std::fmt::Display for Outcome {
    /// As stores keep it: `delivered`, `retry:<ms>`, `dead:<reason>`, `discarded:<reason>`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Delivered => f.write_str("delivered"),
            Self::Retry { at } => write!(f, "retry:{}", at.as_millis()),
            Self::Dead(reason) => write!(f, "dead:{}", reason.as_str()),
            Self::Discarded(reason) => write!(f, "discarded:{}", reason.as_str()),
        }
    }
}

/// Text that is not an outcome.
#[derive(Debug, thiserror::Error)]
#[error("not an outcome")]
pub struct BadOutcome;

impl std::str::FromStr for Outcome {
    type Err = BadOutcome;
    fn from_str(text: &str) -> Result<Self, BadOutcome> {
        match text.split_once(':') {
            None if text == "delivered" => Ok(Self::Delivered),
            // As it was written when there was one reason only.
            None if text == "discarded" => Ok(Self::Discarded(DiscardReason::EndpointDeleted)),
            Some(("retry", ms)) => ms.parse().map(|ms| Self::Retry { at: Timestamp::from_millis(ms) }).map_err(|_| BadOutcome),
            Some(("dead", reason)) => DeadReason::from_name(reason).map(Self::Dead).ok_or(BadOutcome),
            Some(("discarded", reason)) => DiscardReason::from_name(reason).map(Self::Discarded).ok_or(BadOutcome),
            _ => Err(BadOutcome),
        }
    }
}

/// An outcome, and what it means for the endpoint itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What follows for the delivery.
    pub outcome: Outcome,
    /// Whether the receiver asked for the endpoint to be disabled.
    pub disable_endpoint: bool,
}

/// Judges an attempt of `delivery` that ended at `now`. `fraction` in `0 ..= 1` is the jitter to use.
pub fn judge(delivery: &Delivery, result: &AttemptResult, policy: &Policy, now: Timestamp, fraction: f64) -> Judgement {
    let disable_endpoint = result.class == AttemptClass::Http410 || result.directive == Some(Directive::Disable);
    let outcome = match (result.class, result.directive) {
        (AttemptClass::Success, _) => Outcome::Delivered,
        (AttemptClass::Http410, _) => Outcome::Dead(DeadReason::Gone),
        (AttemptClass::Blocked, _) => Outcome::Dead(DeadReason::Blocked),
        (_, Some(_)) => Outcome::Dead(DeadReason::Aborted),
        (_, None) => after_failure(delivery, result, policy, now, fraction),
    };
    Judgement { outcome, disable_endpoint }
}

fn after_failure(delivery: &Delivery, result: &AttemptResult, policy: &Policy, now: Timestamp, fraction: f64) -> Outcome {
    let made = usize::try_from(delivery.attempt).unwrap_or(usize::MAX);
    let scheduled = if delivery.trigger == Trigger::Resend { None } else { policy.retry_schedule.get(made - 1) };
    let Some(delay) = scheduled else {
        return Outcome::Dead(DeadReason::AttemptsExhausted);
    };
    let at = now.plus(delay.mul_f64(1.0 + limits::RETRY_JITTER * fraction.clamp(0.0, 1.0)));
    let at = at.max(asked_for(result, now));
    let expired = policy.max_age.is_some_and(|age| at > delivery.message.event.accepted_at.plus(age));
    if expired { Outcome::Dead(DeadReason::Expired) } else { Outcome::Retry { at } }
}

/// `Retry-After` counts on 429 and 503 only, pushes later only, and by no more than [`limits::RETRY_AFTER_MOST`].
pub fn asked_for(result: &AttemptResult, now: Timestamp) -> Timestamp {
    if !matches!(result.status, Some(429 | 503)) {
        return now;
    }
    let most = now.plus(limits::RETRY_AFTER_MOST);
    match result.retry_after {
        None => now,
        Some(RetryAfter::Delay(delay)) => now.plus(delay.min(limits::RETRY_AFTER_MOST)),
        Some(RetryAfter::At(moment)) => moment.clamp(now, most),
    }
}

/// Judges a delivery before it is sent: whether it is too old for the endpoint's `maxAge`.
pub fn expired_before_sending(delivery: &Delivery, policy: &Policy, now: Timestamp) -> bool {
    policy.max_age.is_some_and(|age: Duration| now > delivery.message.event.accepted_at.plus(age))
}

/// The longest a delivery waits for an endpoint that receives nothing, from the moment this attempt first became due.
pub const UNAVAILABLE_AFTER: Duration = Duration::from_secs(24 * 3600);

/// How long a delivery waits whose endpoint is not in the directory, due for so long; `None` if it waits no longer. It may come: a store
/// that was put back from a copy is mended, or an operator makes it anew.
///
/// What a process has known to be missing for less than [`MISSING_LEAST`] is waited for whatever it is due: nobody may have looked.
pub fn wait_for_missing(due_for: Duration, known_for: Duration) -> Option<Duration> {
    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);
    if due_for >= UNAVAILABLE_AFTER {
        return (known_for < MISSING_LEAST).then_some(MINUTE);
    }
    Some(if due_for < MINUTE {
        Duration::from_secs(4)
    } else if due_for < HOUR {
        MINUTE
    } else {
        HOUR
    })
}

/// How long an endpoint is missed before anything is dead for it.
pub const MISSING_LEAST: Duration = Duration::from_secs(10 * 60);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::event::{Admission, Message, Submission, admit};
    use crate::id::{AppId, EndpointId, MessageId};

    const NOW: Timestamp = Timestamp::from_millis(10_000_000);

    #[test]
    fn what_is_for_an_endpoint_that_is_missing_waits_longer_and_longer_and_is_dead_after_a_day() {
        let (mut due_for, mut looks) = (Duration::ZERO, 0);
        while let Some(wait) = wait_for_missing(due_for, due_for) {
            due_for += wait;
            looks += 1;
        }
        assert!((UNAVAILABLE_AFTER..UNAVAILABLE_AFTER + Duration::from_secs(3600)).contains(&due_for), "{due_for:?}");
        assert!(looks < 120, "{looks}");
        assert_eq!(wait_for_missing(UNAVAILABLE_AFTER * 3, Duration::ZERO), Some(Duration::from_secs(60)), "nobody looked");
    }

    fn delivery(attempt: u32) -> Delivery {
        let submission = Submission { event_type: Some("a".into()), ..Submission::default() };
        let event = admit(submission, &Admission { max_bytes: 1, require_id: false }, NOW).expect("admitted");
        let (id, app) = (MessageId::from_bytes([1; 20]), AppId::from_bytes([2; 20]));
        let message = Arc::new(Message { id, app, event: Arc::new(event) });
        Delivery { attempt, ..Delivery::routed(message, EndpointId::from_bytes([3; 20]), false) }
    }

    fn answered(status: u16) -> AttemptResult {
        let base = AttemptResult::without_response(AttemptClass::of_status(status), NOW, Duration::ZERO);
        AttemptResult { status: Some(status), ..base }
    }

    fn outcome(attempt: u32, result: &AttemptResult) -> Outcome {
        judge(&delivery(attempt), result, &Policy::default(), NOW, 0.0).outcome
    }

    #[test]
    fn three_attempts_and_no_more() {
        assert_eq!(outcome(1, &answered(500)), Outcome::Retry { at: NOW.plus(Duration::from_secs(30)) });
        assert_eq!(outcome(2, &answered(500)), Outcome::Retry { at: NOW.plus(Duration::from_secs(600)) });
        assert_eq!(outcome(3, &answered(500)), Outcome::Dead(DeadReason::AttemptsExhausted));
        assert_eq!(outcome(3, &answered(204)), Outcome::Delivered);
    }

    #[test]
    fn gone_blocked_and_directives_end_a_delivery() {
        let gone = judge(&delivery(1), &answered(410), &Policy::default(), NOW, 0.0);
        assert_eq!(gone, Judgement { outcome: Outcome::Dead(DeadReason::Gone), disable_endpoint: true });
        let blocked = AttemptResult::without_response(AttemptClass::Blocked, NOW, Duration::ZERO);
        assert_eq!(outcome(1, &blocked), Outcome::Dead(DeadReason::Blocked));
        let abort = AttemptResult { directive: Some(Directive::AbortMessage), ..answered(500) };
        assert_eq!(outcome(1, &abort), Outcome::Dead(DeadReason::Aborted));
        let disable = AttemptResult { directive: Some(Directive::Disable), ..answered(200) };
        let judged = judge(&delivery(1), &disable, &Policy::default(), NOW, 0.0);
        assert_eq!(judged, Judgement { outcome: Outcome::Delivered, disable_endpoint: true });
    }

    #[test]
    fn a_resend_is_not_retried() {
        let resend = Delivery { trigger: Trigger::Resend, ..delivery(1) };
        let judged = judge(&resend, &answered(500), &Policy::default(), NOW, 0.0);
        assert_eq!(judged.outcome, Outcome::Dead(DeadReason::AttemptsExhausted));
    }

    #[test]
    fn retry_after_pushes_later_on_429_and_503_only() {
        let late = Some(RetryAfter::Delay(Duration::from_secs(3600)));
        let at = |status| outcome(1, &AttemptResult { retry_after: late, ..answered(status) });
        assert_eq!(at(429), Outcome::Retry { at: NOW.plus(Duration::from_secs(3600)) });
        assert_eq!(at(503), Outcome::Retry { at: NOW.plus(Duration::from_secs(3600)) });
        assert_eq!(at(500), Outcome::Retry { at: NOW.plus(Duration::from_secs(30)) });
        let absurd = Some(RetryAfter::Delay(Duration::from_secs(u64::MAX)));
        let capped = outcome(1, &AttemptResult { retry_after: absurd, ..answered(429) });
        assert_eq!(capped, Outcome::Retry { at: NOW.plus(limits::RETRY_AFTER_MOST) });
        let soon = Some(RetryAfter::At(Timestamp::from_millis(1)));
        let not_earlier = outcome(1, &AttemptResult { retry_after: soon, ..answered(429) });
        assert_eq!(not_earlier, Outcome::Retry { at: NOW.plus(Duration::from_secs(30)) });
    }

    #[test]
    fn max_age_ends_what_would_come_too_late() {
        let policy = Policy { max_age: Some(Duration::from_secs(10)), ..Policy::default() };
        assert_eq!(judge(&delivery(1), &answered(500), &policy, NOW, 0.0).outcome, Outcome::Dead(DeadReason::Expired));
        assert!(!expired_before_sending(&delivery(1), &policy, NOW));
        assert!(expired_before_sending(&delivery(1), &policy, NOW.plus(Duration::from_secs(11))));
    }

    #[test]
    fn an_outcome_is_read_as_it_was_written() {
        let dead = DeadReason::ALL.map(Outcome::Dead);
        let others = [Outcome::Delivered, Outcome::Retry { at: NOW }];
        for outcome in dead.into_iter().chain(others).chain(DiscardReason::ALL.map(Outcome::Discarded)) {
            assert_eq!(outcome.to_string().parse::<Outcome>().ok(), Some(outcome));
        }
        let earlier = Outcome::Discarded(DiscardReason::EndpointDeleted);
        assert_eq!("discarded".parse::<Outcome>().ok(), Some(earlier));
        assert!("retry:soon".parse::<Outcome>().is_err() && "".parse::<Outcome>().is_err());
    }

    proptest! {
        #[test]
        fn jitter_only_lengthens_and_at_most_by_a_fifth(fraction in 0.0..=1.0_f64) {
            let judged = judge(&delivery(2), &answered(500), &Policy::default(), NOW, fraction);
            let Outcome::Retry { at } = judged.outcome else { panic!("a retry") };
            let delay = at.since(NOW);
            prop_assert!(delay >= Duration::from_secs(600) && delay <= Duration::from_secs(720));
        }
    }
}
