//! A request's body that tells when the connection takes it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The body, in one piece.
pub struct Told {
    bytes: Option<Bytes>,
    taken: Taken,
}

/// Whether the connection has begun to send it.
#[derive(Clone)]
pub struct Taken(Arc<AtomicBool>);

impl Taken {
    pub fn is_taken(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Told {
    /// The body, and what it tells. An empty one is never asked for, and counts as taken.
    pub fn new(bytes: Bytes) -> (Self, Taken) {
        let taken = Taken(Arc::new(AtomicBool::new(bytes.is_empty())));
        (Self { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()), taken: taken.clone() }, taken)
    }
}

impl Body for Told {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.taken.0.store(true, Ordering::Relaxed);
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
    }
}
