//! Pages of lists: sorted sets whose members sort as their ids do, newest last.

use hookyard_core::Fault;
use hookyard_core::journal::{Cursor, Page, PageRequest};
use hookyard_telemetry::label::StoreOp;

use crate::client::Server;

/// Which way to walk a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// From newer to older items.
    Older,
    /// From older to newer items.
    Newer,
}

/// Members of one sorted set beyond `from` (exclusive), nearest first, at most `count`.
pub async fn walk(
    server: &Server,
    operation: &'static str,
    key: &str,
    towards: Towards,
    from: Option<&[u8]>,
    count: usize,
) -> Result<Vec<Vec<u8>>, Fault> {
    let mut pipeline = redis::pipe();
    let bound = |open: &[u8]| from.map_or_else(|| open.to_vec(), |from| [b"(", from].concat());
    match towards {
        Towards::Older => pipeline.cmd("ZREVRANGEBYLEX").arg(key).arg(bound(b"+")).arg("-"),
        Towards::Newer => pipeline.cmd("ZRANGEBYLEX").arg(key).arg(bound(b"-")).arg("+"),
    };
    // The last command of the pipeline takes the limit.
    pipeline.arg("LIMIT").arg(0).arg(count);
    let (members,): (Vec<Vec<u8>>,) = server.query(StoreOp::Read, operation, &pipeline).await?;
    Ok(members)
}

/// A page of one sorted set of text ids, newest first.
pub async fn page_by_text(
    server: &Server,
    operation: &'static str,
    key: &str,
    page: PageRequest<String>,
) -> Result<Page<String>, Fault> {
    let (towards, from) = match page.from {
        None => (Towards::Older, None),
        Some(Cursor::After(id)) => (Towards::Older, Some(id)),
        Some(Cursor::Before(id)) => (Towards::Newer, Some(id)),
    };
    let members = walk(server, operation, key, towards, from.as_deref().map(str::as_bytes), page.limit + 1).await?;
    let done = members.len() <= page.limit;
    let mut items: Vec<String> =
        members.into_iter().take(page.limit).map(|member| String::from_utf8_lossy(&member).into_owned()).collect();
    if towards == Towards::Newer {
        items.reverse();
    }
    Ok(Page::whole(items, done))
}
