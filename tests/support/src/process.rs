//! The built `oplet` binary as a child process, with its output by the line.

use std::ffi::OsStr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{Instant, sleep, timeout};

use crate::guarded::GuardedChild;
use crate::lines::Lines;
use crate::signal::Signal;

/// Pause between two looks at a process that is to end.
const PAUSE: Duration = Duration::from_millis(5);
/// How long output may lag behind the end of the process that wrote it.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(20);

/// A command line of `oplet`, to be started.
///
/// # Example
/// ```no_run
/// # use std::time::Duration;
/// # use oplet_testkit::{Oplet, Signal};
/// # async fn example(binary: &str) -> anyhow::Result<()> {
/// // In a test of the host: `Oplet::new(env!("CARGO_BIN_EXE_oplet"))`.
/// let oplet = Oplet::new(binary).args(["tail", "shop.orders"]).start()?;
/// oplet.wait_for_line(|line| line.contains("orders"), Duration::from_secs(10)).await?;
/// oplet.signal(Signal::Terminate)?;
/// assert_eq!(oplet.wait_exit(Duration::from_secs(10)).await?, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Oplet {
    command: Command,
    stdout_lines_max: usize,
}

/// A running `oplet`. Dropping it kills and reaps it; when our own process ends
/// without that, a guard kills it.
#[derive(Debug)]
pub struct RunningOplet {
    process: Mutex<GuardedChild>,
    id: u32,
    stdout: Lines,
    stderr: Lines,
}

// === impl Oplet ===

impl Oplet {
    /// Starts from the path of the binary. Only tests of package `oplet` know it
    /// (`env!("CARGO_BIN_EXE_oplet")`), so they pass it in.
    ///
    /// Variables that configure oplet (`OPLET_...`) are not inherited: a test
    /// must not depend on the shell it was started from.
    pub fn new(binary: impl AsRef<Path>) -> Self {
        let mut command = Command::new(binary.as_ref());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OPLET_") {
                command.env_remove(name);
            }
        }
        Self {
            command,
            stdout_lines_max: usize::MAX,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item: AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it in this folder.
    #[must_use]
    pub fn in_folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Closes our end of its stdout after so many lines, as `head -n` does.
    #[must_use]
    pub fn close_stdout_after(mut self, lines: usize) -> Self {
        self.stdout_lines_max = lines;
        self
    }

    /// Starts it, with no stdin, in a process group of its own: a Ctrl-C on
    /// our terminal reaches it through us only.
    ///
    /// # Errors
    /// When there is no such binary.
    pub fn start(mut self) -> Result<RunningOplet> {
        self.command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let program = self.command.get_program().display().to_string();
        let mut child = self
            .command
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let id = child.id();
        let stdout = Lines::read(
            child.stdout.take().expect("stdout is a pipe"),
            self.stdout_lines_max,
        );
        let stderr = Lines::read(child.stderr.take().expect("stderr is a pipe"), usize::MAX);
        let process = Mutex::new(GuardedChild::new(child)?);
        Ok(RunningOplet {
            process,
            id,
            stdout,
            stderr,
        })
    }
}

// === impl RunningOplet ===

impl RunningOplet {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its stdout: data, one document a line.
    pub fn stdout(&self) -> &Lines {
        &self.stdout
    }

    /// Its stderr: talk.
    pub fn stderr(&self) -> &Lines {
        &self.stderr
    }

    /// Waits for the first line of stdout that `is_wanted`, from its beginning.
    ///
    /// # Errors
    /// When none comes within `deadline` or before stdout ends; the message has
    /// the end of stderr.
    pub async fn wait_for_line(
        &self,
        is_wanted: impl Fn(&str) -> bool,
        deadline: Duration,
    ) -> Result<String> {
        self.wait_for("stdout", &self.stdout, is_wanted, deadline)
            .await
    }

    /// Waits for the first line of stderr that `is_wanted`, from its beginning.
    ///
    /// # Errors
    /// As [`wait_for_line`](Self::wait_for_line).
    pub async fn wait_for_stderr(
        &self,
        is_wanted: impl Fn(&str) -> bool,
        deadline: Duration,
    ) -> Result<String> {
        self.wait_for("stderr", &self.stderr, is_wanted, deadline)
            .await
    }

