//! Looking at a broker with an operator's eyes: what is there, what differs, and what this user may not do.

use std::time::Duration;

use hookyard_core::Fault;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Connection};

use crate::config::{RabbitConfig, Shards};
use crate::connection::{close, connect};
use crate::names::Names;
use crate::rabbit::Rabbit;
use crate::topology::{Queue, Topology, short};

/// A broker that confirms nothing for so long takes nothing at the moment: it is under an alarm.
const CONFIRM_WITHIN: Duration = Duration::from_secs(3);

/// What was seen.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Of each queue, how it stands to what it should be.
    pub queues: Vec<(String, QueueStanding)>,
    /// Whether a message for nobody was taken and confirmed; if not, why.
    pub publishes: Result<(), String>,
}

/// How a queue stands to what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueStanding {
    /// It is as it should be.
    Same,
    /// It is not there.
    Absent,
    /// It is there with other arguments; what the broker says of it.
    Different(String),
    /// This user may not declare it; what the broker says.
    Forbidden(String),
}

impl Rabbit {
    /// Looks, and changes nothing: a queue is declared with its arguments only where one of its name is there.
    ///
    /// # Errors
    /// When the broker cannot be reached, or refuses this user.
    pub async fn inspect(config: &RabbitConfig, shards: Shards) -> Result<Inspection, Fault> {
        const OPERATION: &str = "inspect the broker";
        let connection = connect(config, "inspect").await?;
        let topology = Topology::new(&config.prefix, shards);
        let mut queues = Vec::new();
        for queue in &topology.queues {
            let standing = standing(&connection, queue).await.map_err(|error| Fault::unavailable(OPERATION, error))?;
            queues.push((queue.name.clone(), standing));
        }
        let publishes = publishes(&connection, &Names::new(&config.prefix)).await;
        let inspection = Inspection { queues, publishes };
        close(connection).await;
        Ok(inspection)
    }
}

/// A refusal closes the channel, so each question has one of its own.
async fn standing(connection: &Connection, queue: &Queue) -> lapin::Result<QueueStanding> {
    let channel = connection.create_channel().await?;
    if let Err(error) = queue.declare(&channel, true).await {
        return match reply_code(&error) {
            Some(404) => Ok(QueueStanding::Absent),
            Some(403) => Ok(QueueStanding::Forbidden(error.to_string())),
            Some(_) => Ok(QueueStanding::Different(error.to_string())),
            None => Err(error),
        };
    }
    let declared = queue.declare(&channel, false).await;
    match declared {
        Ok(()) => Ok(QueueStanding::Same),
        Err(error) => match reply_code(&error) {
            Some(403) => Ok(QueueStanding::Forbidden(error.to_string())),
            Some(_) => Ok(QueueStanding::Different(error.to_string())),
            None => Err(error),
        },
    }
}

/// Publishes to a key nothing is bound to, on the exchange without alternate: nobody gets it, and the broker says whether it would.
async fn publishes(connection: &Connection, names: &Names) -> Result<(), String> {
    let attempt = async {
        let channel: Channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        // A broker under an alarm still takes the first message of a connection, and reads no further.
        for _ in 0..2 {
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            channel.basic_publish(short(""), short(&names.probe()), options, b"", properties).await?.await?;
        }
        Ok::<(), lapin::Error>(())
    };
    match tokio::time::timeout(CONFIRM_WITHIN, attempt).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("it confirmed nothing within {} s", CONFIRM_WITHIN.as_secs())),
    }
}

/// The code with which the broker closed the channel.
fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}
