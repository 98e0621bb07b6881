//! What is written is read back the same, whatever it holds; and whatever is read, nothing panics.

mod any_bytes;
mod arbitrary;
mod bodies;
mod problems;
mod queues;
mod stored;
