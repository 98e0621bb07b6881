//! From a client error to an outcome class.

use std::error::Error;
use std::io;

use hookyard_core::AttemptClass;
use hookyard_core::address::Refused;

use crate::resolve::DnsFailed;

/// What went wrong, judged by the causes inside the error.
pub fn class_of(error: &reqwest::Error) -> AttemptClass {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(class) = class_of_cause(current) {
            return class;
        }
        cause = current.source();
    }
    if error.is_timeout() {
        AttemptClass::Timeout
    } else if error.is_connect() {
        AttemptClass::Connect
    } else {
        AttemptClass::Protocol
    }
}

/// Whether the connection ended before anything of an answer came. What was cut off in the middle of its first line counts too: the
/// library does not tell the two apart.
pub fn came_nothing(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(error) = current.downcast_ref::<hyper::Error>()
            && (error.is_incomplete_message() || error.is_canceled() || error.is_closed())
        {
            return true;
        }
        // HTTP/2: the receiver went away before it looked at the request (RFC 9113 §6.8 and §8.7).
        if let Some(error) = current.downcast_ref::<h2::Error>() {
            return error.is_go_away() || error.is_io() || error.reason() == Some(h2::Reason::REFUSED_STREAM);
        }
        if let Some(error) = current.downcast_ref::<io::Error>() {
            return CLOSED.contains(&error.kind());
        }
        cause = current.source();
    }
    false
}

/// How the system says that the other side closed.
const CLOSED: [io::ErrorKind; 5] = [
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::NotConnected,
    io::ErrorKind::UnexpectedEof,
];

/// Errors of the system for "too many open files", in this process and in all (`errno.h` on Linux, macOS and the BSDs).
const OUT_OF_DESCRIPTORS: [i32; 2] = [24, 23];

/// Whether the request failed for want of something of ours, before it left.
pub fn is_ours(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        let number = current.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        if number.is_some_and(|number| OUT_OF_DESCRIPTORS.contains(&number)) {
            return true;
        }
        cause = current.source();
    }
    false
}

fn class_of_cause(cause: &(dyn Error + 'static)) -> Option<AttemptClass> {
    if cause.is::<Refused>() {
        return Some(AttemptClass::Blocked);
    }
    if cause.is::<DnsFailed>() {
        return Some(AttemptClass::Dns);
    }
    if cause.is::<rustls::Error>() {
        return Some(AttemptClass::Tls);
    }
    let io = cause.downcast_ref::<io::Error>()?;
    if let Some(inner) = io.get_ref()
        && let Some(class) = class_of_cause(inner)
    {
        return Some(class);
    }
    match io.kind() {
        io::ErrorKind::TimedOut => Some(AttemptClass::Timeout),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Some(AttemptClass::Connect)
        }
        _ => None,
    }
}
