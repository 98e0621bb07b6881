//! Looking host names up: a bounded number at once, because each that hangs holds a thread until the operating system gives up, long
//! after the attempt did. Names that resolve have places that those which hang cannot take.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, WeakShared};
use lru::LruCache;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Names of which it is remembered how their last look-up went: more than a large installation has.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(50_000).expect("not zero");
/// Look-ups at once of names that resolved the last time, of new ones, and of those that failed. Of new ones there are more than one
/// application's endpoints may ask for at once, which is a quarter of a dispatcher's 384 fast places. All together are less than half of
/// the 512 threads that the runtime has for such work, so that the rest of it never waits for them.
const PLACES: [(Standing, usize); 3] = [(Standing::Resolves, 64), (Standing::New, 128), (Standing::Fails, 32)];

/// A look-up that takes so long and fails holds its place for long.
const SLOW: Duration = Duration::from_secs(1);

/// Where addresses of a host name come from.
#[async_trait]
pub trait LookUp: Send + Sync {
    /// Every address of `host`.
    async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemLookUp;

#[async_trait]
impl LookUp for SystemLookUp {
    async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// How the last look-up of a name went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Standing {
    Resolves,
    New,
    Fails,
}

/// A look-up that several wait for; `None` if it failed.
type Answer = BoxFuture<'static, Option<Vec<IpAddr>>>;

/// Look-ups, a bounded number at once, and one of each name.
pub struct BoundedLookUp {
    look_up: Arc<dyn LookUp>,
    standings: Arc<Mutex<LruCache<String, Standing>>>,
    places: HashMap<Standing, Arc<Semaphore>>,
    /// Those that are waited for.
    awaited: Arc<Mutex<LruCache<String, WeakShared<Answer>>>>,
}

impl BoundedLookUp {
    /// Look-ups by `look_up`.
    pub fn new(look_up: Arc<dyn LookUp>) -> Self {
        let places = PLACES.map(|(standing, places)| (standing, Arc::new(Semaphore::new(places)))).into();
        let standings = Arc::new(Mutex::new(LruCache::new(REMEMBERED)));
        Self { look_up, standings, places, awaited: Arc::new(Mutex::new(LruCache::new(REMEMBERED))) }
    }

    /// Every address of `host`, if it resolves. A look-up that has a place goes on when it is not waited for any more.
    pub async fn look_up(&self, host: &str) -> Option<Vec<IpAddr>> {
        let answer = {
            let mut awaited = lock(&self.awaited);
            let begun = awaited.get(host).and_then(WeakShared::upgrade).filter(|answer| answer.peek().is_none());
            begun.unwrap_or_else(|| {
                let answer = self.begin(host.to_owned()).shared();
                if let Some(answer) = answer.downgrade() {
                    awaited.put(host.to_owned(), answer);
                }
                answer
            })
        };
        answer.await
    }

    fn begin(&self, host: String) -> Answer {
        let standing = lock(&self.standings).get(&host).copied().unwrap_or(Standing::New);
        let (place, look_up) = (Arc::clone(&self.places[&standing]).acquire_owned(), Arc::clone(&self.look_up));
        let (standings, awaited) = (Arc::clone(&self.standings), Arc::clone(&self.awaited));
        let found = async move {
            // The semaphores are never closed.
            let place = place.await.ok()?;
            // Who asks from now on joins it, until it is over: also when those who asked first wait no longer.
            let joined = lock(&awaited).get(&host).and_then(WeakShared::upgrade);
            // Dropped, it would leave its thread behind and its place to the next.
            #[expect(clippy::disallowed_methods, reason = "awaited; it goes on when those who wait are gone")]
            let found = tokio::spawn(async move {
                let begun = Instant::now();
                let found = look_up.look_up(&host).await.ok();
                let standing = match &found {
                    Some(_) => Some(Standing::Resolves),
                    None if begun.elapsed() >= SLOW => Some(Standing::Fails),
                    // That there is no such name costs nothing to hear.
                    None => None,
                };
                if let Some(standing) = standing {
                    lock(&standings).put(host, standing);
                }
                drop((place, joined));
                found
            });
            found.await.ok().flatten()
        };
        found.boxed()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Names that begin with `hangs` take half a minute and fail.
    #[derive(Default)]
    struct Scripted {
        now: AtomicUsize,
        most: AtomicUsize,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl LookUp for Scripted {
        async fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let hangs = host.starts_with("hangs");
            tokio::time::sleep(if hangs { Duration::from_secs(30) } else { Duration::from_millis(5) }).await;
            self.now.fetch_sub(1, Ordering::SeqCst);
            if hangs { Err(io::ErrorKind::TimedOut.into()) } else { Ok(vec![Ipv4Addr::LOCALHOST.into()]) }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_hang_hold_up_none_that_resolves() {
        const PATIENCE: Duration = Duration::from_secs(3);
        let script = Arc::new(Scripted::default());
        let bounded = BoundedLookUp::new(Arc::clone(&script) as _);
        assert!(bounded.look_up("well.example").await.is_some());
        let many = async |names: usize| {
            let names: Vec<String> = (0..names).map(|name| format!("hangs-{name}.example")).collect();
            let asked = names.iter().map(|name| tokio::time::timeout(PATIENCE, bounded.look_up(name)));
            futures_util::future::join_all(asked).await
        };
        // As many as one application's new endpoints ask for at once, again and again: each attempt gives up long before a look-up does.
        for new in (0..30).map(|number| format!("new-{number}.example")) {
            let (_, found) = tokio::join!(many(96), tokio::time::timeout(PATIENCE, bounded.look_up(&new)));
            assert!(matches!(found, Ok(Some(_))), "{new}");
        }
        for _ in 0..3 {
            let (_, well) = tokio::join!(many(2_000), tokio::time::timeout(PATIENCE, bounded.look_up("well.example")));
            assert!(matches!(well, Ok(Some(_))));
        }
        assert!(script.most.load(Ordering::SeqCst) <= 64 + 128 + 32);
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_for_one_name_at_once_share_a_look_up() {
        let script = Arc::new(Scripted::default());
        let bounded = BoundedLookUp::new(Arc::clone(&script) as _);
        let found = futures_util::future::join_all((0..100).map(|_| bounded.look_up("well.example"))).await;
        assert!(found.iter().all(Option::is_some));
        assert_eq!(script.asked.load(Ordering::SeqCst), 1);
        assert!(bounded.look_up("well.example").await.is_some());
        assert_eq!(script.asked.load(Ordering::SeqCst), 2, "nothing is remembered of what a name resolved to");
    }
}
