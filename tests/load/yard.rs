//! An installation at work with everything private: a router, two dispatchers, twenty endpoints, each with its own type of event.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::task::JoinSet;

use crate::api::Api;
use crate::board::Board;
use crate::broker::{Broker, Door, confirmed};
use crate::hookyard::{Hookyard, Places, Role};
use crate::process::Process;
use crate::receiver::Receiver;
use crate::stage::Services;

/// Endpoints.
pub const ENDPOINTS: usize = 20;
const DISPATCHERS: usize = 2;
/// From one look at the clock to the next while publishing.
const TICK: Duration = Duration::from_millis(2);
/// Time for the last event to arrive.
const PATIENCE: Duration = Duration::from_secs(60);
/// Events sent and not yet confirmed.
const UNCONFIRMED_MOST: usize = 2_000;
const APP: &str = "yard";

/// The installation.
pub struct Yard {
    _services: Services,
    pub broker: Broker,
    pub receiver: Receiver,
    pub api: Api,
    pub hookyard: Hookyard,
    pub dispatchers: Vec<Role>,
    router: Process,
}

fn event_type(endpoint: usize) -> String {
    format!("to.{endpoint}")
}

impl Yard {
    /// Sets it up and starts everything.
    pub async fn set_up(folder: &Path, program: &Path) -> Result<Self> {
        let folder = folder.to_owned();
        let services = tokio::task::spawn_blocking(move || Services::start(&folder)).await??;
        let (receiver, api) = (Receiver::start().await?, Api::new()?);
        let (amqp, directory, journal) = (services.rabbit.url(), services.directory.url(), services.journal.url());
        let places = Places { amqp: &amqp, directory: &directory, journal: &journal };
        let hookyard = Hookyard::install(program, &places, &api, &receiver.url(), &[].into()).await?;
        let (admin, token) = (hookyard.start("admin", &api).await?, hookyard.token().await?);
        let app = format!("{}/api/v1/app/{APP}", admin.api.as_deref().context("the role admin has no API")?);
        api.put(&app, &token, &json!({"name": APP})).await?;
        for number in 0..ENDPOINTS {
            let endpoint = json!({"url": format!("{}{number}", receiver.url()), "eventTypes": [event_type(number)]});
            api.put(&format!("{app}/endpoint/number-{number}"), &token, &endpoint).await?;
        }
        admin.process.stop().await?;
        let broker = Broker::connect(&amqp).await?;
        let router = hookyard.start("router", &api).await?.process;
        let mut this = Self { _services: services, broker, receiver, api, hookyard, dispatchers: Vec::new(), router };
        this.start_dispatchers().await?;
        Ok(this)
    }

    /// Starts the dispatchers.
    pub async fn start_dispatchers(&mut self) -> Result<()> {
        self.start_dispatchers_of(DISPATCHERS).await
    }

    /// Starts so many.
    pub async fn start_dispatchers_of(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            self.dispatchers.push(self.hookyard.start("dispatcher", &self.api).await?);
        }
        Ok(())
    }

    /// Stops the dispatchers: what is published from now on waits.
    pub async fn stop_dispatchers(&mut self) -> Result<()> {
        for dispatcher in self.dispatchers.drain(..) {
            dispatcher.process.stop().await?;
        }
        Ok(())
    }

    /// Waits until the dispatch queues are empty.
    pub async fn drain(&self) -> Result<()> {
        let begun = Instant::now();
        while Hookyard::dispatch_depths(&self.broker).await? != [0, 0] {
            ensure!(begun.elapsed() < PATIENCE, "deliveries wait and do not get fewer");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// A new board that arrivals are noted on.
    pub fn board(&self, round: u32, events: usize) -> Arc<Board> {
        let board = Arc::new(Board::new(round, events, ENDPOINTS));
        self.receiver.use_board(Arc::clone(&board));
        board
    }

    /// Publishes to the endpoints that `to` names, at this rate, whatever becomes of what was published before, or as fast as it
    /// goes; when each was sent.
    pub async fn publish(
        &self,
        board: &Board,
        events: usize,
        rate: Option<f64>,
        to: impl Fn(usize) -> usize,
    ) -> Result<Vec<Instant>> {
        let doors: Vec<Door> = (0..ENDPOINTS).map(|number| Hookyard::door_of(APP.to_owned(), &event_type(number))).collect();
        let (begun, mut sent, mut confirms) = (Instant::now(), Vec::with_capacity(events), JoinSet::new());
        while sent.len() < events {
            let due = rate.map_or(events, |rate| whole(begun.elapsed().as_secs_f64() * rate).min(events));
            while sent.len() < due && confirms.len() < UNCONFIRMED_MOST {
                let event = sent.len();
                sent.push(Instant::now());
                confirms.spawn(confirmed(self.broker.begin(&doors[to(event)], board.round(), event).await?));
            }
            while let Some(confirm) = confirms.try_join_next() {
                confirm??;
            }
            tokio::time::sleep(TICK).await;
        }
        while let Some(confirm) = confirms.join_next().await {
            confirm??;
        }
        Ok(sent)
    }

    /// Ends everything; what did not arrive is left behind.
    pub async fn end(mut self) -> Result<()> {
        self.stop_dispatchers().await?;
        self.router.stop().await
    }
}

/// A count that was computed.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of a benchmark")]
pub fn whole(number: f64) -> usize {
    number as usize
}

/// Waits until so many arrived.
pub async fn await_arrivals(board: &Board, count: usize) -> Result<()> {
    let begun = Instant::now();
    while board.distinct() < count {
        ensure!(begun.elapsed() < PATIENCE, "{} of {count} events arrived and no more", board.distinct());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
