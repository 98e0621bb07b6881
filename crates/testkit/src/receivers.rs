//! Receivers that behave as a script says, behind the port of the sender.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hookyard_core::port::{Request, Sender};
use hookyard_core::{AttemptClass, AttemptResult, Clock, Fault, RetryAfter, within};

/// What a receiver does with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// It answers with this status.
    Status(u16),
    /// It answers 503 and asks for so much patience.
    RetryAfter(Duration),
    /// There is no answer: of this class.
    Silence(AttemptClass),
    /// It never answers.
    Hang,
}

/// A request that a receiver got.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The receiver: the host of its URL.
    pub host: String,
    /// The message.
    pub id: String,
    /// How often this receiver got the message before.
    pub before: usize,
    /// When, by the monotonic clock.
    pub at: Duration,
}

/// What a receiver does with each request, and how long that takes.
pub type Script = dyn Fn(&Asked) -> (Answer, Duration) + Send + Sync;

/// Receivers by host. A host without a script answers 200 within 5 ms.
pub struct Receivers {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    scripts: HashMap<String, Arc<Script>>,
    asked: Vec<(Asked, Option<Answer>)>,
    before: HashMap<(String, String), usize>,
}

impl Receivers {
    /// Receivers on the time of `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// From now on the receiver at `host` does what `script` says.
    pub fn script(&self, host: &str, script: impl Fn(&Asked) -> (Answer, Duration) + Send + Sync + 'static) {
        self.state().scripts.insert(host.to_owned(), Arc::new(script));
    }

    /// Every request so far, in order, and what became of those that are over.
    pub fn asked(&self) -> Vec<(Asked, Option<Answer>)> {
        self.state().asked.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a request down; its number, and what its receiver does with it.
    fn take(&self, request: &Request) -> (usize, Answer, Duration) {
        let host = request.url.host_str().unwrap_or_default().to_owned();
        let id = request.headers.iter().find(|(name, _)| name == "webhook-id").map(|(_, id)| id.clone()).unwrap_or_default();
        let mut state = self.state();
        let times = state.before.entry((host.clone(), id.clone())).or_default();
        let before = std::mem::replace(times, *times + 1);
        let asked = Asked { host, id, before, at: self.clock.monotonic() };
        let script = state.scripts.get(&asked.host).cloned();
        let (answer, takes) = script.map_or((Answer::Status(200), Duration::from_millis(5)), |script| script(&asked));
        state.asked.push((asked, None));
        (state.asked.len() - 1, answer, takes)
    }
}

#[async_trait]
impl Sender for Receivers {
    async fn send(&self, request: Request) -> Result<AttemptResult, Fault> {
        let (begun, started_at) = (self.clock.monotonic(), self.clock.now());
        let (number, answer, takes) = self.take(&request);
        let takes = if answer == Answer::Hang { Duration::MAX } else { takes };
        let is_late = within(&*self.clock, request.timeout, self.clock.sleep(takes)).await.is_none();
        let duration = self.clock.monotonic().saturating_sub(begun);
        let answer = if is_late { Answer::Silence(AttemptClass::Timeout) } else { answer };
        self.state().asked[number].1 = Some(answer);
        let of = |class| AttemptResult::without_response(class, started_at, duration);
        Ok(match answer {
            Answer::Status(status) => AttemptResult { status: Some(status), ..of(AttemptClass::of_status(status)) },
            Answer::RetryAfter(wait) => {
                let retry_after = Some(RetryAfter::Delay(wait));
                AttemptResult { status: Some(503), retry_after, ..of(AttemptClass::of_status(503)) }
            }
            Answer::Silence(class) => of(class),
            Answer::Hang => of(AttemptClass::Timeout),
        })
    }
}
