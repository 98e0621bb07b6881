//! Naming in an answer what was ignored in the request's body.

use http::{HeaderMap, HeaderValue};

/// The header.
const IGNORED_HEADER: &str = "hookyard-ignored";
/// Most fields named.
const IGNORED_MOST: usize = 10;

/// Longest name told: clients read no header of any length.
const NAME_BYTES: usize = 100;

/// Names the fields of a body that nobody knows; those that cannot stand in a header are left out.
pub fn name_ignored(headers: &mut HeaderMap, fields: impl IntoIterator<Item = String>) {
    let fits = |name: &String| name.len() <= NAME_BYTES && name.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let names: Vec<String> = fields.into_iter().filter(fits).take(IGNORED_MOST).collect();
    if !names.is_empty()
        && let Ok(value) = HeaderValue::from_str(&names.join(", "))
    {
        headers.insert(IGNORED_HEADER, value);
    }
}
