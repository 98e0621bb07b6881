//! Content headers (AMQP 0-9-1 §4.2.6.1) as publishers write them: read with bounds, and repaired where the library could not read
//! them. Pure.
//!
//! RabbitMQ hands properties on as they came. The library wants UTF-8 in every short string (AMQP 0-9-1 §4.2.5.3); what it cannot read
//! ends its connection, each time the message is handed out.

use crate::unreadable::{HEADERS, ORIGINAL_HEADER, PROPERTIES, UNREADABLE_HEADER, header_line, list};

/// Lists and tables within one another. RabbitMQ's own `x-death` needs three, and what is read by recursion wants an end.
const DEPTH_MOST: usize = 16;
/// Bytes of the original header kept with a repaired one, for an operator to look at.
const ORIGINAL_MOST: usize = 16 * 1024;
/// Bytes of names listed as unreadable; where there are more, all headers are.
const LINES_MOST: usize = 1024;
/// Class, weight, body size, property flags.
const FIXED_BYTES: usize = 14;
const CLASS_BASIC: u16 = 60;

/// The properties of class basic in their order (AMQP 0-9-1 §1.8), named as people know them.
const FIELDS: [(&str, Kind); 14] = [
    ("content_type", Kind::Text),
    ("content_encoding", Kind::Text),
    (HEADERS, Kind::Table),
    ("delivery_mode", Kind::Bytes(1)),
    ("priority", Kind::Bytes(1)),
    ("correlation_id", Kind::Text),
    ("reply_to", Kind::Text),
    ("expiration", Kind::Text),
    ("message_id", Kind::Text),
    ("timestamp", Kind::Bytes(8)),
    ("type", Kind::Text),
    ("user_id", Kind::Text),
    ("app_id", Kind::Text),
    ("cluster_id", Kind::Text),
];
/// Which of them is the table of headers.
const TABLE: usize = 2;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Table,
    Bytes(usize),
}

/// What of the method before a content header could not be read, and was replaced there.
#[derive(Debug, Default)]
pub struct Replaced {
    /// Lines for [`UNREADABLE_HEADER`].
    pub lines: Vec<String>,
}

/// The payload of a content header frame as the library can read it, in at most `room` bytes; `None` if it can as it is.
pub fn repaired(payload: &[u8], room: usize, replaced: Option<Replaced>) -> Option<Vec<u8>> {
    if replaced.is_none() && payload.len() <= room && is_readable(payload) {
        return None;
    }
    Some(Repair::of(payload, replaced.unwrap_or_default()).write(payload, room))
}

/// A header of which nothing but the body's size is known to be right.
pub fn stand_in(beginning: &[u8], room: usize) -> Vec<u8> {
    let mut repair = Repair::of(&[], Replaced::default());
    repair.body_size = Reader(beginning).after_class().unwrap_or_default();
    repair.write(beginning, room)
}

fn is_readable(payload: &[u8]) -> bool {
    let mut reader = Reader(payload);
    if reader.after_class().is_none() {
        return false;
    }
    let Some(flags) = reader.number(2) else { return false };
    for (index, (_, kind)) in FIELDS.into_iter().enumerate() {
        if flags & (0x8000 >> index) == 0 {
            continue;
        }
        let is_read = match kind {
            Kind::Text => reader.short().is_some_and(is_text),
            Kind::Bytes(count) => reader.take(count).is_some(),
            Kind::Table => reader.long().is_some_and(|table| {
                let mut names = Vec::new();
                let is_read = entries(table).all(|entry| {
                    names.push(entry.name);
                    entry.state == State::Readable
                });
                names.sort_unstable();
                is_read && names.windows(2).all(|pair| pair[0] != pair[1])
            }),
        };
        if !is_read {
            return false;
        }
    }
    reader.0.is_empty()
}

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

/// What can be kept of a header.
struct Repair<'a> {
    body_size: u64,
    /// Property flags of the fields that are kept, and these as they came.
    flags: u16,
    fields: [&'a [u8]; FIELDS.len()],
    entries: Vec<Entry<'a>>,
    lines: Vec<String>,
}

