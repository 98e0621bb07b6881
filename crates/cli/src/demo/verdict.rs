//! What must have come of the script, compared with the receivers' ledger and with what the API says.

use std::collections::{BTreeMap, BTreeSet};

use super::DeadLetter;
use super::script::{EVENTS, Part};
use super::stage::Hit;
use crate::output::talk;

/// The checks, as they are made.
#[derive(Default)]
pub struct Verdict {
    failed: usize,
}

impl Verdict {
    /// Says whether something holds.
    pub fn check(&mut self, what: &str, problem: Option<String>) {
        match problem {
            None => talk(&format!("  ok      {what}")),
            Some(problem) => {
                self.failed += 1;
                talk(&format!("  FAILED  {what}: {problem}"));
            }
        }
    }

    /// Checks that did not hold.
    pub fn failed(&self) -> usize {
        self.failed
    }
}

/// Requests that must have been received, by receiver and message.
pub fn expected(messages: &[String]) -> BTreeMap<(&'static str, String), usize> {
    let of = |part: Part| {
        let wanted = EVENTS.iter().zip(messages).filter(move |(event, _)| part.wants(event));
        wanted.map(move |(_, id)| ((part.name(), id.clone()), part.attempts()))
    };
    Part::ALL.into_iter().flat_map(of).collect()
}

/// Whether everything that must be received was, and every dead letter is written down.
pub fn is_over(hits: &[Hit], dead: &[DeadLetter], messages: &[String]) -> bool {
    let all: usize = expected(messages).values().sum();
    hits.len() >= all && dead.len() >= expected_dead(messages).len()
}

fn expected_dead(messages: &[String]) -> BTreeSet<(&'static str, String, &'static str)> {
    let of = |part: Part| {
        let wanted = EVENTS.iter().zip(messages).filter(move |(event, _)| part.wants(event));
        wanted.filter_map(move |(_, id)| Some((part.name(), id.clone(), part.dead()?)))
    };
    Part::ALL.into_iter().flat_map(of).collect()
}

