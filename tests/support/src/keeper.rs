//! A server process that cannot outlive us.
//!
//! Between us and the server stands a small shell (`keeper.sh`), in a process
//! group of its own, that holds the read end of a pipe whose write end only we
//! hold. However we end, by return, panic, `exit` or `kill -9`, the system
//! closes the pipe, and the shell kills the server and removes its folder. So
//! a replica set in a `static`, which is never dropped, leaks nothing either.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::wait::eventually;

/// How long the shell may take to answer a command: it only forks and signals.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What the shell has told us so far.
#[derive(Debug, Default)]
struct State {
    directory: Option<PathBuf>,
    running: bool,
    pid: Option<u32>,
    answers: u64,
    ended: bool,
}

/// Owner of the shell, and through it of the server.
#[derive(Debug)]
pub(crate) struct Keeper {
    shell: Child,
    /// The life line, and the way for commands; locked for the length of one
    /// command and its answer.
    commands: Mutex<Option<ChildStdin>>,
    state: watch::Receiver<State>,
    directory: PathBuf,
}

impl Keeper {
    /// Prepares a folder for `server`; [`Keeper::start`] starts it there, with
    /// `--dbpath` added to its arguments.
    pub(crate) async fn new(server: &Command) -> Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", include_str!("keeper.sh"), "oplet-keeper"])
            .arg(server.get_program())
            .args(server.get_args())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start `sh`")?;
        let commands = Mutex::new(shell.stdin.take());
        let answers = shell.stdout.take().expect("stdout is a pipe");
        let (sender, mut state) = watch::channel(State::default());
        thread::spawn(move || {
            for line in BufReader::new(answers).lines().map_while(Result::ok) {
                sender.send_modify(|state| state.apply(&line));
            }
            sender.send_modify(|state| state.ended = true);
        });
        let prepared = timeout(
            ANSWER_TIMEOUT,
            state.wait_for(|state| state.ended || state.directory.is_some()),
        );
        let directory = prepared
            .await
            .context("the keeper does not answer")??
            .directory
            .clone();
        let directory = directory.context("the keeper could not make a temporary folder")?;
        Ok(Self {
            shell,
            commands,
            state,
            directory,
        })
    }

    /// Starts the server on the data that is there.
    pub(crate) async fn start(&self) -> Result<()> {
        ensure!(!self.is_running(), "the server runs already");
        self.command("start").await
    }

    /// Sends the server a signal, by its name without `SIG`. After `KILL` it is
    /// gone when this returns, after `STOP` none of its threads works.
    pub(crate) async fn signal(&self, name: &str) -> Result<()> {
        ensure!(self.is_running(), "the server does not run");
        self.command(name).await?;
        if name == "KILL" {
            self.wait_exit(ANSWER_TIMEOUT).await?;
        }
        if name == "STOP" {
            let pid = self.pid().context("the server does not run")?;
            let stopped = async || stands_still(pid);
            eventually(ANSWER_TIMEOUT, stopped).await?;
        }
        Ok(())
    }

    /// Waits until the server has ended.
    pub(crate) async fn wait_exit(&self, deadline: Duration) -> Result<()> {
        let mut state = self.state.clone();
        let exited = timeout(deadline, state.wait_for(|state| !state.running)).await;
        exited.with_context(|| format!("the server did not end within {deadline:?}"))??;
        Ok(())
    }

    /// Whether the server process is there (also while it is stopped).
    pub(crate) fn is_running(&self) -> bool {
        self.state.borrow().running
    }

    /// The process id of the server, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        let state = self.state.borrow();
        state.pid.filter(|_| state.running)
    }

    /// The server's folder: `data`, and `log` with all it has said.
    pub(crate) fn directory(&self) -> &PathBuf {
        &self.directory
    }

    async fn command(&self, command: &str) -> Result<()> {
        let mut commands = self.commands.lock().await;
        let answers_before = self.state.borrow().answers;
        let pipe = commands.as_mut().expect("the pipe is taken only on drop");
        writeln!(pipe, "{command}").context("the keeper is gone")?;
        let mut state = self.state.clone();
        let answered = state.wait_for(|state| state.ended || state.answers > answers_before);
        let answered = timeout(ANSWER_TIMEOUT, answered)
            .await
            .context("the keeper does not answer")??;
        if answered.ended {
            bail!("the keeper is gone");
        }
        Ok(())
    }
}

impl Drop for Keeper {
    /// Returns when the server is dead and its folder removed.
    fn drop(&mut self) {
        drop(self.commands.get_mut().take());
        // An error would mean that the shell has been reaped already.
        let _ = self.shell.wait();
    }
}

impl State {
    fn apply(&mut self, line: &str) {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("dir", path) => self.directory = Some(path.into()),
            ("starting", _) => self.running = true,
            ("pid", pid) => self.pid = pid.parse().ok(),
            ("exited", _) => self.running = false,
            ("ok", _) => self.answers += 1,
            _ => {}
        }
    }
}

/// Whether every thread of a process is stopped: a signal takes them one by one.
fn stands_still(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat"));
        // The state follows the name, which stands in brackets.
        let state = stat.as_deref().ok().and_then(|stat| stat.rsplit_once(") "));
        state.is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}
