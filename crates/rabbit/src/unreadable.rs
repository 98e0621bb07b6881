//! What of a message's properties and headers is there and cannot be read. The guard at the socket says it in a header, which goes
//! with the message wherever it goes: what is unreadable must never be taken for absent, neither now nor when it is tried again.

use std::collections::BTreeSet;

use lapin::BasicProperties;

use crate::message::header;

/// Lists what cannot be read, a line each: the name of a property, `header` and the name of a header, or one of the two below.
pub const UNREADABLE_HEADER: &str = "hookyard-unreadable";
/// The content header as it came, or its beginning.
pub const ORIGINAL_HEADER: &str = "hookyard-original";
/// In the list: any header may have been there.
pub const HEADERS: &str = "headers";
/// In the list: any property and any header may have been there.
pub const PROPERTIES: &str = "properties";

/// The line of a header.
pub fn header_line(name: &str) -> String {
    format!("header {}", name.escape_default())
}

/// The list in at most about `most` bytes: where the names of headers are too many, any header may be one of them. Properties are few, and
/// are never left out.
pub fn list(lines: &[String], most: usize) -> String {
    let whole = lines.join("\n");
    if whole.len() <= most {
        return whole;
    }
    let properties = lines.iter().flat_map(|lines| lines.lines()).filter(|line| !line.starts_with("header "));
    let properties: BTreeSet<&str> = properties.chain([HEADERS]).collect();
    properties.into_iter().collect::<Vec<_>>().join("\n")
}

/// The list, read.
#[derive(Debug, Default)]
pub struct Unreadable(BTreeSet<String>);

impl Unreadable {
    /// Of a message.
    pub fn of(properties: &BasicProperties) -> Self {
        Self(header(properties, UNREADABLE_HEADER).map(|lines| lines.lines().map(str::to_owned).collect()).unwrap_or_default())
    }

    /// Whether a property, or the routing key, is there and cannot be read.
    pub fn has(&self, property: &str) -> bool {
        self.0.contains(property) || self.0.contains(PROPERTIES)
    }

    /// The headers that are there and cannot be read; what cannot be told apart goes by no name.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|line| line.strip_prefix("header "))
    }

    /// Whether there may be headers of any name.
    pub fn has_any_header(&self) -> bool {
        self.0.contains(HEADERS) || self.0.contains(PROPERTIES)
    }
}
