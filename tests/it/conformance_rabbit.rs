//! The conformance suites of events and deliveries, on a real RabbitMQ.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use hookyard_core::event::Admission;
use hookyard_core::port::{Deliveries, Events, Rejections};
use hookyard_core::step::NoTripwire;
use hookyard_core::{Clock, Refusal, RefusalReason, limits};
use hookyard_e2e::World;
use hookyard_e2e::amqp::{Amqp, Found};
use hookyard_node::seams::{SystemClock, SystemEntropy};
use hookyard_rabbit::{Consumes, Rabbit, RabbitConfig, Shards};
use hookyard_telemetry::Metrics;
use hookyard_testkit::conformance::{DeadLetter, QueueBackend, Rejected};
use hookyard_wire::queue::read_delivery;
use lapin::BasicProperties;

const SHARDS: Shards = Shards { fast: 2, slow: 1 };

/// A prefix in the broker with nothing in any queue, and the adapter of this moment.
struct Broker {
    world: World,
    amqp: Amqp,
    rabbit: Mutex<Arc<Rabbit>>,
}

impl Broker {
    async fn fresh() -> Self {
        Self::open().await.expect("a fresh start")
    }

    async fn open() -> Result<Self> {
        let world = World::new().await?;
        let rabbit = start(&world);
        connected(&rabbit).await?;
        let amqp = world.amqp().await?;
        Ok(Self { world, amqp, rabbit: Mutex::new(rabbit) })
    }

    fn rabbit(&self) -> Arc<Rabbit> {
        Arc::clone(&self.rabbit.lock().expect("no holder panics"))
    }

    /// Ends the adapter in good order and begins another on what is in the queues.
    async fn resume(&self) -> Result<()> {
        self.rabbit().stop().await;
        let rabbit = start(&self.world);
        connected(&rabbit).await?;
        *self.rabbit.lock().expect("no holder panics") = rabbit;
        Ok(())
    }
}

fn start(world: &World) -> Arc<Rabbit> {
    let config = RabbitConfig {
        url: world.config().amqp_url.expect("a world has a broker"),
        prefix: world.prefix.clone(),
        declare: true,
        consumes: Consumes { events: true, deliveries: true, spill: false },
        admission: Admission { max_bytes: limits::EVENT_BYTES, require_id: false },
        concurrency: 512,
        name: "conformance".to_owned(),
    };
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy::default()));
    Rabbit::start(config, SHARDS, Metrics::unregistered(), clock, entropy, Arc::new(NoTripwire))
}

/// Not an async closure given to a helper: what this is awaited in must be `Send` for every lifetime.
async fn connected(rabbit: &Rabbit) -> Result<()> {
    let connecting = async {
        while !rabbit.is_connected() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), connecting).await.context("the adapter does not connect")
}

fn refused(found: &Found) -> Rejected {
    let named = found.header("hookyard-reason").expect("a reason");
    let reason = RefusalReason::ALL.into_iter().find(|reason| reason.as_str() == named).expect("a reason we know");
    Rejected { reason, body: found.body.clone() }
}

fn buried(found: Found) -> DeadLetter {
    let (delivery, reason) = read_delivery(found.body).expect("a delivery");
    DeadLetter { delivery, reason: reason.expect("a reason") }
}

#[async_trait]
impl QueueBackend for Broker {
    fn events(&self) -> Arc<dyn Events> {
        self.rabbit()
    }

    fn deliveries(&self) -> Arc<dyn Deliveries> {
        self.rabbit()
    }

    fn rejections(&self) -> Arc<dyn Rejections> {
        self.rabbit()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    async fn pass(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }

    async fn restart(&self) {
        self.resume().await.expect("restarted");
    }

    async fn publish_unreadable(&self, body: Bytes) {
        self.amqp.publish("no.form", BasicProperties::default(), &body).await.expect("published");
    }

    async fn dead(&self) -> Vec<DeadLetter> {
        self.amqp.take_all("dead").await.expect("the dead letters").into_iter().map(buried).collect()
    }

    async fn rejected(&self) -> Vec<Rejected> {
        self.amqp.take_all("rejected").await.expect("the rejected ones").iter().map(refused).collect()
    }
}

mod events {
    hookyard_testkit::each_promise_of_events!(super::Broker::fresh().await);
}

mod deliveries {
    hookyard_testkit::each_promise_of_deliveries!(super::Broker::fresh().await);
}

/// An event whose type only its key tells keeps it, whoever dropped or gave back its claim.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_keeps_the_key_it_was_published_with() -> Result<()> {
    let broker = Broker::open().await?;
    connected(&broker.rabbit()).await?;
    let body = br#"{"data": {"id": 1}, "event_id": "e-1"}"#;
    broker.amqp.publish("user.created", BasicProperties::default(), body).await?;
    let events: Arc<dyn Events> = broker.rabbit();
    for round in 0..4 {
        let claim = events.claim(1).await.map_err(|fault| anyhow!(fault.chain()))?.remove(0);
        let event = claim.item.as_ref().map_err(|refusal| anyhow!("{refusal}"))?;
        ensure!(event.event_type.as_str() == "user.created", "round {round}: {}", event.event_type);
        if round % 2 == 0 {
            drop(claim);
        } else {
            events.give_back(claim.map(drop)).await.map_err(|fault| anyhow!(fault.chain()))?;
        }
    }
    let claim = events.claim(1).await.map_err(|fault| anyhow!(fault.chain()))?.remove(0);
    let refusal = Refusal::new(RefusalReason::Unreadable, "a test");
    events.reject(claim.map(drop), &refusal).await.map_err(|fault| anyhow!(fault.chain()))?;
    let rejected = broker.amqp.take_all("rejected").await?;
    ensure!(rejected[0].header("hookyard-routing-key") == Some("user.created"), "{rejected:?}");
    ensure!(rejected[0].header("hookyard-exchange") == Some(&format!("{}.events", broker.world.prefix)), "{rejected:?}");
    broker.rabbit().stop().await;
    Ok(())
}
