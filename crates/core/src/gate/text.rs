//! A gate as stores keep it: short text, which two processes compare before one replaces the other's.

use std::fmt;
use std::str::FromStr;

use super::breaker::Breaker;
use super::streak::Streak;
use super::{Gate, Micros};
use crate::clock::Timestamp;

impl fmt::Display for Gate {
    /// As stores keep it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.breaker {
            Breaker::Closed { failures, last } => write!(f, "closed:{failures}:{}", last.as_millis())?,
            Breaker::Open { since, until, level, probed_until } => {
                let probed = probed_until.unwrap_or_default();
                write!(f, "open:{}:{}:{level}:{}", since.as_millis(), until.as_millis(), probed.as_millis())?;
            }
        }
        let Self { next_slot, departures, hold_until, slow_until, .. } = self;
        write!(f, "|{}|{}|{}|{}|", next_slot.0, departures.0, hold_until.as_millis(), slow_until.as_millis())?;
        match self.streak {
            Some(Streak { since, last, lost, warned }) => {
                write!(f, "{}:{}:{lost}:{warned}", since.as_millis(), last.as_millis())
            }
            None => Ok(()),
        }
    }
}

/// Text that is not a gate.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not the state of an endpoint's gate")]
pub struct BadGate;

impl FromStr for Gate {
    type Err = BadGate;
    fn from_str(text: &str) -> Result<Self, BadGate> {
        let moment = |text: &str| text.parse().map(Timestamp::from_millis).map_err(|_| BadGate);
        let micros = |text: &str| text.parse().map(Micros).map_err(|_| BadGate);
        let [breaker, next_slot, departures, hold_until, slow_until, streak] = text.split('|').collect::<Vec<_>>()[..] else {
            return Err(BadGate);
        };
        let breaker = match breaker.split(':').collect::<Vec<_>>()[..] {
            ["closed", failures, last] => {
                Breaker::Closed { failures: failures.parse().map_err(|_| BadGate)?, last: moment(last)? }
            }
            ["open", since, until, level, probed] => {
                let (since, until, probed) = (moment(since)?, moment(until)?, moment(probed)?);
                let level = level.parse().map_err(|_| BadGate)?;
                Breaker::Open { since, until, level, probed_until: Some(probed).filter(|at| *at > Timestamp::default()) }
            }
            _ => return Err(BadGate),
        };
        let streak = match streak.split(':').collect::<Vec<_>>()[..] {
            [""] => None,
            [since, until, lost, warned] => {
                let (lost, warned) = (lost.parse().map_err(|_| BadGate)?, warned.parse().map_err(|_| BadGate)?);
                Some(Streak { since: moment(since)?, last: moment(until)?, lost, warned })
            }
            _ => return Err(BadGate),
        };
        let (next_slot, departures) = (micros(next_slot)?, micros(departures)?);
        let (hold_until, slow_until) = (moment(hold_until)?, moment(slow_until)?);
        Ok(Self { breaker, next_slot, departures, hold_until, slow_until, streak })
    }
}
