//! A server for as long as somebody tries something out.
//!
//! Between us and the server stands a small shell (`throwaway.sh`), in a process group of its own, that
//! holds the read end of a pipe whose write end only we hold. However we end, by return, panic, `exit`
//! or `kill -9`, the system closes the pipe, and the shell kills the server and removes its folder.

use std::{
    io::{self, BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use bson::{Document, doc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{connect_client, describe};

/// The name of its replica set.
const REPLICA_SET: &str = "rs0";

/// How long it may take until it is ready; two seconds are normal.
const READY_TIME: Duration = Duration::from_secs(60);

/// How long the shell may take to make a folder.
const FOLDER_TIME: Duration = Duration::from_secs(20);

/// Pause between two looks at a server that starts.
const PAUSE: Duration = Duration::from_millis(10);

/// Somebody else may take a free port before the server does; so often another one is tried.
const ATTEMPTS: usize = 5;

/// How much of its log is told when it does not start.
const LAST_LINES: usize = 5;

/// A replica set of one member on this machine, in a temporary folder. Dropping it kills the server and
/// removes the folder, which takes some milliseconds.
#[derive(Debug)]
pub struct Throwaway {
    shell: Child,
    /// The server lives for as long as this is open.
    life: Option<ChildStdin>,
    folder: PathBuf,
    port: u16,
    ended: CancellationToken,
}

/// A throwaway server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThrowawayError {
    /// A process or its folder could not be made.
    #[error("cannot start {}", program.display())]
    Start {
        /// The server's program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has ended, or is not ready in time.
    #[error("{} does not become ready: {reason}", program.display())]
    NotReady {
        /// The server's program.
        program: PathBuf,
        /// What it said last, or what it did not do.
        reason: String,
    },
}

impl Throwaway {
    /// Starts a server, and waits until it takes writes. Cancelling that leaves nothing behind.
    ///
    /// # Errors
    /// [`ThrowawayError`].
    pub async fn start(mongod: &Path) -> Result<Self, ThrowawayError> {
        let mut attempt = 1;
        loop {
            let started = Self::spawn(mongod).map_err(|source| ThrowawayError::Start {
                program: mongod.to_owned(),
                source,
            })?;
            match started.become_ready().await {
                Ok(()) => return Ok(started),
                Err(_) if attempt < ATTEMPTS && started.log().contains("already in use") => {
                    attempt += 1;
                }
                Err(reason) => {
                    let program = mongod.to_owned();
                    return Err(ThrowawayError::NotReady { program, reason });
                }
            }
        }
    }

    /// The connection string.
    #[must_use]
    pub fn uri(&self) -> String {
        format!(
            "mongodb://127.0.0.1:{}/?replicaSet={REPLICA_SET}",
            self.port
        )
    }

    /// Where its data lies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn spawn(mongod: &Path) -> io::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("throwaway.sh"), "oplet-throwaway"])
            .arg(mongod)
            .args(arguments(port))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut shell = command.spawn()?;
        let life = shell.stdin.take();
        let words = shell.stdout.take().expect("stdout is a pipe");
        let ended = CancellationToken::new();
        let (sender, folder) = mpsc::sync_channel(1);
        let tell = ended.clone().drop_guard();
        thread::spawn(move || {
            let _tell = tell;
            for line in BufReader::new(words).lines().map_while(Result::ok) {
                match line.strip_prefix("dir ") {
                    Some(folder) => drop(sender.send(PathBuf::from(folder))),
                    // That it has exited.
                    None => return,
                }
            }
        });
        let mut started = Self {
            shell,
            life,
            folder: PathBuf::new(),
            port,
            ended,
        };
        started.folder = folder
            .recv_timeout(FOLDER_TIME)
            .map_err(|_| io::Error::other("no temporary folder can be made"))?;
        Ok(started)
    }

    async fn become_ready(&self) -> Result<(), String> {
        let end = Instant::now() + READY_TIME;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        // The driver would look again only after half a second.
        while TcpStream::connect_timeout(&address, PAUSE).is_err() {
            self.look(end, "listen")?;
            sleep(PAUSE).await;
        }
        let uri = format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port);
        let client = connect_client(&uri, None)
            .await
            .map_err(|error| error.to_string())?;
        let admin = client.database("admin");
        let member = doc! {"_id": 0, "host": format!("127.0.0.1:{}", self.port)};
        let config = doc! {"_id": REPLICA_SET, "members": [member]};
        let initiated = admin.run_command(doc! {"replSetInitiate": config}).await;
        let ready = async {
            initiated.map_err(|error| describe(&error))?;
            // An error here is a passing state of an election.
            let hello = async || admin.run_command(doc! {"hello": 1}).await;
            while !hello().await.is_ok_and(|reply| takes_writes(&reply)) {
                self.look(end, "become a primary")?;
                sleep(PAUSE).await;
            }
            Ok(())
        };
        let ready = ready.await;
        client.shutdown().await;
        ready
    }

    fn look(&self, end: Instant, step: &str) -> Result<(), String> {
        if self.ended.is_cancelled() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            return Err(format!("it has ended, and said last:\n{}", last.join("\n")));
        }
        if Instant::now() >= end {
            let waited = humantime::format_duration(READY_TIME);
            return Err(format!("it did not {step} within {waited}"));
        }
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        drop(self.life.take());
        // An error would mean that the shell has been reaped already.
        let _ = self.shell.wait();
    }
}

fn arguments(port: u16) -> Vec<String> {
    vec![
        format!("--port={port}"),
        "--bind_ip=127.0.0.1".into(),
        // Its socket would lie outside its folder.
        "--nounixsocket".into(),
        format!("--replSet={REPLICA_SET}"),
        "--oplogSize=512".into(),
        // The least it takes.
        "--wiredTigerCacheSizeGB=0.25".into(),
        "--setParameter=diagnosticDataCollectionEnabled=false".into(),
    ]
}

/// Whether it is a primary whose first entry has reached the majority: until then a majority read sees
/// nothing.
fn takes_writes(hello: &Document) -> bool {
    let is_primary = hello.get_bool("isWritablePrimary").unwrap_or(false);
    let majority = hello
        .get_document("lastWrite")
        .and_then(|last| last.get_document("majorityOpTime"));
    is_primary
        && majority
            .and_then(|time| time.get_i64("t"))
            .is_ok_and(|term| term > 0)
}
