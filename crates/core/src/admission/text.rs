//! A gate as stores keep it: short text, which two processes compare before one replaces the other's.

use std::fmt;
use std::str::FromStr;

use super::breaker::{Breaker, Ramp};
use super::evidence::Evidence;
use super::gate::Gate;
use super::rate::{Micros, Rate};
use super::streak::Streak;
use crate::clock::Timestamp;

impl fmt::Display for Gate {
    /// As stores keep it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.breaker {
            Breaker::Closed(evidence) if evidence == Evidence::default() => f.write_str("closed:0:0")?,
            Breaker::Closed(evidence) => write!(f, "closed:{evidence}")?,
            Breaker::Open { since, until, level, ramp } => {
                write!(f, "open:{}:{}:{level}:", since.as_millis(), until.as_millis())?;
                match ramp {
                    Some(Ramp { most, left, answered, out_until }) => {
                        write!(f, "{}:{most}:{left}:{answered}", out_until.as_millis())?;
                    }
                    None => f.write_str("0")?,
                }
            }
        }
        let Self { rate: Rate { next_slot, departures }, hold_until, slow_until, .. } = self;
        write!(f, "|{}|{}|{}|{}|", next_slot.0, departures.0, hold_until.as_millis(), slow_until.as_millis())?;
        if let Some(Streak { since, last, lost, warned }) = self.streak {
            write!(f, "{}:{}:{lost}:{warned}", since.as_millis(), last.as_millis())?;
        }
        write!(f, "|{}", self.as_of.as_millis())
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
        let parts: Vec<&str> = text.split('|').collect();
        let [breaker, next_slot, departures, hold_until, slow_until, streak, ref as_of @ ..] = parts[..] else {
            return Err(BadGate);
        };
        let as_of = match *as_of {
            // As programs before this one wrote it.
            [] => Timestamp::default(),
            [as_of] => moment(as_of)?,
            _ => return Err(BadGate),
        };
        let breaker = match breaker.split(':').collect::<Vec<_>>()[..] {
            // As programs before this one wrote it: failures in a row, which say nothing of silence.
            ["closed", _, _] => Breaker::default(),
            ["closed", evidence] => Breaker::Closed(evidence.parse()?),
            ["open", since, until, level, ref ramp @ ..] => {
                let (since, until, level) = (moment(since)?, moment(until)?, level.parse().map_err(|_| BadGate)?);
                let count = |text: &str| text.parse().map_err(|_| BadGate);
                let ramp =
                    match *ramp {
                        [out_until, most, left, answered] => {
                            let (most, left, answered) = (count(most)?, count(left)?, count(answered)?);
                            Some(Ramp { most, left, answered, out_until: moment(out_until)? })
                        }
                        // One probe, as programs before this one wrote it.
                        [out_until] => Some(moment(out_until)?)
                            .filter(|until| *until > Timestamp::default())
                            .map(|out_until| Ramp { most: 1, left: 1, answered: 0, out_until }),
                        _ => return Err(BadGate),
                    };
                Breaker::Open { since, until, level, ramp }
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
        Ok(Self { breaker, rate: Rate { next_slot, departures }, hold_until, slow_until, streak, as_of })
    }
}
