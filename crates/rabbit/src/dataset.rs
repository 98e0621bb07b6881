//! The anchor: which dataset this broker belongs to, remembered where an emptied store cannot forget it.
//!
//! The exchange `<prefix>.dataset` names `<prefix>.dataset.<id>` as its alternate. RabbitMQ refuses (406) to declare it with
//! another one.

use hookyard_core::{Fault, FaultKind};
use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ErrorKind, ExchangeKind};

use crate::connection::{close, connect};
use crate::rabbit::Rabbit;
use crate::topology::{short, text};

/// How the broker's anchor stands to a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// There is none.
    None,
    /// It is of the dataset asked about.
    Same,
    /// It is of another dataset.
    Other,
}

/// Replies of the broker (AMQP 0-9-1 §1.2): the exchange does not exist; it exists with other arguments.
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;

impl Rabbit {
    /// How the anchor stands to `dataset`; `None` asks only whether there is one (then the answer is `None` or `Other`).
    pub async fn anchor(config: &crate::RabbitConfig, dataset: Option<&str>) -> Result<Anchor, Fault> {
        let connection = connect(config, "dataset").await?;
        let names = crate::Names::new(&config.prefix);
        let answer = async {
            if !exists(&connection, &names.dataset()).await? {
                return Ok(Anchor::None);
            }
            let Some(dataset) = dataset else { return Ok(Anchor::Other) };
            if declare(&connection, &names.dataset(), &names.dataset_anchor(dataset)).await? {
                Ok(Anchor::Same)
            } else {
                Ok(Anchor::Other)
            }
        };
        let answer = answer.await;
        close(connection).await;
        answer
    }

    /// Drops the anchor for `dataset` if there is none. Whether it is in place afterwards.
    pub async fn drop_anchor(config: &crate::RabbitConfig, dataset: &str) -> Result<bool, Fault> {
        let connection = connect(config, "dataset").await?;
        let names = crate::Names::new(&config.prefix);
        let placed = declare(&connection, &names.dataset(), &names.dataset_anchor(dataset)).await;
        close(connection).await;
        placed
    }

    /// Weighs the anchor: forgets which dataset this broker belongs to. Only an operator may ask for this.
    pub async fn weigh_anchor(config: &crate::RabbitConfig) -> Result<(), Fault> {
        let connection = connect(config, "dataset").await?;
        let name = crate::Names::new(&config.prefix).dataset();
        let broken = |error: lapin::Error| Fault::unavailable("weigh the anchor", error);
        let channel = connection.create_channel().await.map_err(broken)?;
        channel.exchange_delete(short(&name), ExchangeDeleteOptions::default()).await.map_err(broken)?;
        close(connection).await;
        Ok(())
    }
}

async fn exists(connection: &Connection, name: &str) -> Result<bool, Fault> {
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let declared = on_channel(connection, name, options, FieldTable::default()).await?;
    Ok(declared != Some(NOT_FOUND))
}

async fn declare(connection: &Connection, name: &str, alternate: &str) -> Result<bool, Fault> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("alternate-exchange".into(), text(alternate));
    let declared = on_channel(connection, name, options, arguments).await?;
    Ok(declared.is_none())
}

/// Declares on a channel of its own, because a refusal closes it; the refusal's code, or nothing when it was accepted.
async fn on_channel(
    connection: &Connection,
    name: &str,
    options: ExchangeDeclareOptions,
    arguments: FieldTable,
) -> Result<Option<u16>, Fault> {
    let broken = |error: lapin::Error| Fault::unavailable("look at the anchor", error);
    let channel = connection.create_channel().await.map_err(broken)?;
    match channel.exchange_declare(short(name), ExchangeKind::Fanout, options, arguments).await {
        Ok(()) => Ok(None),
        Err(error) => match error.kind() {
            ErrorKind::ProtocolError(amqp) if [NOT_FOUND, PRECONDITION_FAILED].contains(&amqp.get_id()) => {
                Ok(Some(amqp.get_id()))
            }
            _ => Err(Fault::caused(FaultKind::Unavailable, "look at the anchor", error)),
        },
    }
}
