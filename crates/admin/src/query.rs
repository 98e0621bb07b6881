//! Filters in a query.

use hookyard_core::{Channel, EventType};
use hookyard_wire::problem::Problem;

/// One channel.
pub fn channel(text: Option<&str>) -> Result<Option<Channel>, Problem> {
    let bad = |error: hookyard_core::name::BadName| Problem::invalid_query("channel", error.to_string());
    text.map(|text| text.parse().map_err(bad)).transpose()
}

/// Event types: `event_types` may come several times, and hold several with commas between them.
pub fn event_types(raw: Option<&str>) -> Result<Vec<EventType>, Problem> {
    let pairs = url::form_urlencoded::parse(raw.unwrap_or_default().as_bytes()).filter(|(name, _)| name == "event_types");
    let names: Vec<String> = pairs.flat_map(|(_, value)| value.split(',').map(str::to_owned).collect::<Vec<_>>()).collect();
    let bad = |error: hookyard_core::name::BadName| Problem::invalid_query("event_types", error.to_string());
    names.iter().map(|name| name.parse().map_err(bad)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_types_come_singly_or_with_commas() {
        let read = |raw| event_types(Some(raw)).map(|types| types.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(read("event_types=a&limit=3&event_types=b.c,d"), Ok(["a", "b.c", "d"].map(str::to_owned).to_vec()));
        assert_eq!(read("limit=3"), Ok(vec![]));
        assert!(read("event_types=a+b").is_err());
        assert!(channel(Some("a b")).is_err() && channel(None) == Ok(None));
    }
}
