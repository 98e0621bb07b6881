//! The events of the benchmark: JSON of a fixed size that says of which round it is and which of it.

/// Bytes of every event's data: what a typical webhook carries.
pub const BYTES: usize = 500;
/// Type of every event.
pub const TYPE: &str = "bench.happened";

const HEAD: &str = r#"{"round":""#;
const MIDDLE: &str = r#"","number":""#;
const TAIL: &str = r#"","filler":""#;
const END: &str = r#""}"#;
const ROUND_DIGITS: usize = 4;
const NUMBER_DIGITS: usize = 8;

/// The data of one event.
pub fn data(round: u32, number: usize) -> String {
    let mut text = format!("{HEAD}{round:0ROUND_DIGITS$}{MIDDLE}{number:0NUMBER_DIGITS$}{TAIL}");
    text.extend(std::iter::repeat_n('x', BYTES - text.len() - END.len()));
    text + END
}

/// Round and number of an event's data; `None` if it is not one of ours, byte for byte in the part that matters.
pub fn read(data: &[u8]) -> Option<(u32, usize)> {
    if data.len() != BYTES {
        return None;
    }
    let rest = data.strip_prefix(HEAD.as_bytes())?;
    let (round, rest) = rest.split_at_checked(ROUND_DIGITS)?;
    let (number, rest) = rest.strip_prefix(MIDDLE.as_bytes())?.split_at_checked(NUMBER_DIGITS)?;
    rest.starts_with(TAIL.as_bytes()).then_some(())?;
    Some((std::str::from_utf8(round).ok()?.parse().ok()?, std::str::from_utf8(number).ok()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let data = data(12, 345_678);
        assert_eq!((data.len(), read(data.as_bytes())), (BYTES, Some((12, 345_678))));
        assert_eq!(read(&data.as_bytes()[1..]), None);
        assert_eq!(read(b""), None);
    }
}
