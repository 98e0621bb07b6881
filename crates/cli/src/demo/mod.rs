//! A demonstration that proves itself: receivers on loopback, events, and what must come of them.

mod script;
mod stage;
mod table;
mod verdict;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use reqwest::Method;
use serde_json::{Value, json};

use self::script::{EVENTS, Part};
use self::stage::{Hit, Stage};
use self::table::Table;
use self::verdict::Verdict;
use crate::client::{Server, value_of};
use crate::output::talk;

/// The application it happens in: made anew each time.
pub const APP: &str = "demo";
/// Far longer than the script takes, which is some seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it is watched for something that must not come any more.
const QUIET: Duration = Duration::from_millis(1500);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A dead letter, as the API tells of it.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    id: String,
    part: Part,
    message: String,
    reason: String,
    attempts: usize,
}

/// Plays the script against a running service.
///
/// # Errors
/// When something did not come as it must; what, was said before.
pub async fn play(server: &Server) -> anyhow::Result<()> {
    let stage = Stage::open().await?;
    let play = Play { server, stage, endpoints: Vec::new() };
    play.run().await
}

struct Play<'a> {
    server: &'a Server,
    stage: Stage,
    /// Ids of the endpoints.
    endpoints: Vec<(Part, String)>,
}

impl Play<'_> {
    async fn run(mut self) -> anyhow::Result<()> {
        self.set_up().await?;
        let begun = Instant::now();
        let messages = self.publish().await?;
        talk(&format!("published {} events to {} endpoints\n", messages.len(), self.endpoints.len()));
        let (hits, dead) = self.watch(&messages).await?;
        talk("");
        let mut verdict = Verdict::default();
        verdict::judge(&mut verdict, &hits, &dead, &messages);
        self.check_gone(&mut verdict).await?;
        self.check_replay(&mut verdict, &hits, &dead).await?;
        talk("");
        match verdict.failed() {
            0 => {
                talk(&format!("everything came as it must, in {:.1} s", begun.elapsed().as_secs_f64()));
                Ok(())
            }
            failed => bail!("{failed} things did not come as they must"),
        }
    }

    async fn set_up(&mut self) -> anyhow::Result<()> {
        let app = format!("/app/{APP}");
        // Left by the time before, with receivers that are gone.
        if self.server.call(Method::GET, &app, None).await.is_ok() {
            self.server.call(Method::DELETE, &app, None).await?;
        }
        self.server.call(Method::POST, "/app", Some(&json!({"name": "Demonstration", "uid": APP}))).await?;
        for part in Part::ALL {
            let endpoint = part.endpoint(&self.stage.url(part));
            let created = self.server.call(Method::POST, &format!("{app}/endpoint"), Some(&endpoint)).await?;
            let secret = self.server.call(Method::GET, &format!("{app}/endpoint/{}/secret", part.name()), None).await?;
            self.stage.expect(part, text(&secret, "key")?)?;
            self.endpoints.push((part, text(&created, "id")?.to_owned()));
        }
        Ok(())
    }

    /// Publishes every event; their message ids.
    async fn publish(&self) -> anyhow::Result<Vec<String>> {
        let mut ids = Vec::with_capacity(EVENTS.len());
        for event in &EVENTS {
            // As text: the payload's bytes are to arrive as they are.
            let channels = json!(event.channel.map(|channel| vec![channel]).unwrap_or_default());
            let body = format!(r#"{{"eventType": "{}", "channels": {channels}, "payload": {}}}"#, event.kind, event.data);
            let answer = value_of(&self.server.send(Method::POST, &format!("/app/{APP}/msg"), Some(body)).await?);
            ids.push(text(&answer, "id")?.to_owned());
        }
        Ok(ids)
    }

    /// Shows what comes until nothing more must come, and then that nothing more does.
    async fn watch(&self, messages: &[String]) -> anyhow::Result<(Vec<Hit>, Vec<DeadLetter>)> {
        let count = |part: Part| EVENTS.iter().filter(|event| part.wants(event)).count();
        let mut table = Table::new(Part::ALL.into_iter().map(|part| (part, count(part))).collect());
        let begun = Instant::now();
        loop {
            let (hits, dead) = (self.stage.hits(), self.dead_letters().await?);
            table.show(&hits, &dead);
            if verdict::is_over(&hits, &dead, messages) || begun.elapsed() > PATIENCE {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        tokio::time::sleep(QUIET).await;
        let (hits, dead) = (self.stage.hits(), self.dead_letters().await?);
        table.finish(&hits, &dead);
        Ok((hits, dead))
    }

    async fn dead_letters(&self) -> anyhow::Result<Vec<DeadLetter>> {
        let answer = self.server.call(Method::GET, &format!("/app/{APP}/dead-letter?limit=250"), None).await?;
        let letters = answer["data"].as_array().context("a list")?;
        letters.iter().map(|letter| self.dead_letter(letter)).collect()
    }

    fn dead_letter(&self, letter: &Value) -> anyhow::Result<DeadLetter> {
        let endpoint = text(letter, "endpointId")?;
        let (part, _) = self.endpoints.iter().find(|(_, id)| id == endpoint).context("a dead letter of an endpoint of ours")?;
        Ok(DeadLetter {
            id: text(letter, "id")?.to_owned(),
            part: *part,
            message: text(letter, "msgId")?.to_owned(),
            reason: text(letter, "reason")?.to_owned(),
            attempts: letter["attempts"].as_u64().and_then(|count| usize::try_from(count).ok()).context("attempts")?,
        })
    }

    async fn check_gone(&self, verdict: &mut Verdict) -> anyhow::Result<()> {
        let endpoint = self.server.call(Method::GET, &format!("/app/{APP}/endpoint/{}", Part::Gone.name()), None).await?;
        let off = endpoint["disabled"] == true;
        verdict.check("the endpoint whose receiver said gone is switched off", (!off).then(|| "it is not".to_owned()));
        Ok(())
    }

    async fn check_replay(&self, verdict: &mut Verdict, before: &[Hit], dead: &[DeadLetter]) -> anyhow::Result<()> {
        let failed: Vec<DeadLetter> = dead.iter().filter(|letter| letter.part == Part::AlwaysFails).cloned().collect();
        self.stage.mend();
        let ids: Vec<&str> = failed.iter().map(|letter| letter.id.as_str()).collect();
        self.server.call(Method::POST, &format!("/app/{APP}/dead-letter/replay"), Some(&json!({ "ids": ids }))).await?;
        let begun = Instant::now();
        while self.stage.hits().len() < before.len() + failed.len() && begun.elapsed() < PATIENCE {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        tokio::time::sleep(LOOK_AGAIN * 3).await;
        verdict::judge_replay(verdict, before, &self.stage.hits(), &self.dead_letters().await?, &failed);
        Ok(())
    }
}

fn text<'a>(answer: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    answer[field].as_str().with_context(|| format!("the answer has no {field}"))
}
