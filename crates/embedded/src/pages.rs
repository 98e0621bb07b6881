//! Pages of lists, newest first.

use hookyard_core::id::ID_BYTES;
use hookyard_core::journal::{Cursor, Page};
use hookyard_core::{Fault, MessageId, Timestamp};
use rusqlite::types::Type;
use rusqlite::{Error, Row, Rows};

/// Entries of a list looked at for one page: what a filter leaves out costs time too.
const EXAMINED_MOST: usize = 10_000;

/// The bytes of a cursor's id, and whether the page lies towards newer items.
pub fn cursor_bytes<I>(cursor: Cursor<I>, bytes: impl Fn(&I) -> &[u8; 20]) -> (bool, Vec<u8>) {
    match cursor {
        Cursor::After(id) => (false, bytes(&id).to_vec()),
        Cursor::Before(id) => (true, bytes(&id).to_vec()),
    }
}

/// Where a page begins; without a cursor, above every id.
pub fn bounds(cursor: Option<(bool, Vec<u8>)>) -> (bool, Vec<u8>) {
    cursor.unwrap_or_else(|| (false, vec![u8::MAX; 21]))
}

/// The end of a query whose last condition is on the id, with the bound as ?1.
pub fn towards(newer: bool) -> &'static str {
    if newer { "> ?1 ORDER BY id" } else { "< ?1 ORDER BY id DESC" }
}

/// The same with the limit as ?2.
pub fn beyond(newer: bool) -> String {
    format!("{} LIMIT ?2", towards(newer))
}

/// One more than a page, to know whether there is another.
pub fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1
}

/// A page, newest first, of what a query [`beyond`] the cursor brought.
pub fn paged<R, T>(rows: Vec<R>, newer: bool, limit: usize, read: impl Fn(R) -> Result<T, Fault>) -> Result<Page<T>, Fault> {
    let done = rows.len() <= limit;
    let mut items: Vec<T> = rows.into_iter().take(limit).map(read).collect::<Result<_, _>>()?;
    if newer {
        items.reverse();
    }
    Ok(Page::whole(items, done))
}

/// A way along a list whose ids begin with a moment: what a filter on time leaves out is not looked at.
pub struct Way {
    /// Towards newer items.
    pub newer: bool,
    /// Begin beyond this.
    pub from: Vec<u8>,
    /// End there.
    end: Option<Timestamp>,
}

impl Way {
    /// From a cursor, between these moments.
    pub fn new(cursor: Option<(bool, Vec<u8>)>, after: Option<Timestamp>, before: Option<Timestamp>) -> Self {
        let (newer, from) = bounds(cursor);
        let bound = |moment: Timestamp| {
            let ms = u64::try_from(moment.as_millis()).unwrap_or(0);
            [&ms.to_be_bytes()[2..], &[if newer { u8::MAX } else { 0 }; ID_BYTES - 6]].concat()
        };
        match (newer, after, before) {
            (true, Some(after), end) => Self { newer, from: from.max(bound(after)), end },
            (false, end, Some(before)) => Self { newer, from: from.min(bound(before)), end },
            (true, None, end) | (false, end, None) => Self { newer, from, end },
        }
    }

    fn is_past(&self, id: [u8; ID_BYTES]) -> bool {
        let moment = MessageId::from_bytes(id).time();
        self.end.is_some_and(|end| if self.newer { moment >= end } else { moment <= end })
    }
}

/// A page, newest first, of what passes: an id and an item per row of a query along `way`.
pub fn filtered<T>(
    mut rows: Rows<'_>,
    way: &Way,
    limit: usize,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    passes: impl Fn(&T) -> bool,
) -> rusqlite::Result<Page<T>> {
    let (mut items, mut examined, mut reached, mut done) = (Vec::new(), 0, None, true);
    while let Some(row) = rows.next()? {
        let id: [u8; ID_BYTES] = row.get(0)?;
        if way.is_past(id) {
            break;
        }
        if items.len() == limit {
            (done, reached) = (false, None);
            break;
        }
        if examined == EXAMINED_MOST {
            done = false;
            break;
        }
        examined += 1;
        reached = Some(id);
        let item = read(row)?;
        if passes(&item) {
            items.push(item);
        }
    }
    if way.newer {
        items.reverse();
    }
    Ok(Page { items, done, reached: reached.filter(|_| !done) })
}

/// A record that cannot be read, as SQLite's own error.
pub fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::FromSqlConversionFailure(0, Type::Blob, Box::new(error))
}
