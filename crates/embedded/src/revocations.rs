//! The revocations' port on SQLite.

use async_trait::async_trait;
use hookyard_core::port::Revocations;
use hookyard_core::{Fault, Timestamp};
use rusqlite::Connection;

use crate::store::Store;

#[async_trait]
impl Revocations for Store {
    async fn revoke(&self, token: &str, until: Timestamp) -> Result<(), Fault> {
        let (token, now) = (token.to_owned(), self.0.seams.clock.now());
        let revoke = move |connection: &Connection| {
            connection.prepare_cached("DELETE FROM revoked WHERE until <= ?1")?.execute([now.as_millis()])?;
            let put = "INSERT OR REPLACE INTO revoked (token, until) VALUES (?1, ?2)";
            connection.prepare_cached(put)?.execute((&token, until.as_millis())).map(drop)
        };
        self.change("revoke a token", revoke).await
    }

    async fn revoked(&self, now: Timestamp) -> Result<Vec<String>, Fault> {
        let read = move |connection: &Connection| {
            let mut query = connection.prepare_cached("SELECT token FROM revoked WHERE until > ?1")?;
            query.query_map([now.as_millis()], |row| row.get(0))?.collect()
        };
        self.look("read revoked tokens", read).await
    }
}
