//! Naming in an answer what was ignored in the request's body.

use http::{HeaderMap, HeaderValue};

/// The header.
const IGNORED_HEADER: &str = "hookyard-ignored";
/// Most fields named.
const IGNORED_MOST: usize = 10;

/// Names the fields of a body that nobody knows; those that cannot stand in a header are left out.
pub fn name_ignored(headers: &mut HeaderMap, fields: impl IntoIterator<Item = String>) {
    let names: Vec<String> = fields.into_iter().take(IGNORED_MOST).collect();
    if !names.is_empty()
        && let Ok(value) = HeaderValue::from_str(&names.join(", "))
    {
        headers.insert(IGNORED_HEADER, value);
    }
}
