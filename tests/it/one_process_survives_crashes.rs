//! A kill at any moment of the one process that is everything: no accepted event is missing afterwards.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hookyard_core::step::Step;
use hookyard_e2e::process::{RoleProcess, free_address};
use hookyard_e2e::receiver::{Answer, Receiver};
use hookyard_e2e::world::JWT_SECRET;
use hookyard_e2e::{Api, eventually, or_more};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

/// Rounds of publish and kill unless `HOOKYARD_TEST_CRASHES` asks for more.
const ROUNDS: usize = 25;
const PUBLISHERS: usize = 8;
/// Most requests in flight, so that the number of repeated ones is bounded.
const CONCURRENCY: usize = 32;
/// What a dispatcher holds at most: a quarter more than it may have in flight. A request that ended and is not written down yet is held,
/// and comes again after a kill.
const HELD: usize = CONCURRENCY * 5 / 4;

/// A folder, an address, and the environment of the process that uses them.
struct Site {
    _folder: TempDir,
    environment: Vec<(&'static str, String)>,
    api: Api,
}

impl Site {
    fn new() -> Result<Self> {
        hookyard_node::install_crypto();
        let folder = tempfile::tempdir()?;
        let address = free_address()?;
        let api = Api::at(&format!("http://{address}"), "admin")?;
        Ok(Self { environment: environment(folder.path(), &address.to_string()), api, _folder: folder })
    }

    /// Starts the process and waits until it serves.
    async fn start(&self, trip: Option<(Step, u32)>) -> Result<RoleProcess> {
        let process = RoleProcess::start_with(&self.environment, &[], trip)?;
        eventually("it serves", async || self.api.get("/app").await.is_ok()).await?;
        Ok(process)
    }

    async fn set_up(&self, receiver: &Receiver) -> Result<()> {
        let _process = self.start(None).await?;
        self.api.call(Method::PUT, "/app/acme", Some(&json!({"name": "Acme"}))).await?;
        self.api.endpoint("acme", &receiver.url("/hook"), json!({})).await?;
        Ok(())
    }

    /// Publishes one event; its message id if it was accepted.
    async fn publish(&self, event: &str) -> Option<String> {
        let message = json!({"eventType": "user.created", "eventId": event, "payload": {"id": event}});
        let (status, answer) = self.api.try_call(Method::POST, "/app/acme/msg", Some(&message)).await.ok()?;
        (status == 202).then(|| answer["id"].as_str().map(str::to_owned))?
    }

