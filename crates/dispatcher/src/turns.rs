//! Steps at one gate, asked for by many deliveries at once: whoever has the turn takes those of all who wait, so that processes contend
//! for a gate, and not deliveries.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hookyard_core::Gate;
use hookyard_core::admission::{Pass, Passed, Step};
use tokio::sync::oneshot::{self, error::TryRecvError};

/// What came of a step, and the gate after it.
type Answer = (Pass, Gate);

/// The steps that wait at one gate.
#[derive(Default)]
pub struct Turns {
    waiting: Mutex<Vec<(Step, oneshot::Sender<Answer>)>>,
    turn: tokio::sync::Mutex<()>,
}

impl Turns {
    /// Has a step done, by `pass` if nobody else took it along.
    pub async fn step<F: Future<Output = Passed>>(&self, step: Step, pass: impl Fn(Vec<Step>) -> F) -> Answer {
        loop {
            let (answer, mut answered) = oneshot::channel();
            self.waiting().push((step, answer));
            let _turn = self.turn.lock().await;
            match answered.try_recv() {
                Ok(answer) => return answer,
                // Whoever took it along was cut short.
                Err(TryRecvError::Closed) => continue,
                Err(TryRecvError::Empty) => {}
            }
            self.do_all(&pass).await;
            if let Ok(answer) = answered.try_recv() {
                return answer;
            }
        }
    }

    /// Has a step done before the next one, or by [`Self::flush`], without waiting for it.
    pub fn leave(&self, step: Step) {
        self.waiting().push((step, oneshot::channel().0));
    }

    /// Has everything done that waits.
    pub async fn flush<F: Future<Output = Passed>>(&self, pass: impl Fn(Vec<Step>) -> F) {
        let _turn = self.turn.lock().await;
        self.do_all(&pass).await;
    }

    /// For the one that has the turn.
    async fn do_all<F: Future<Output = Passed>>(&self, pass: &impl Fn(Vec<Step>) -> F) {
        let asked = std::mem::take(&mut *self.waiting());
        if asked.is_empty() {
            return;
        }
        let passed = pass(asked.iter().map(|(step, _)| *step).collect()).await;
        for ((_, answer), pass) in asked.into_iter().zip(passed.passes) {
            // One that is gone needs none.
            answer.send((pass, passed.after)).ok();
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<(Step, oneshot::Sender<Answer>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::future::join_all;
    use hookyard_core::Timestamp;

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_are_answered_each_with_its_own_in_two_turns() {
        let (turns, asked) = (Turns::default(), AtomicUsize::new(0));
        let (gate, now) = (Mutex::new(Gate::default()), Timestamp::from_millis(1_700_000_000_000));
        let pass = async |steps: Vec<Step>| {
            asked.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let mut gate = gate.lock().expect("no holder panics");
            let passed = gate.steps(&steps, now);
            *gate = passed.after;
            passed
        };
        let step = Step::Reserve { spacing: Duration::from_millis(10) };
        let answers = join_all((0..100).map(|_| turns.step(step, pass))).await;
        let mut slots: Vec<Pass> = answers.into_iter().map(|(pass, _)| pass).collect();
        slots.sort_by_key(|pass| if let Pass::Later(at) = pass { at.as_millis() } else { 0 });
        let expected: Vec<Pass> = (0..100).map(|slot| Pass::Later(now.plus(Duration::from_millis(10) * slot))).collect();
        assert_eq!(slots, expected);
        assert!(asked.load(Ordering::SeqCst) <= 2);
    }
}
