//! How it is written: the forms upstream services publish in, the bodies receivers get, the messages between our own roles, the
//! records in a store, and the errors of the HTTP API.

pub mod body;
pub mod form;
pub mod ignored;
pub mod problem;
pub mod queue;
pub mod record;
pub mod reference;
pub mod request;
pub mod shown;
pub mod stored;

pub mod coding;
mod convert;
mod sent;

/// The generated protobuf types of `proto/hookyard/v1`.
#[expect(missing_docs, clippy::pedantic, reason = "generated code; the .proto files hold the documentation")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/hookyard.v1.rs"));
}

pub use convert::Unreadable;