    /// Whether the journal has a success for the message.
    async fn is_recorded(&self, message: &str) -> bool {
        let page = self.api.get(&format!("/app/acme/attempt/msg/{message}")).await;
        page.is_ok_and(|page| page["data"].as_array().is_some_and(|data| data.iter().any(|attempt| attempt["status"] == 0)))
    }
}

fn environment(folder: &Path, address: &str) -> Vec<(&'static str, String)> {
    vec![
        ("HOOKYARD_DATA_DIR", folder.join("data").display().to_string()),
        ("HOOKYARD_LISTEN", address.to_owned()),
        ("HOOKYARD_OPS_LISTEN", "127.0.0.1:0".to_owned()),
        ("HOOKYARD_JWT_SECRET", JWT_SECRET.to_owned()),
        ("HOOKYARD_DELIVERY__CONCURRENCY", CONCURRENCY.to_string()),
        ("HOOKYARD_DELIVERY__RETRY_SCHEDULE", "1s,2s".to_owned()),
        ("HOOKYARD_DELIVERY__ALLOW_NETWORKS", "127.0.0.0/8".to_owned()),
    ]
}

/// Publishes until told to stop; what was accepted goes into the ledger.
async fn publish_on(site: &Site, stop: &AtomicBool, numbers: &AtomicUsize, accepted: &Mutex<BTreeSet<String>>) {
    while !stop.load(Ordering::Relaxed) {
        let event = format!("event-{}", numbers.fetch_add(1, Ordering::Relaxed));
        match site.publish(&event).await {
            Some(message) => drop(accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(message)),
            None => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_moments_lose_no_accepted_event() -> Result<()> {
    let (site, receiver) = (Site::new()?, Receiver::start(|_, _| Answer::Status(204)).await?);
    site.set_up(&receiver).await?;
    let (stop, numbers, accepted) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    let killing = async {
        for round in 0..or_more("HOOKYARD_TEST_CRASHES", ROUNDS) {
            let mut process = site.start(None).await?;
            // Spread over everything that goes on in the first quarter of a second.
            tokio::time::sleep(Duration::from_millis(round as u64 * 37 % 250)).await;
            process.kill9();
        }
        Ok::<(), anyhow::Error>(())
    };
    let killing = async {
        let killed = killing.await;
        // However that went: publishers wait for nothing else.
        stop.store(true, Ordering::Relaxed);
        killed
    };
    let publishing = (0..PUBLISHERS).map(|_| publish_on(&site, &stop, &numbers, &accepted));
    let (killed, _) = tokio::join!(killing, futures_util::future::join_all(publishing));
    killed?;
    let accepted = accepted.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(accepted.len() > 100, "only {} events were accepted", accepted.len());
    let _last = site.start(None).await?;
    let arrived = || receiver.hits().into_iter().map(|hit| hit.id).collect::<BTreeSet<String>>();
    let missing = || accepted.difference(&arrived()).cloned().collect::<Vec<_>>();
    eventually("every accepted event has arrived", async || missing().is_empty()).await?;
    for message in &accepted {
        eventually("every delivery is in the log", async || site.is_recorded(message).await).await?;
    }
    let calls: usize = receiver.counts().values().sum();
    let repeated = calls - receiver.counts().len();
    let most = or_more("HOOKYARD_TEST_CRASHES", ROUNDS) * HELD;
    ensure!(repeated <= most, "{repeated} requests were repeated, more than the {most} that can have been held");
    Ok(())
}

/// Where one process on one file can be caught: a settlement is one transaction, and so is a small fan-out.
fn reachable(step: Step) -> bool {
    !matches!(step, Step::SuccessorPublished | Step::FanOutBegun)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_each_step_repeats_at_most_the_request_nobody_wrote_down() -> Result<()> {
    for step in Step::ALL.into_iter().filter(|step| reachable(*step)) {
        let (site, receiver) = (Site::new()?, Receiver::start(|_, _| Answer::Status(204)).await?);
        site.set_up(&receiver).await?;
        let doomed = Arc::new(Mutex::new(site.start(Some((step, 1))).await?));
        let published = site.publish("event-0").await;
        let waiting = Arc::clone(&doomed);
        let ended_well = tokio::task::spawn_blocking(move || {
            waiting.lock().unwrap_or_else(PoisonError::into_inner).wait(Duration::from_secs(30))
        });
        ensure!(!ended_well.await??, "{step:?}: it should have crashed");
        let _replacement = site.start(None).await?;
        if published.is_none() {
            // The client got no answer and asks again: accepted, or already known.
            site.publish("event-0").await;
        }
        eventually("it arrives", async || !receiver.hits().is_empty()).await?;
        let message = receiver.hits().first().context("a hit")?.id.clone();
        eventually("it is in the log", async || site.is_recorded(&message).await).await?;
        // Once the deliveries are durable, the same process sends them while the event is still being finished: a crash there may
        // find the request under way.
        let may_be_under_way = matches!(step, Step::FanOutDone | Step::EventRouted | Step::AttemptSent);
        let most = 1 + usize::from(may_be_under_way);
        ensure!(receiver.hits().len() <= most, "{step:?}: {} requests", receiver.hits().len());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_accepts_nothing_it_cannot_keep() -> Result<()> {
    let (site, receiver) = (Site::new()?, Receiver::start(|_, _| Answer::Status(204)).await?);
    site.set_up(&receiver).await?;
    let mut cramped = RoleProcess::start_on_a_small_disk(&site.environment, 8_000)?;
    eventually("it serves", async || site.api.get("/app").await.is_ok()).await?;
    let (mut accepted, mut refused) = (BTreeSet::new(), None);
    for number in 0..10_000 {
        let payload = json!({"number": number, "filling": "x".repeat(10_000)});
        let message = json!({"eventType": "user.created", "eventId": format!("event-{number}"), "payload": payload});
        let (status, answer) = site.api.try_call(Method::POST, "/app/acme/msg", Some(&message)).await?;
        if status != 202 {
            refused = Some((status, answer));
            break;
        }
        accepted.insert(answer["id"].as_str().context("an id")?.to_owned());
    }
    let (status, answer) = refused.context("the disk never got full")?;
    ensure!(status == 503 && answer["code"] == "unavailable", "{status} {answer}");
    ensure!(cramped.is_alive(), "it still answers");
    let (status, _) = site.api.try_call(Method::GET, "/health", None).await?;
    ensure!(status == 503, "it is not ready: {status}");
    ensure!(accepted.len() > 20, "only {} were accepted", accepted.len());
    // What must not happen is a storm of requests nobody can write down: that takes time to be seen.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let repeated = |counts: std::collections::HashMap<_, usize>| counts.values().sum::<usize>() - counts.len();
    let (stormed, held) = (repeated(receiver.counts()), HELD);
    ensure!(stormed <= held, "{stormed} requests were repeated on a full disk, where {held} can have been in hand");
    cramped.kill9();
    let _roomy = site.start(None).await?;
    eventually("it is ready", async || {
        site.api.try_call(Method::GET, "/health", None).await.is_ok_and(|(status, _)| status == 204)
    })
    .await?;
    let arrived = || receiver.hits().into_iter().map(|hit| hit.id).collect::<BTreeSet<String>>();
    eventually("every accepted event has arrived", async || accepted.is_subset(&arrived())).await?;
    ensure!(site.publish("afterwards").await.is_some(), "with room again it accepts again");
    Ok(())
}
