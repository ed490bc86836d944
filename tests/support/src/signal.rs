//! Signals to child processes.

use std::process::Command;

use anyhow::{Result, ensure};

/// A signal, as `kill` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM
    Terminate,
    /// SIGINT
    Interrupt,
    /// SIGHUP
    HangUp,
    /// SIGKILL
    Kill,
    /// SIGSTOP
    Stop,
    /// SIGCONT
    Continue,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
            Self::HangUp => "HUP",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }

    /// Sends it to the process `id`, a child of ours that nobody has reaped.
    pub(crate) fn send(self, id: u32) -> Result<()> {
        // The shell's own kill: the standard library sends SIGKILL only.
        let sent = Command::new("sh")
            .args(["-c", "kill -s $0 $1", self.name(), &id.to_string()])
            .status();
        ensure!(sent?.success(), "cannot send {self:?} to process {id}");
        Ok(())
    }
}