impl<'a> Repair<'a> {
    fn of(payload: &'a [u8], replaced: Replaced) -> Self {
        let mut this = Self { body_size: 0, flags: 0, fields: [&[]; FIELDS.len()], entries: Vec::new(), lines: replaced.lines };
        if this.read(payload).is_none() {
            this.lines.push(PROPERTIES.to_owned());
        }
        this
    }

    /// Keeps what is right; `None` where the rest cannot be told apart.
    fn read(&mut self, payload: &'a [u8]) -> Option<()> {
        let mut reader = Reader(payload);
        self.body_size = reader.after_class()?;
        let flags = reader.number(2)?;
        for (index, (name, kind)) in FIELDS.into_iter().enumerate() {
            let flag = 0x8000_u16 >> index;
            if flags & u64::from(flag) == 0 {
                continue;
            }
            let before = reader.0;
            let is_kept = match kind {
                Kind::Text => is_text(reader.short()?),
                Kind::Bytes(count) => reader.take(count).is_some(),
                Kind::Table => {
                    self.read_table(reader.long()?);
                    true
                }
            };
            if is_kept {
                self.flags |= flag;
                self.fields[index] = &before[..before.len() - reader.0.len()];
            } else {
                self.lines.push(name.to_owned());
            }
        }
        Some(())
    }

    fn read_table(&mut self, table: &'a [u8]) {
        let mut all: Vec<Entry<'a>> = entries(table).collect();
        let mut names: Vec<&[u8]> = all.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        let twice: Vec<&[u8]> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        for entry in &mut all {
            if entry.state == State::Readable && twice.binary_search(&entry.name).is_ok() {
                entry.state = State::Unreadable;
            }
        }
        for entry in all {
            match entry.state {
                _ if entry.name == ORIGINAL_HEADER.as_bytes() => {}
                // Of a copy of ours, it goes on; of a publisher's, it harms that message alone.
                _ if entry.name == UNREADABLE_HEADER.as_bytes() => self.keep_lines(entry.bytes),
                State::Readable => self.entries.push(entry),
                State::Unreadable => self.miss(entry.name),
                State::Malformed => self.lines.push(HEADERS.to_owned()),
            }
        }
    }

    /// The lines of a list that came with the message: a name, a tag, a length and text.
    fn keep_lines(&mut self, entry: &[u8]) {
        let value = entry.get(1 + UNREADABLE_HEADER.len() + 1 + 4..).and_then(|text| std::str::from_utf8(text).ok());
        match value {
            Some(text) => self.lines.extend(text.lines().map(str::to_owned)),
            None => self.lines.push(HEADERS.to_owned()),
        }
    }

    fn miss(&mut self, name: &[u8]) {
        // A name that is no text is no name of ours, nor of an attribute.
        self.lines.extend(std::str::from_utf8(name).ok().map(header_line));
    }

    fn write(mut self, original: &[u8], room: usize) -> Vec<u8> {
        let table_bit = 0x8000_u16 >> TABLE;
        let fields: usize =
            self.fields.iter().enumerate().filter(|(index, _)| *index != TABLE).map(|(_, field)| field.len()).sum();
        // With the table's length, and what is said of unreadable names.
        let reserved = FIXED_BYTES + fields + 4 + entry_bytes(UNREADABLE_HEADER, LINES_MOST);
        let mut left = room.saturating_sub(reserved);
        let mut table = Vec::new();
        let mut entries = std::mem::take(&mut self.entries);
        // The largest are left out first: what is needed is small.
        entries.sort_by_key(|entry| entry.bytes.len());
        for entry in entries {
            if entry.bytes.len() <= left {
                left -= entry.bytes.len();
                table.extend_from_slice(entry.bytes);
            } else {
                self.miss(entry.name);
            }
        }
        let lines = list(&self.lines, LINES_MOST);
        write_entry(&mut table, UNREADABLE_HEADER, b'S', lines.as_bytes());
        if let Some(kept) = left.checked_sub(entry_bytes(ORIGINAL_HEADER, 0)) {
            let kept = kept.min(ORIGINAL_MOST).min(original.len());
            write_entry(&mut table, ORIGINAL_HEADER, b'x', &original[..kept]);
        }

        let mut payload = Vec::with_capacity(FIXED_BYTES + fields + 4 + table.len());
        payload.extend_from_slice(&CLASS_BASIC.to_be_bytes());
        payload.extend_from_slice(&[0, 0]);
        payload.extend_from_slice(&self.body_size.to_be_bytes());
        payload.extend_from_slice(&(self.flags | table_bit).to_be_bytes());
        for (index, field) in self.fields.into_iter().enumerate() {
            if index == TABLE {
                write_long(&mut payload, &table);
            } else {
                payload.extend_from_slice(field);
            }
        }
        payload
    }
}

