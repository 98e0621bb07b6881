//! A connection beside the flow's session, for looking again and again: kept between looks, and begun anew after an error. Whatever a
//! look meets, the flow does not hear of it.

use std::sync::Arc;

use hookyard_core::Fault;
use lapin::Connection;
use tokio::sync::Mutex;

use crate::session::{Rabbit, close};

/// The connection, while there is one.
pub type Beside = Mutex<Option<Arc<Connection>>>;

impl Rabbit {
    /// Looks, one look at a time.
    pub(crate) async fn look_beside<T, F>(&self, look: impl FnOnce(Arc<Connection>) -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let mut kept = self.beside.lock().await;
        let connection = match kept.take().filter(|kept| kept.status().connected()) {
            Some(connection) => connection,
            None => Arc::new(Self::connect_once(&self.config, "survey").await?),
        };
        let looked = look(Arc::clone(&connection)).await;
        if looked.is_ok() {
            *kept = Some(connection);
        } else {
            end(connection).await;
        }
        looked
    }

    /// Looks no more.
    pub(crate) async fn stop_looking(&self) {
        if let Some(connection) = self.beside.lock().await.take() {
            end(connection).await;
        }
    }
}

async fn end(connection: Arc<Connection>) {
    if let Some(connection) = Arc::into_inner(connection) {
        close(connection).await;
    }
}
