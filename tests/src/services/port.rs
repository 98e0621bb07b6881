//! Free loopback ports, and asking a server on one whether it is there.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

/// First port given out.
///
/// All are below the range that outgoing connections take theirs from (32768 and up on Linux, 49152 on macOS): a client that keeps
/// trying to reach a killed server at a port of that range can end up connected to itself, and the server cannot come back.
const FIRST: u16 = 10_000;
/// Ports that a process has to itself, unless another's number is the same modulo `PROCESSES`: test processes run side by side,
/// and a port looks free to all of them until its server is up.
const PER_PROCESS: u16 = 20;
const PROCESSES: u16 = 1_000;

static GIVEN_OUT: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 that nobody listens on, given out once per process.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    let all = PER_PROCESS * PROCESSES;
    let own = u16::try_from(process::id() % u32::from(PROCESSES))? * PER_PROCESS;
    first_free((0..all).map(|_| FIRST + (own + GIVEN_OUT.fetch_add(1, Ordering::Relaxed) % all) % all))
        .context("no free port on 127.0.0.1")
}

/// Sends a greeting and reads as many bytes of answer as `answer` holds; a silent server is an error after a second.
pub(super) fn greet(port: u16, greeting: &[u8], answer: &mut [u8]) -> io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(greeting)?;
    stream.read_exact(answer)
}

fn first_free(mut ports: impl Iterator<Item = u16>) -> Option<u16> {
    ports.find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_out_twice_or_while_taken() -> Result<()> {
        let (one, other) = (free_port()?, free_port()?);
        assert_ne!(one, other);
        assert_eq!(first_free([one, other].into_iter()), Some(one));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, one))?;
        assert_eq!(first_free([one, other].into_iter()), Some(other));
        drop(listener);
        Ok(())
    }
}