/// Bytes of a header with a value of so many.
fn entry_bytes(name: &str, value: usize) -> usize {
    1 + name.len() + 1 + 4 + value
}

fn write_entry(table: &mut Vec<u8>, name: &str, tag: u8, value: &[u8]) {
    table.push(u8::try_from(name.len()).unwrap_or_default());
    table.extend_from_slice(name.as_bytes());
    table.push(tag);
    write_long(table, value);
}

fn write_long(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or_default().to_be_bytes());
    to.extend_from_slice(bytes);
}

/// A header with its value, as it stands in a table.
struct Entry<'a> {
    name: &'a [u8],
    /// Name and value.
    bytes: &'a [u8],
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Readable,
    /// Name or value cannot be read; what comes after it can.
    Unreadable,
    /// Where it ends cannot be told.
    Malformed,
}

/// The headers of a table; none after a malformed one.
fn entries(table: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut reader = Reader(table);
    std::iter::from_fn(move || {
        let before = reader.0;
        if before.is_empty() {
            return None;
        }
        let name = reader.short();
        let state = match name {
            Some(name) => reader.value(0).worse(if is_text(name) { State::Readable } else { State::Unreadable }),
            None => State::Malformed,
        };
        if state == State::Malformed {
            reader = Reader(&[]);
        }
        Some(Entry { name: name.unwrap_or_default(), bytes: &before[..before.len() - reader.0.len()], state })
    })
}

impl State {
    fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Malformed, _) | (_, Self::Malformed) => Self::Malformed,
            (Self::Unreadable, _) | (_, Self::Unreadable) => Self::Unreadable,
            _ => Self::Readable,
        }
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of so many bytes, at most eight.
    fn number(&mut self, bytes: usize) -> Option<u64> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.number(1)?;
        self.take(usize::try_from(length).ok()?)
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.number(4)?;
        self.take(usize::try_from(length).ok()?)
    }

    /// Past class and weight: the body's size.
    fn after_class(&mut self) -> Option<u64> {
        self.take(4)?;
        self.number(8)
    }

    /// Past a value of a table or list `depth` deep. The tags are those RabbitMQ takes (its errata to AMQP 0-9-1).
    fn value(&mut self, depth: usize) -> State {
        let Some(tag) = self.number(1) else { return State::Malformed };
        let taken = match u8::try_from(tag).unwrap_or_default() {
            b'V' => Some(&[][..]),
            b't' | b'b' | b'B' => self.take(1),
            b's' | b'u' | b'U' => self.take(2),
            b'I' | b'i' | b'f' => self.take(4),
            b'D' => self.take(5),
            b'l' | b'L' | b'd' | b'T' => self.take(8),
            b'S' | b'x' => self.long(),
            b'A' => return self.within(depth, Self::value),
            b'F' => {
                return self.within(depth, |table, depth| match table.short() {
                    Some(name) if is_text(name) => table.value(depth),
                    Some(_) => table.value(depth).worse(State::Unreadable),
                    None => State::Malformed,
                });
            }
            _ => None,
        };
        if taken.is_some() { State::Readable } else { State::Malformed }
    }

    /// Past a list or table, whose length is known whatever stands in it.
    fn within(&mut self, depth: usize, read_one: impl Fn(&mut Self, usize) -> State) -> State {
        let Some(inner) = self.long() else { return State::Malformed };
        if depth >= DEPTH_MOST {
            return State::Unreadable;
        }
        let mut inner = Reader(inner);
        while !inner.0.is_empty() {
            if read_one(&mut inner, depth + 1) != State::Readable {
                return State::Unreadable;
            }
        }
        State::Readable
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
