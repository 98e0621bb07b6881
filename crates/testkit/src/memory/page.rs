//! Pages of what is sorted already.

use hookyard_core::journal::{Cursor, Page, PageRequest};

/// The page that `request` asks for, of ids in ascending order.
pub fn page<I: Ord + Copy>(ascending: impl DoubleEndedIterator<Item = I>, request: PageRequest<I>) -> Page<I> {
    let one_more = request.limit + 1;
    let mut items: Vec<I> = match request.from {
        None => ascending.rev().take(one_more).collect(),
        Some(Cursor::After(id)) => ascending.rev().filter(|other| *other < id).take(one_more).collect(),
        Some(Cursor::Before(id)) => ascending.filter(|other| *other > id).take(one_more).collect(),
    };
    let done = items.len() <= request.limit;
    items.truncate(request.limit);
    if matches!(request.from, Some(Cursor::Before(_))) {
        items.reverse();
    }
    Page::whole(items, done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_begin_beyond_their_cursor_and_are_newest_first() {
        let read = |from, limit| {
            let page = page(1..=5, PageRequest { from, limit });
            (page.items, page.done)
        };
        assert_eq!(read(None, 2), (vec![5, 4], false));
        assert_eq!(read(Some(Cursor::After(4)), 3), (vec![3, 2, 1], true));
        assert_eq!(read(Some(Cursor::Before(2)), 2), (vec![4, 3], false));
        assert_eq!(read(Some(Cursor::Before(5)), 2), (vec![], true));
    }
}
