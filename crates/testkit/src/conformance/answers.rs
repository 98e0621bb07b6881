//! The suite of [`hookyard_core::port::Answers`].

use std::sync::Arc;
use std::time::Duration;

use hookyard_core::port::{Answers, Begun};

use super::{eventually, suite};

suite! { $ each_promise_of_answers: answers on AnswersBackend,
    the_first_request_is_at_work_until_it_is_answered,
    what_was_given_up_is_anybodys,
    whoever_does_not_answer_in_time_is_forgotten,
}

const LONG: Duration = Duration::from_secs(60);
/// The shortest lease a backend is asked for.
const SHORT: Duration = Duration::from_secs(1);

/// A backend of answers.
#[async_trait::async_trait]
pub trait AnswersBackend: Send + Sync {
    /// The answers.
    fn answers(&self) -> Arc<dyn Answers>;

    /// Lets this much time pass.
    async fn pass(&self, time: Duration);
}

async fn begin(backend: &dyn AnswersBackend, key: u8, lease: Duration) -> Begun {
    backend.answers().begin([key; 16], lease).await.expect("answered")
}

async fn the_first_request_is_at_work_until_it_is_answered(backend: &dyn AnswersBackend) {
    assert_eq!(begin(backend, 1, LONG).await, Begun::First);
    assert_eq!(begin(backend, 1, LONG).await, Begun::Elsewhere);
    assert_eq!(begin(backend, 2, LONG).await, Begun::First, "another key");
    let answer = b"\x00\xff answer".to_vec();
    backend.answers().finish([1; 16], Some(answer.clone()), LONG).await.expect("finished");
    for _ in 0..2 {
        assert_eq!(begin(backend, 1, LONG).await, Begun::Answered(answer.clone()));
    }
}

async fn what_was_given_up_is_anybodys(backend: &dyn AnswersBackend) {
    assert_eq!(begin(backend, 1, LONG).await, Begun::First);
    backend.answers().finish([1; 16], None, LONG).await.expect("finished");
    assert_eq!(begin(backend, 1, LONG).await, Begun::First);
}

async fn whoever_does_not_answer_in_time_is_forgotten(backend: &dyn AnswersBackend) {
    assert_eq!(begin(backend, 1, SHORT).await, Begun::First);
    backend.pass(SHORT).await;
    eventually("the lease ends", async || (begin(backend, 1, LONG).await == Begun::First).then_some(())).await;
}
