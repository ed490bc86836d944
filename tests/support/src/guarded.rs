//! A child process that cannot outlive us.
//!
//! Beside the child runs a shell that holds the read end of a pipe from us:
//! when we end without having reaped the child, it kills it. (The server of a
//! replica set has more to clean up, and its own shell: `keeper.rs`.)

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

/// A child and its guard. Dropping it kills and reaps both.
#[derive(Debug)]
pub(crate) struct GuardedChild {
    child: Child,
    guard: Child,
    status: Option<ExitStatus>,
}

impl GuardedChild {
    /// Sets a guard on `child`, or ends it.
    pub(crate) fn new(mut child: Child) -> Result<Self> {
        let guard = Command::new("sh")
            .args([
                "-c",
                "trap '' INT TERM HUP QUIT; read -r _; kill -s KILL $0",
                &child.id().to_string(),
            ])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match guard {
            Ok(guard) => Ok(Self {
                child,
                guard,
                status: None,
            }),
            Err(error) => {
                // Errors would mean that it has ended by itself.
                let _ = child.kill();
                let _ = child.wait();
                Err(error).context("cannot start `sh`")
            }
        }
    }

    /// The exit status, once it has ended; until this tells so, the process id
    /// is still its own.
    pub(crate) fn poll(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
            if self.status.is_some() {
                self.dismiss_guard();
            }
        }
        Ok(self.status)
    }

    /// Ends the guard before the child's id can belong to somebody else.
    fn dismiss_guard(&mut self) {
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }
}

impl Drop for GuardedChild {
    fn drop(&mut self) {
        if self.status.is_none() {
            // Errors would mean that it has ended by itself.
            let _ = self.child.kill();
            self.dismiss_guard();
            let _ = self.child.wait();
        }
    }
}
