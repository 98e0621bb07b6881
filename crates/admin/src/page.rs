//! Pagination: `limit` and `iterator` in, `{data, done, iterator, prevIterator}` out.

use std::fmt::Display;
use std::str::FromStr;

use hookyard_core::Timestamp;
use hookyard_core::id::ID_BYTES;
use hookyard_core::journal::{Cursor, Page, PageRequest};
use hookyard_wire::problem::Problem;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Items on a page unless asked otherwise, and at most: the compatible API's numbers.
const LIMIT: usize = 50;
const LIMIT_MOST: usize = 250;

/// The query of every list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Items on the page; 50 unless given.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 250)]
    limit: Option<String>,
    /// Where to go on: `iterator` or `prevIterator` of an earlier page.
    iterator: Option<String>,
    #[param(ignore)]
    order: Option<String>,
}

/// A page asked for of a list that can be read either way.
pub struct Listing<I> {
    /// The page, as the ports read it: newest first.
    pub request: PageRequest<I>,
    /// Whether it is to be shown the other way round.
    pub is_ascending: bool,
}

impl PageQuery {
    /// Reads the query; an iterator is an item's id, `-<id>` goes back.
    pub fn read<I: FromStr>(&self) -> Result<PageRequest<I>, Problem> {
        let limit = match &self.limit {
            None => LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=LIMIT_MOST).contains(limit))
                .ok_or_else(|| Problem::invalid_query("limit", format!("must be a whole number from 1 to {LIMIT_MOST}")))?,
        };
        let bad = |_| Problem::invalid_query("iterator", "must be an iterator of an earlier page");
        let from = match self.iterator.as_deref().filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => Some(match text.strip_prefix('-') {
                Some(id) => Cursor::Before(id.parse().map_err(bad)?),
                None => Cursor::After(text.parse().map_err(bad)?),
            }),
        };
        Ok(PageRequest { from, limit })
    }
}

impl PageQuery {
    /// Reads the query of a list that `order` may turn round; `least` is below everything in it.
    pub fn read_ordered<I: FromStr>(&self, ascending_unless_asked: bool, least: I) -> Result<Listing<I>, Problem> {
        let is_ascending = match self.order.as_deref() {
            None => ascending_unless_asked,
            Some("ascending") => true,
            Some("descending") => false,
            Some(_) => return Err(Problem::invalid_query("order", "must be ascending or descending")),
        };
        let mut request = self.read()?;
        if is_ascending {
            request.from = Some(match request.from {
                None => Cursor::Before(least),
                Some(Cursor::After(id)) => Cursor::Before(id),
                Some(Cursor::Before(id)) => Cursor::After(id),
            });
        }
        Ok(Listing { request, is_ascending })
    }
}

/// Reads a moment in a query.
pub fn moment(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let read = |text| Timestamp::parse_rfc3339(text).ok_or_else(|| Problem::invalid_query(name, "must be an RFC 3339 date-time"));
    text.map(read).transpose()
}

/// A page as the API shows it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PageOut<T> {
    data: Vec<T>,
    done: bool,
    iterator: Option<String>,
    prev_iterator: Option<String>,
}

impl<T> PageOut<T> {
    /// Shows a page of items that have ids.
    pub fn new<S, I: Display>(page: Page<S>, id: impl Fn(&S) -> I, show: impl Fn(S) -> T) -> Self {
        let iterator = page.items.last().map(|item| id(item).to_string());
        let prev_iterator = page.items.first().map(|item| format!("-{}", id(item)));
        Self { data: page.items.into_iter().map(show).collect(), done: page.done, iterator, prev_iterator }
    }

    /// A list that is read one way only.
    #[must_use]
    pub fn only_onward(self) -> Self {
        Self { prev_iterator: None, ..self }
    }

    /// The same for a list that may be shown the other way round.
    pub fn ordered<S, I: Display>(mut page: Page<S>, is_ascending: bool, id: impl Fn(&S) -> I, show: impl Fn(S) -> T) -> Self {
        if is_ascending {
            page.items.reverse();
        }
        Self::new(page, id, show)
    }

    /// The same for a list with filters, whose page may end short of what it looked at. Going on from there towards older items
    /// begins with that, towards newer ones too.
    pub fn filtered<S, I: Display>(
        page: Page<S>,
        id: impl Fn(&S) -> I,
        from_bytes: impl Fn([u8; ID_BYTES]) -> I,
        back: bool,
        show: impl Fn(S) -> T,
    ) -> Self {
        let reached = page.reached.map(|bytes| from_bytes(bytes).to_string());
        let mut out = Self::new(page, id, show);
        match reached {
            Some(reached) if back => out.prev_iterator = Some(format!("-{reached}")),
            Some(reached) => out.iterator = Some(reached),
            None => {}
        }
        out
    }
}
