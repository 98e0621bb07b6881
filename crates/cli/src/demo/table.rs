//! The table while it happens: drawn over and over on a terminal, once at the end elsewhere.

use std::io::IsTerminal as _;

use super::DeadLetter;
use super::script::Part;
use super::stage::Hit;
use crate::output::talk;

/// What is drawn.
pub struct Table {
    expected: Vec<(Part, usize)>,
    is_terminal: bool,
    drawn: Option<String>,
}

impl Table {
    /// A table of so many events for each.
    pub fn new(expected: Vec<(Part, usize)>) -> Self {
        Self { expected, is_terminal: std::io::stderr().is_terminal(), drawn: None }
    }

    /// Shows how it stands now.
    pub fn show(&mut self, hits: &[Hit], dead: &[DeadLetter]) {
        let text = self.text(hits, dead);
        if !self.is_terminal || self.drawn.as_ref() == Some(&text) {
            return;
        }
        // Up over the last one, and to the end of the screen nothing.
        let over = self.drawn.as_ref().map(|drawn| format!("\x1b[{}A\x1b[J", drawn.lines().count())).unwrap_or_default();
        talk(&format!("{over}{text}"));
        self.drawn = Some(text);
    }

    /// Shows how it ended.
    pub fn finish(mut self, hits: &[Hit], dead: &[DeadLetter]) {
        self.show(hits, dead);
        if !self.is_terminal {
            talk(&self.text(hits, dead));
        }
    }

    fn text(&self, hits: &[Hit], dead: &[DeadLetter]) -> String {
        let mut lines = vec![format!(
            "{:13} {:25} {:>6} {:>8} {:>9} {:>4}",
            "endpoint", "its receiver answers", "events", "requests", "delivered", "dead"
        )];
        for (part, events) in &self.expected {
            let requests = hits.iter().filter(|hit| hit.part == *part).count();
            let answered = |hit: &&Hit| hit.part == *part && hit.answer.is_some_and(|status| status.is_success());
            let delivered = hits.iter().filter(answered).count();
            let dead = dead.iter().filter(|letter| letter.part == *part).count();
            let (name, about) = (part.name(), part.about());
            lines.push(format!("{name:13} {about:25} {events:>6} {requests:>8} {delivered:>9} {dead:>4}"));
        }
        lines.join("\n")
    }
}
