//! Reading lists page by page, in both directions.

use std::fmt::Debug;

use hookyard_core::journal::{Cursor, Page, PageRequest};

/// A list under test: how to read a page of it, and which id an item goes by.
pub struct List<R, N> {
    /// Reads a page.
    pub read: R,
    /// The id of an item.
    pub id: N,
}

impl<R, N> List<R, N> {
    /// Checks that the list holds exactly `ids` (ascending), whichever way and in whatever steps it is read.
    pub async fn holds<T, I>(&self, ids: &[I])
    where
        I: Ord + Copy + Debug,
        R: AsyncFn(PageRequest<I>) -> Page<T>,
        N: Fn(&T) -> I,
    {
        let newest_first: Vec<I> = ids.iter().rev().copied().collect();
        let (few, many) = (ids.len() / 100 + 1, ids.len().max(2));
        for limit in [few, few + 1, few + 2, many - 1, many, many + 1] {
            assert_eq!(self.walk(None, Cursor::After, limit).await, newest_first, "from the newest, {limit} a page");
        }
        let limit = ids.len().div_ceil(4).max(1);
        for cursor in ids.iter().copied().step_by(ids.len() / 12 + 1).chain(ids.last().copied()) {
            let older: Vec<I> = newest_first.iter().copied().filter(|id| *id < cursor).collect();
            assert_eq!(self.walk(Some(Cursor::After(cursor)), Cursor::After, limit).await, older, "older than {cursor:?}");
            let newer: Vec<I> = newest_first.iter().copied().filter(|id| *id > cursor).collect();
            assert_eq!(self.walk(Some(Cursor::Before(cursor)), Cursor::Before, limit).await, newer, "newer than {cursor:?}");
        }
    }

    /// Everything beyond `from`, newest first, read in pages that go on as `onward` says.
    async fn walk<T, I>(&self, mut from: Option<Cursor<I>>, onward: fn(I) -> Cursor<I>, limit: usize) -> Vec<I>
    where
        I: Ord + Copy + Debug,
        R: AsyncFn(PageRequest<I>) -> Page<T>,
        N: Fn(&T) -> I,
    {
        let mut read: Vec<I> = Vec::new();
        loop {
            let page = (self.read)(PageRequest { from, limit }).await;
            let ids: Vec<I> = page.items.iter().map(&self.id).collect();
            assert!(ids.len() <= limit, "{} items on a page of {limit}", ids.len());
            assert!(ids.is_sorted_by(|newer, older| newer > older), "not newest first: {ids:?}");
            let towards_newer = matches!(from, Some(Cursor::Before(_)));
            let next = if towards_newer { ids.first() } else { ids.last() }.copied();
            if towards_newer {
                read.splice(0..0, ids);
            } else {
                read.extend(ids);
            }
            if page.done {
                return read;
            }
            let Some(next) = next else { panic!("an empty page that is not done: nothing says where to go on, after {read:?}") };
            from = Some(onward(next));
        }
    }
}

/// The first page of a list.
pub fn newest<I>(limit: usize) -> PageRequest<I> {
    PageRequest { from: None, limit }
}
