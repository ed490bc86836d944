//! Ports of 127.0.0.1 that stay whose they are.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex};

use anyhow::{Context, Result};

/// Below those that the kernel gives to outgoing connections and to who asks for any (from 32,768 on with
/// Linux, from 49,152 on elsewhere): a server that is down for a while finds its own free again, and who
/// tries to reach it meanwhile reaches nobody else, not even himself.
const FIRST: u16 = 16_000;
const LAST: u16 = 32_000;

/// The next one. Another process begins elsewhere.
static NEXT: LazyLock<Mutex<u16>> = LazyLock::new(|| Mutex::new(fastrand::u16(FIRST..=LAST)));

/// A port that nobody listens on, and that nobody else in this process was or will be given.
///
/// # Errors
/// When all are taken.
pub fn free_port() -> Result<u16> {
    let mut next = NEXT.lock().expect("no holder of this lock panics");
    let port = (FIRST..=LAST).find_map(|_| {
        let port = *next;
        *next = if port == LAST { FIRST } else { port + 1 };
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .ok()
            .map(|_| port)
    });
    port.context("no free port on 127.0.0.1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_given_once() {
        let given: std::collections::HashSet<_> = (0..100).map(|_| free_port().unwrap()).collect();
        assert_eq!(given.len(), 100);
    }

    #[test]
    fn one_that_somebody_listens_on_is_passed_over() {
        let port = free_port().unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let all = usize::from(LAST - FIRST) + 1;
        assert!((0..all).all(|_| free_port().unwrap() != port));
    }
}
