//! Behaviour tests: what Oplet promises, seen from outside, against a real replica set and modules
//! compiled from source. One file per group of promises.

mod assemblyscript;
mod checkpoint;
mod cli;
mod containment;
mod dead_letters;
mod delivery;
mod direct_reads;
#[path = "../host/examples/tail.rs"]
mod example;
mod gtm;
mod modules;
mod parity;
mod replay;
mod resilience;
mod segments;
mod sinks;
mod soak;
mod swap;
mod tailing;
mod tidy;

use std::time::Duration;

use oplet_testkit::Oplet;

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_secs(60);

/// The `oplet` that was built with these tests, without colours and with a module cache of their own.
fn oplet() -> Oplet {
    let cache = concat!(env!("CARGO_TARGET_TMPDIR"), "/modules");
    Oplet::new(env!("CARGO_BIN_EXE_oplet"))
        .env("OPLET_MODULE_CACHE", cache)
        .env("NO_COLOR", "1")
        // Runs that share a name and a server would be in each other's way; who tests checkpoints names one.
        .env("OPLET_CHECKPOINT", "none")
}

/// Tells figures of a test to who runs it with `--nocapture`.
#[expect(
    clippy::print_stderr,
    reason = "a test has no other place to say how it went"
)]
fn say(text: &str) {
    eprintln!("{text}");
}
