//! A connection beside the flow's session, for counting again and again: kept between looks, and begun anew after an error. Nothing is
//! published on it: under an alarm a broker stops reading from those that publish, and what waits is wanted most then.

use std::sync::Arc;
use std::time::Duration;

use hookyard_core::Fault;
use lapin::Connection;
use tokio::sync::Mutex;

use crate::connection::{close, connect};
use crate::rabbit::Rabbit;

/// A look that takes longer is given up, and its connection with it: a busy broker answers some thirty questions within a second.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// The connection, while there is one.
pub type Beside = Mutex<Option<Arc<Connection>>>;

impl Rabbit {
    /// Looks, one look at a time.
    pub(crate) async fn look_beside<T, F>(
        &self,
        operation: &'static str,
        look: impl FnOnce(Arc<Connection>) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let mut kept = self.beside.lock().await;
        let connection = match kept.take().filter(|kept| kept.status().connected()) {
            Some(connection) => connection,
            None => Arc::new(connect(&self.config, "survey").await?),
        };
        let looked = tokio::time::timeout(LOOK_TIMEOUT, look(Arc::clone(&connection))).await;
        let looked = looked.unwrap_or_else(|elapsed| Err(Fault::unavailable(operation, elapsed)));
        if looked.is_ok() {
            *kept = Some(connection);
        } else {
            end(connection).await;
        }
        looked
    }

    /// Looks no more. Whoever looks just now lets go of the connection with the process.
    pub(crate) async fn stop_looking(&self) {
        let kept = self.beside.try_lock().ok().and_then(|mut kept| kept.take());
        if let Some(connection) = kept {
            end(connection).await;
        }
    }
}

async fn end(connection: Arc<Connection>) {
    if let Some(connection) = Arc::into_inner(connection) {
        close(connection).await;
    }
}