/// Checks the first half: before anything was mended.
pub fn judge(verdict: &mut Verdict, hits: &[Hit], dead: &[DeadLetter], messages: &[String]) {
    let unsigned = hits.iter().filter(|hit| !hit.verified).count();
    let all_signed = format!("each of {} requests carries a good signature", hits.len());
    verdict.check(&all_signed, (unsigned > 0).then(|| format!("{unsigned} do not")));

    let data: BTreeMap<&str, &str> = messages.iter().map(String::as_str).zip(EVENTS.iter().map(|event| event.data)).collect();
    let changed = hits.iter().filter(|hit| data.get(hit.id.as_str()).is_none_or(|data| data.as_bytes() != &*hit.body)).count();
    verdict.check("every body is the data as published, byte for byte", (changed > 0).then(|| format!("{changed} are not")));

    let mut counted: BTreeMap<(&'static str, String), usize> = BTreeMap::new();
    for hit in hits {
        *counted.entry((hit.part.name(), hit.id.clone())).or_default() += 1;
    }
    let expected = expected(messages);
    for part in Part::ALL {
        let of = |counts: &BTreeMap<(&'static str, String), usize>| -> Vec<(String, usize)> {
            counts.iter().filter(|((name, _), _)| *name == part.name()).map(|((_, id), count)| (id.clone(), *count)).collect()
        };
        let (wanted, got) = (of(&expected), of(&counted));
        let what = match part {
            Part::Bound => format!("{}: only the {} events of its channel, once each", part.name(), wanted.len()),
            part => format!("{}: events {}, attempts at each {}", part.name(), wanted.len(), part.attempts()),
        };
        verdict.check(&what, (wanted != got).then(|| format!("received {got:?}")));
    }

    let expected = expected_dead(messages);
    let found: BTreeSet<_> = dead.iter().map(|letter| (letter.part.name(), letter.message.clone(), &*letter.reason)).collect();
    let what = format!("{} dead letters, each with its reason", expected.len());
    verdict.check(&what, (expected != found || dead.len() != expected.len()).then(|| format!("found {found:?}")));
    let wrong: Vec<_> = dead.iter().filter(|letter| letter.attempts != letter.part.attempts()).collect();
    verdict.check("dead after exactly three attempts, or one that said gone", (!wrong.is_empty()).then(|| format!("{wrong:?}")));
}

/// Checks the second half: after the receiver that always failed was mended and its dead letters were replayed.
pub fn judge_replay(verdict: &mut Verdict, before: &[Hit], after: &[Hit], dead: &[DeadLetter], replayed: &[DeadLetter]) {
    let new: Vec<&Hit> = after.iter().skip(before.len()).collect();
    let expected: BTreeSet<(Name, &str)> = replayed.iter().map(|letter| (letter.part.name(), letter.message.as_str())).collect();
    let arrived = |hit: &&&Hit| hit.verified && hit.answer.is_some_and(|status| status.is_success());
    let found: BTreeSet<(Name, &str)> = new.iter().filter(arrived).map(|hit| (hit.part.name(), hit.id.as_str())).collect();
    let what = format!("mended and replayed: {} events arrive under the ids they had, once each", replayed.len());
    verdict.check(&what, (found != expected || new.len() != expected.len()).then(|| format!("received {new:?}")));
    let left = dead.iter().filter(|letter| letter.part == Part::AlwaysFails).count();
    verdict.check("and are dead letters no longer", (left > 0).then(|| format!("{left} are")));
}

/// A receiver's name.
type Name = &'static str;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;

    use super::*;

    fn messages() -> Vec<String> {
        (0..EVENTS.len()).map(|number| format!("msg_{number}")).collect()
    }

    /// What a flawless service would have done.
    fn flawless() -> (Vec<Hit>, Vec<DeadLetter>) {
        let (messages, mut hits, mut dead) = (messages(), Vec::new(), Vec::new());
        for part in Part::ALL {
            for (event, id) in EVENTS.iter().zip(&messages).filter(|(event, _)| part.wants(event)) {
                let body = Bytes::from_static(event.data.as_bytes());
                let hit = Hit { part, id: id.clone(), verified: true, body, answer: Some(StatusCode::NO_CONTENT) };
                hits.extend(std::iter::repeat_n(hit, part.attempts()));
                let (message, attempts) = (id.clone(), part.attempts());
                let letter = |reason: &str| DeadLetter { id: format!("dl_{id}"), part, message, reason: reason.into(), attempts };
                dead.extend(part.dead().map(letter));
            }
        }
        (hits, dead)
    }

    fn failed(change: impl FnOnce(&mut Vec<Hit>, &mut Vec<DeadLetter>)) -> usize {
        let (mut hits, mut dead) = flawless();
        change(&mut hits, &mut dead);
        let mut verdict = Verdict::default();
        judge(&mut verdict, &hits, &dead, &messages());
        verdict.failed()
    }

    #[test]
    fn a_flawless_play_passes_and_each_flaw_is_seen() {
        assert_eq!(failed(|_, _| {}), 0);
        assert_eq!(failed(|hits, _| hits[3].verified = false), 1, "a bad signature");
        assert_eq!(failed(|hits, _| hits[3].body = Bytes::from_static(b"{}")), 1, "another body");
        assert_eq!(failed(|hits, _| drop(hits.pop())), 1, "an event that did not arrive");
        assert_eq!(failed(|hits, _| hits.push(hits[0].clone())), 1, "an event that arrived twice");
        assert_eq!(failed(|hits, _| hits.push(Hit { part: Part::Bound, ..hits[1].clone() })), 1, "an event of another channel");
        assert_eq!(failed(|_, dead| drop(dead.pop())), 1, "a dead letter that is missing");
        assert_eq!(failed(|_, dead| dead[0].reason = "gone".into()), 1, "another reason");
        assert_eq!(failed(|_, dead| dead[0].attempts = 2), 1, "dead too early");
    }

    #[test]
    fn a_replay_must_bring_each_event_once_and_under_its_id() {
        let (before, dead) = flawless();
        let failed_before: Vec<DeadLetter> = dead.iter().filter(|letter| letter.part == Part::AlwaysFails).cloned().collect();
        let left: Vec<DeadLetter> = dead.iter().filter(|letter| letter.part != Part::AlwaysFails).cloned().collect();
        let again = |letter: &DeadLetter| before.iter().find(|hit| hit.part == letter.part && hit.id == letter.message).cloned();
        let arrived: Vec<Hit> = failed_before.iter().filter_map(again).collect();
        let failed = |new: &[Hit], dead: &[DeadLetter]| {
            let mut verdict = Verdict::default();
            judge_replay(&mut verdict, &before, &[&before[..], new].concat(), dead, &failed_before);
            verdict.failed()
        };
        assert_eq!(failed(&arrived, &left), 0);
        assert_eq!(failed(&arrived[1..], &left), 1, "one did not arrive");
        assert_eq!(failed(&[&arrived[..], &arrived[..1]].concat(), &left), 1, "one arrived twice");
        assert_eq!(failed(&arrived, &dead), 1, "they are still dead letters");
    }
}
