//! A connection to the broker: begun, watched, and ended.

use std::time::Duration;

use futures_util::StreamExt as _;
use hookyard_core::{Fault, FaultKind};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use tokio_util::sync::CancellationToken;

use crate::blocked::Blocked;
use crate::config::RabbitConfig;
use crate::guard;
use crate::topology::short;

/// Time to reach the broker and agree on a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time to send the last acks, and for the broker's answer to a goodbye.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Seconds between heartbeats: a dead peer is noticed within twice that.
const HEARTBEAT_S: u16 = 10;

/// Whether a text is a broker's URL.
pub fn is_url(text: &str) -> bool {
    text.parse::<AMQPUri>().is_ok()
}

/// Connects, under the process's name and this purpose.
pub async fn connect(config: &RabbitConfig, purpose: &str) -> Result<Connection, Fault> {
    connect_framed(config, purpose, None).await
}

/// The same with no larger frames than so many bytes. The library keeps room for 64 of them, whatever comes.
pub async fn connect_framed(config: &RabbitConfig, purpose: &str, frame_max: Option<u32>) -> Result<Connection, Fault> {
    let mut uri: AMQPUri = config.url.parse().map_err(|error: String| {
        // The text may hold a password.
        Fault::caused(FaultKind::Refused, "read the broker's URL", error.replace(&config.url, "…"))
    })?;
    uri.query.heartbeat = Some(HEARTBEAT_S);
    uri.query.frame_max = [frame_max, uri.query.frame_max.filter(|bytes| *bytes > 0)].into_iter().flatten().min();
    let name = format!("{} {purpose}", config.name);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let connecting = guard::connect(uri, properties);
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected.map_err(|error| Fault::unavailable("connect to the broker", error)),
        Err(elapsed) => Err(Fault::unavailable("connect to the broker", elapsed)),
    }
}

/// Says goodbye, and does not wait for ever for the answer: lapin's close never returns when one of the connection's channels is
/// being closed at the same moment. A connection that is dropped unanswered is closed all the same.
pub async fn close(connection: Connection) {
    match tokio::time::timeout(CLOSE_TIMEOUT, connection.close(200, short("bye"))).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the connection was already closed"),
        Err(_) => tracing::debug!("the broker's goodbye did not come"),
    }
}

/// Follows what happens to a connection until `dead`, which its end cancels.
pub fn watch(connection: &Connection, blocked: Blocked, dead: CancellationToken) {
    let mut events = Box::pin(connection.events_listener());
    #[expect(clippy::disallowed_methods, reason = "ends its session however it ends")]
    tokio::spawn(async move {
        // However this ends, the session ends with it, and another begins.
        let _ends_session = dead.clone().drop_guard();
        loop {
            let event = tokio::select! {
                () = dead.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                Some(lapin::Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(reason, "the broker blocks publishing");
                    blocked.set(true);
                }
                Some(lapin::Event::ConnectionUnblocked) => {
                    tracing::info!("the broker no longer blocks publishing");
                    blocked.set(false);
                }
                Some(lapin::Event::Error(error)) => {
                    tracing::warn!(%error, "the connection to the broker broke");
                    dead.cancel();
                }
                Some(_) => {}
                None => {
                    dead.cancel();
                    return;
                }
            }
        }
    });
}
