//! The journal's writer: collects what arrives while the last group is on its way, and sends it as one pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookyard_core::journal::{Entry, MessageRecord};
use hookyard_core::{AppId, Fault, FaultKind};
use hookyard_telemetry::label::StoreOp;
use tokio::sync::{mpsc, oneshot};

use crate::activity::Announcer;
use crate::client::RedisStore;
use crate::keys;
use crate::record::Call;

/// Groups waiting to be written: what a few milliseconds of a busy process bring.
const MAILBOX: usize = 4_096;
/// Entries in one script call: it holds the server for well under a millisecond or two.
const ENTRIES_PER_CALL: usize = 100;
/// Groups taken from the mailbox at once.
const GROUPS: usize = 1_000;
/// Bytes of events and responses in one pipeline: a server takes as much well within the time it has to answer.
const PIPELINE_BYTES: usize = 4 * 1024 * 1024;

/// After a pipeline the next one waits this long for company: a write costs the server, and whoever waits for it, much the same for one
/// entry or for many. Nobody's delivery waits for its record.
const GATHER: Duration = Duration::from_millis(5);

/// A group to write and who waits for it.
pub struct Group {
    pub entries: Arc<[Entry]>,
    pub written: oneshot::Sender<Result<(), Fault>>,
}

/// A writer, which writes as long as it is polled and there are senders.
pub fn writer(store: RedisStore) -> (mpsc::Sender<Group>, impl Future<Output = ()> + Send + 'static) {
    let (sender, receiver) = mpsc::channel(MAILBOX);
    (sender, run(store, receiver))
}

async fn run(store: RedisStore, mut mailbox: mpsc::Receiver<Group>) {
    let (mut groups, mut announcer): (Vec<Group>, _) = (Vec::new(), Announcer::new());
    while mailbox.recv_many(&mut groups, GROUPS).await > 0 {
        let mut news = Vec::new();
        let result = write(&store, groups.iter().flat_map(|group| group.entries.iter()), &announcer, &mut news).await;
        for group in groups.drain(..) {
            let result = match &result {
                Ok(()) => Ok(()),
                Err(fault) => Err(Fault::caused(fault.kind, "write the journal", fault.chain())),
            };
            if group.written.send(result).is_err() {
                tracing::trace!("nobody waits for this record any more");
            }
        }
        for one in news {
            announce(&store, one, &mut announcer).await;
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// Writes entries, as many pipelines as their bytes ask for, and adds what is to be announced of those that are written.
async fn write(
    store: &RedisStore,
    entries: impl Iterator<Item = &Entry>,
    announcer: &Announcer,
    news: &mut Vec<Vec<u8>>,
) -> Result<(), Fault> {
    let (mut part, mut bytes) = (Vec::new(), 0);
    for entry in entries {
        part.push(entry);
        bytes += weight(entry);
        if bytes > PIPELINE_BYTES {
            write_part(store, &part).await?;
            news.extend(announcer.announce(&part));
            (part, bytes) = (Vec::new(), 0);
        }
    }
    write_part(store, &part).await?;
    news.extend(announcer.announce(&part));
    Ok(())
}

/// The bytes of an entry that differ by more than a few hundred.
fn weight(entry: &Entry) -> usize {
    match entry {
        Entry::Message(record) => record.message.event.data.len() + record.routed_to.as_ref().map_or(0, |ids| ids.len() * 20),
        Entry::Attempt(record) => record.result.response.len(),
        Entry::End(_) | Entry::Run(_) => 0,
    }
}

/// One pipeline, with one script call per application and [`ENTRIES_PER_CALL`].
async fn write_part(store: &RedisStore, entries: &[&Entry]) -> Result<(), Fault> {
    let mut by_app: BTreeMap<AppId, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        by_app.entry(entry.app()).or_default().push(entry);
    }
    let mut pipeline = redis::pipe();
    for (app, entries) in by_app {
        for chunk in entries.chunks(ENTRIES_PER_CALL) {
            let mut call = Call::new(app);
            for entry in chunk {
                call.add(entry);
            }
            pipeline.invoke_script(&call.invoke(&store.journal.scripts.record, store.retention)).ignore();
        }
    }
    if pipeline.is_empty() {
        return Ok(());
    }
    for entry in entries {
        if let Entry::Message(MessageRecord { message, .. }) = entry
            && let Some(kept) = message.event.data_kept
        {
            let member = [&message.app.as_bytes()[..], message.id.as_bytes()].concat();
            pipeline.zadd(keys::DATA_KEPT, member, message.id.time().plus(kept).as_millis()).ignore();
        }
    }
    store.journal.query(StoreOp::Record, "write the journal", &pipeline).await
}

/// Tells those who listen what was written. It is sent apart from what is written, which a server that forgot the scripts is sent twice.
async fn announce(store: &RedisStore, news: Vec<u8>, announcer: &mut Announcer) {
    let mut pipeline = redis::pipe();
    pipeline.publish(keys::ACTIVITY, news);
    match store.journal.query::<(i64,)>(StoreOp::Record, "tell the activity", &pipeline).await {
        Ok((listeners,)) => announcer.received(listeners),
        Err(fault) => {
            tracing::debug!(error = fault.chain(), "the activity is not told");
            announcer.received(0);
        }
    }
}

/// A fault for everybody who waits on a writer that is gone.
pub fn gone() -> Fault {
    Fault::new(FaultKind::Unavailable, "write the journal")
}

/// Bytes of a stored record.
pub fn owned(bytes: Vec<u8>) -> Bytes {
    Bytes::from(bytes)
}
