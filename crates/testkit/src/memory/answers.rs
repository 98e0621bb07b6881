//! Answers in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hookyard_core::port::{AnswerKey, Answers, Begun};
use hookyard_core::{Clock, Fault, Timestamp};

/// Answers, each with its end.
pub struct MemoryAnswers {
    clock: Arc<dyn Clock>,
    answers: Mutex<HashMap<AnswerKey, Kept>>,
}

/// An answer, or nothing while somebody is at work, and its end.
type Kept = (Option<Vec<u8>>, Timestamp);

impl MemoryAnswers {
    /// None yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, answers: Mutex::default() }
    }
}

#[async_trait]
impl Answers for MemoryAnswers {
    async fn begin(&self, key: AnswerKey, lease: Duration) -> Result<Begun, Fault> {
        let now = self.clock.now();
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.retain(|_, (_, until)| *until > now);
        match answers.get(&key) {
            Some((Some(answer), _)) => Ok(Begun::Answered(answer.clone())),
            Some((None, _)) => Ok(Begun::Elsewhere),
            None => {
                answers.insert(key, (None, now.plus(lease)));
                Ok(Begun::First)
            }
        }
    }

    async fn finish(&self, key: AnswerKey, answer: Option<Vec<u8>>, kept: Duration) -> Result<(), Fault> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Some(answer) => answers.insert(key, (Some(answer), self.clock.now().plus(kept))),
            None => answers.remove(&key),
        };
        Ok(())
    }
}
