//! A fuzzer of what publishers write into content headers, on a real broker: what the broker confirmed is delivered or refused, each
//! message once, and no session ends. `HOOKYARD_TEST_FUZZED` is how many messages, `HOOKYARD_TEST_SEED` where chance begins.

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::raw_amqp::{RawAmqp, RawProperties, long, nested, short, tagged};
use hookyard_e2e::{Api, World, eventually, or_more};
use serde_json::json;

/// Messages between two looks whether everything arrived.
const ROUND: usize = 200;
/// What begins a run in the suite: each found something once, or reaches what chance seldom does.
const SEEDS: [u64; 3] = [1, 20_261_128, 0x00c0_ffee];

/// Chance that can be repeated: splitmix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or_default()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    /// Mostly what is meant, sometimes anything.
    fn text(&mut self, meant: &[&[u8]]) -> Vec<u8> {
        if self.one_in(4) { self.bytes(40) } else { self.one_of(meant).to_vec() }
    }

    /// A value with its tag; what the broker does not take closes the connection, and is tried, too.
    fn value(&mut self, depth: usize) -> Vec<u8> {
        match self.below(if depth > 4 { 13 } else { 17 }) {
            0 => b"V".to_vec(),
            1 => tagged(b't', &[1]),
            2 => tagged(b'b', &self.next().to_be_bytes()[..1]),
            3 => tagged(b's', &self.next().to_be_bytes()[..2]),
            4 => tagged(b'I', &self.next().to_be_bytes()[..4]),
            5 => tagged(b'l', &self.next().to_be_bytes()),
            6 => tagged(b'T', &self.next().to_be_bytes()),
            7 => tagged(b'd', &self.next().to_be_bytes()),
            8 => tagged(b'D', &self.next().to_be_bytes()[..5]),
            9 => tagged(b'x', &long(&self.bytes(60))),
            10 if self.one_in(200) => self.bytes(6),
            10..=12 => tagged(b'S', &long(&self.text(&[b"default", b"acme", b"eu,vip", b"1.0", b"/s", b"2026-01-31T12:00:00Z"]))),
            13 | 14 => {
                let values = (0..self.below(4)).map(|_| self.value(depth + 1)).collect::<Vec<_>>().concat();
                tagged(b'A', &long(&values))
            }
            15 => {
                let entries = (0..self.below(4)).map(|_| [short(&self.bytes(6)), self.value(depth + 1)].concat());
                let entries = entries.collect::<Vec<_>>().concat();
                tagged(b'F', &long(&entries))
            }
            _ => nested(self.below(30)),
        }
    }

    fn headers(&mut self) -> Vec<u8> {
        const NAMES: &[&[u8]] = &[
            b"hookyard-app",
            b"hookyard-channels",
            b"hookyard-unreadable",
            b"hookyard-original",
            b"hookyard-failures",
            b"hookyard-exchange",
            b"hookyard-routing-key",
            b"traceparent",
            b"compression",
            b"cloudEvents_specversion",
            b"cloudEvents_id",
            b"cloudEvents_source",
            b"cloudEvents_type",
            b"cloudEvents:time",
            b"ce-specversion",
            b"x-death",
        ];
        let mut table = Vec::new();
        for _ in 0..self.below(6) {
            table.extend(short(&self.text(NAMES)));
            table.extend(self.value(0));
        }
        if self.one_in(50) {
            table.extend(short(b"pad"));
            table.extend(tagged(b'S', &long(&vec![b'x'; 130_000 - table.len().min(1_000) + self.below(900)])));
        }
        long(&table)
    }

    /// Fields in their order (AMQP 0-9-1 §1.8), each there or not.
    fn properties(&mut self) -> RawProperties {
        let (mut flags, mut values) = (0_u16, Vec::new());
        for bit in (2..16).rev() {
            let is_likely = [13, 12, 5].contains(&bit);
            if !(is_likely && !self.one_in(4) || self.one_in(6)) {
                continue;
            }
            flags |= 1 << bit;
            values.extend(match bit {
                13 => self.headers(),
                // RabbitMQ checks the user, and takes back what expires.
                4 | 8 => {
                    flags &= !(1 << bit);
                    Vec::new()
                }
                12 => vec![2],
                11 => vec![u8::try_from(self.below(10)).unwrap_or_default()],
                6 => self.next().to_be_bytes().to_vec(),
                15 => short(&self.text(&[b"application/json", b"application/cloudevents+json", b"text/plain"])),
                14 => short(&self.text(&[b"utf-8", b"gzip", b""])),
                5 => short(&self.text(&[b"order.paid", b"amqp-1.0"])),
                _ => short(&self.bytes(30)),
            });
        }
        RawProperties::raw(flags, values)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_confirms_is_delivered_or_refused_once() -> Result<()> {
    let world = World::new().await?;
    let running = world.start().await?;
    let (api, amqp) = (Api::of(&running)?, world.amqp().await?);
    api.endpoint("default", &world.receiver.url("/all"), json!({})).await?;
    let url = world.config().amqp_url.context("a broker")?;
    let rounds = or_more("HOOKYARD_TEST_FUZZED", SEEDS.len() * ROUND).div_ceil(ROUND);
    let first = u64::try_from(or_more("HOOKYARD_TEST_SEED", 0))?;
    let (mut number, mut confirmed) = (0_usize, 0_usize);
    for round in 0..rounds {
        let seed = SEEDS.get(round).filter(|_| first == 0).copied().unwrap_or(first + u64::try_from(round)?);
        let mut chance = Chance(seed);
        let mut raw = RawAmqp::connect(&url, &world.prefix).await?;
        for _ in 0..ROUND {
            number += 1;
            // No two are alike: what was confirmed can be counted.
            let body = format!("{{\"data\": {number}}}");
            let (key, properties) = (chance.text(&[b"order.paid", b"k"]), chance.properties());
            match raw.publish(&key, &properties, body.as_bytes()).await {
                Ok(()) => confirmed += 1,
                // The broker itself did not take it.
                Err(_) => raw = RawAmqp::connect(&url, &world.prefix).await?,
            }
        }
        let accounted = async || {
            let rejected = amqp.depth("rejected").await.ok().and_then(|depth| usize::try_from(depth).ok());
            rejected.is_some_and(|rejected| rejected + world.receiver.hits().len() == confirmed)
        };
        eventually(&format!("what seed {seed} published is delivered or refused"), accounted).await?;
        ensure!(running.metrics.amqp_reconnects_total.get() == 0, "seed {seed}: a session ended");
    }
    ensure!(confirmed > number / 2, "the broker took only {confirmed} of {number}");
    ensure!(!world.receiver.hits().is_empty() && amqp.depth("rejected").await? > 0, "some of both");
    running.drain().await;
    Ok(())
}
