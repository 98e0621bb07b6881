//! The answers' port on SQLite.

use std::time::Duration;

use async_trait::async_trait;
use hookyard_core::Fault;
use hookyard_core::port::{AnswerKey, Answers, Begun};
use rusqlite::{Connection, OptionalExtension as _};

use crate::store::Store;

#[async_trait]
impl Answers for Store {
    async fn begin(&self, key: AnswerKey, lease: Duration) -> Result<Begun, Fault> {
        let now = self.0.seams.clock.now();
        let begin = move |connection: &Connection| {
            connection.prepare_cached("DELETE FROM answers WHERE until <= ?1")?.execute([now.as_millis()])?;
            let take = "INSERT OR IGNORE INTO answers (key, until) VALUES (?1, ?2)";
            if connection.prepare_cached(take)?.execute((&key[..], now.plus(lease).as_millis()))? == 1 {
                return Ok(Begun::First);
            }
            let query = "SELECT answer FROM answers WHERE key = ?1";
            let found = connection.prepare_cached(query)?.query_row([&key[..]], |row| row.get::<_, Option<Vec<u8>>>(0));
            Ok(found.optional()?.flatten().map_or(Begun::Elsewhere, Begun::Answered))
        };
        self.0.write("begin an answer", begin).await
    }

    async fn finish(&self, key: AnswerKey, answer: Option<Vec<u8>>, kept: Duration) -> Result<(), Fault> {
        let until = self.0.seams.clock.now().plus(kept).as_millis();
        let finish = move |connection: &Connection| {
            let Some(answer) = &answer else {
                return connection.prepare_cached("DELETE FROM answers WHERE key = ?1")?.execute([&key[..]]).map(drop);
            };
            let put = "INSERT OR REPLACE INTO answers (key, answer, until) VALUES (?1, ?2, ?3)";
            connection.prepare_cached(put)?.execute((&key[..], answer, until)).map(drop)
        };
        self.0.write("finish an answer", finish).await
    }
}
