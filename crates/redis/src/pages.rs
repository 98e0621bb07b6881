//! Pages of the journal's lists: which way to walk, and gathering what passes.

use hookyard_core::id::ID_BYTES;
use hookyard_core::journal::{Cursor, Page};
use hookyard_core::{AttemptId, MessageId, Timestamp};

use crate::lists::Towards;

/// Entries of a list looked at for one page: what a filter leaves out costs time too. Those that say enough of themselves to be left
/// out unread cost a third of a millisecond per thousand, those that must be parsed five times as much.
pub const EXAMINED_MOST: usize = 10_000;
pub const SUMMARIES_EXAMINED_MOST: usize = 50_000;
/// A filter may leave nearly nothing out, or nearly all: so many times the page are looked at first, and each time so many times
/// more.
const MORE: usize = 4;
/// Entries read at once: half a megabyte.
const CHUNK_MOST: usize = 10_000;

/// A way along a list whose members begin with an id, which begins with a moment: what a filter on time leaves out is not looked at.
pub struct Way {
    pub towards: Towards,
    /// Begin beyond this.
    pub from: Option<Vec<u8>>,
    /// End there.
    pub end: Option<Timestamp>,
}

impl Way {
    pub fn new(cursor: Option<Cursor<[u8; ID_BYTES]>>, after: Option<Timestamp>, before: Option<Timestamp>) -> Self {
        let towards = if matches!(cursor, Some(Cursor::Before(_))) { Towards::Newer } else { Towards::Older };
        let mut way = Self { towards, from: None, end: None };
        let cursor = cursor.map(|cursor| match cursor {
            Cursor::After(id) | Cursor::Before(id) => way.beyond(&id),
        });
        let bound = |moment: Timestamp| {
            let ms = u64::try_from(moment.as_millis()).unwrap_or(0);
            let rest = if towards == Towards::Newer { u8::MAX } else { 0 };
            [&ms.to_be_bytes()[2..], &[rest; ID_BYTES - 6 + BEYOND]].concat()
        };
        (way.from, way.end) = match towards {
            Towards::Newer => (cursor.max(after.map(bound)), before),
            Towards::Older => (cursor.into_iter().chain(before.map(bound)).min(), after),
        };
        way
    }

    /// The bound beyond an item. Members may be longer than the id: towards newer ones, the item's own must be passed over.
    pub fn beyond(&self, member: &[u8]) -> Vec<u8> {
        let id = member.get(..ID_BYTES).unwrap_or(member);
        match self.towards {
            Towards::Newer => [id, &[u8::MAX; BEYOND]].concat(),
            Towards::Older => id.to_vec(),
        }
    }

    pub fn is_past(&self, member: &[u8]) -> bool {
        let Some(moment) = MessageId::from_prefix(member).map(|id| id.time()) else { return false };
        self.end.is_some_and(|end| if self.towards == Towards::Newer { moment >= end } else { moment <= end })
    }
}

/// Bytes after an id that put a bound past every member with that id: more than a second id has.
const BEYOND: usize = 24;

/// A page of what passes, gathered chunk by chunk.
pub struct Filtered<T> {
    items: Vec<T>,
    limit: usize,
    /// Members read at once.
    pub chunk: usize,
    examined: usize,
    examined_most: usize,
    done: bool,
    reached: Option<[u8; ID_BYTES]>,
}

impl<T> Filtered<T> {
    /// A page of this many; unless something is left out, no more is read than that.
    pub fn new(limit: usize, is_whole: bool, examined_most: usize) -> Self {
        let chunk = (limit + 1) * if is_whole { 1 } else { MORE };
        Self { items: Vec::new(), limit, chunk, examined: 0, examined_most, done: false, reached: None }
    }

    pub fn wants_more(&self) -> bool {
        self.items.len() <= self.limit && self.examined < self.examined_most && !self.done
    }

    /// The next members of the list; fewer than were read at once end it.
    pub fn walked(&mut self, members: &[Vec<u8>], nothing_to_read: bool) {
        self.examined += members.len();
        self.done = members.len() < self.chunk;
        if nothing_to_read || self.chunk > self.limit + 1 {
            // What is listed and gone, or left out: larger steps over it.
            let left = self.examined_most.saturating_sub(self.examined).max(1);
            self.chunk = (self.chunk * MORE).min(left).min(CHUNK_MOST);
        }
        self.reached = members.last().and_then(|last| last.first_chunk().copied()).or(self.reached);
    }

    /// What some of those members hold.
    pub fn add(&mut self, items: Vec<T>, passes: impl Fn(&T) -> bool) {
        self.items.extend(items.into_iter().filter(passes));
    }

    /// Whether there is more than the page holds: what was walked over further is for the next.
    pub fn is_full(&self) -> bool {
        self.items.len() > self.limit
    }

    pub fn page(mut self, towards: Towards) -> Page<T> {
        let is_short = self.items.len() <= self.limit;
        self.items.truncate(self.limit);
        if towards == Towards::Newer {
            self.items.reverse();
        }
        let done = self.done && is_short;
        Page { items: self.items, done, reached: self.reached.filter(|_| is_short && !done) }
    }
}

/// The next attempts of a message along `way`, beyond `from`, from all of them in order.
pub fn next_of(ids: &[AttemptId], message: MessageId, way: &Way, from: Option<&[u8]>, count: usize) -> Vec<Vec<u8>> {
    let from = from.or(way.from.as_deref());
    let member = |id: &AttemptId| [&id.as_bytes()[..], &message.as_bytes()[..]].concat();
    let goes_on = |member: &Vec<u8>| !way.is_past(member);
    match way.towards {
        Towards::Older => {
            let older = ids.iter().rev().map(member).filter(|member| from.is_none_or(|from| &member[..] < from));
            older.take_while(goes_on).take(count).collect()
        }
        Towards::Newer => {
            let newer = ids.iter().map(member).filter(|member| from.is_none_or(|from| &member[..] > from));
            newer.take_while(goes_on).take(count).collect()
        }
    }
}