    /// Waits until stdout has at least `count` lines, and gives all there are.
    ///
    /// # Errors
    /// As [`wait_for_line`](Self::wait_for_line).
    pub async fn wait_for_lines(&self, count: usize, deadline: Duration) -> Result<Vec<String>> {
        let Some(last) = count.checked_sub(1) else {
            return Ok(self.stdout.all());
        };
        match timeout(deadline, self.stdout.line(last)).await {
            Ok(Some(_)) => Ok(self.stdout.all()),
            _ => bail!(
                "{} of {count} lines came on stdout; {}",
                self.stdout.all().len(),
                self.last_words()
            ),
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // Under the lock nobody reaps it, so the id is still its own.
        let mut process = self.process.lock().expect("nothing panics under this lock");
        ensure!(
            process.poll()?.is_none(),
            "oplet has ended; {}",
            self.last_words()
        );
        signal.send(self.id)
    }

    /// Waits for the end; gives the exit code, or 128 plus the number of the
    /// signal that ended it. All output can be read then.
    ///
    /// # Errors
    /// When it has not ended within `deadline`; the message has the end of
    /// stderr.
    pub async fn wait_exit(&self, deadline: Duration) -> Result<i32> {
        let end = Instant::now() + deadline;
        let status = loop {
            if let Some(status) = self
                .process
                .lock()
                .expect("nothing panics under this lock")
                .poll()?
            {
                break status;
            }
            ensure!(
                Instant::now() < end,
                "oplet did not end within {deadline:?}; {}",
                self.last_words()
            );
            sleep(PAUSE).await;
        };
        for lines in [&self.stdout, &self.stderr] {
            timeout(OUTPUT_TIMEOUT, lines.complete())
                .await
                .context("something keeps oplet's output open")?;
        }
        Ok(status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
    }

    async fn wait_for(
        &self,
        name: &str,
        lines: &Lines,
        is_wanted: impl Fn(&str) -> bool,
        deadline: Duration,
    ) -> Result<String> {
        let search = async {
            let mut index = 0;
            while let Some(line) = lines.line(index).await {
                if is_wanted(&line) {
                    return Some(line);
                }
                index += 1;
            }
            None
        };
        match timeout(deadline, search).await {
            Ok(Some(line)) => Ok(line),
            Ok(None) => bail!(
                "{name} ended without the line waited for; {}",
                self.last_words()
            ),
            Err(_) => bail!(
                "the line waited for did not come on {name} in {deadline:?}; {}",
                self.last_words()
            ),
        }
    }

    fn last_words(&self) -> String {
        let lines = self.stderr.all();
        format!(
            "its last words:\n{}",
            lines[lines.len().saturating_sub(20)..].join("\n")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> RunningOplet {
        Oplet::new("/bin/sh").args(["-c", script]).start().unwrap()
    }

    #[tokio::test]
    async fn captures_both_outputs_and_the_exit_code() {
        let process = shell("echo one; echo talk >&2; echo two; printf half; exit 3");
        assert_eq!(process.wait_exit(DEADLINE).await.unwrap(), 3);
        assert_eq!(process.stdout().all(), ["one", "two"]);
        assert_eq!(process.stderr().all(), ["talk"]);
    }

    #[tokio::test]
    async fn waits_for_lines_as_they_come() {
        let process = shell("echo one; echo two; echo ready >&2; exec sleep 60");
        assert_eq!(
            process
                .wait_for_line(|line| line.starts_with('t'), DEADLINE)
                .await
                .unwrap(),
            "two"
        );
        assert_eq!(
            process
                .wait_for_stderr(|line| line == "ready", DEADLINE)
                .await
                .unwrap(),
            "ready"
        );
        assert_eq!(process.wait_for_lines(2, DEADLINE).await.unwrap().len(), 2);
        let error = process
            .wait_for_line(|_| false, Duration::from_millis(20))
            .await
            .unwrap_err();
        assert!(error.to_string().ends_with("ready"), "{error}");
    }

    #[tokio::test]
    async fn signals_reach_it() {
        let process = shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done");
        process
            .wait_for_line(|line| line == "ready", DEADLINE)
            .await
            .unwrap();
        process.signal(Signal::Terminate).unwrap();
        assert_eq!(process.wait_exit(DEADLINE).await.unwrap(), 7);
        assert!(process.signal(Signal::Terminate).is_err());

        let process = shell("exec sleep 60");
        process.signal(Signal::Kill).unwrap();
        assert_eq!(process.wait_exit(DEADLINE).await.unwrap(), 128 + 9);
    }

    #[tokio::test]
    async fn a_closed_stdout_is_a_broken_pipe() {
        let process = Oplet::new("/bin/sh")
            .args(["-c", "while echo line; do :; done"])
            .close_stdout_after(3);
        let process = process.start().unwrap();
        assert_eq!(process.wait_exit(DEADLINE).await.unwrap(), 128 + 13);
        assert_eq!(process.stdout().all().len(), 3);
    }

    #[tokio::test]
    async fn ends_with_its_owner() {
        let process = shell("exec sleep 60");
        let id = process.id().to_string();
        let is_alive = || {
            Command::new("sh")
                .args(["-c", "kill -s 0 $0", &id])
                .stderr(Stdio::null())
                .status()
        };
        assert!(is_alive().unwrap().success());
        drop(process);
        assert!(!is_alive().unwrap().success());
    }
}
