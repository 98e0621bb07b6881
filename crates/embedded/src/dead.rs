//! Dead letters on SQLite: the row of one follows its state, so there is nothing to sweep.

use async_trait::async_trait;
use hookyard_core::Fault;
use hookyard_core::port::{DeadJudge, DeadLetterQueue, Swept};

use crate::store::Store;

#[async_trait]
impl DeadLetterQueue for Store {
    async fn sweep(&self, _most: usize, _judge: &dyn DeadJudge) -> Result<Swept, Fault> {
        Ok(Swept::default())
    }
}
