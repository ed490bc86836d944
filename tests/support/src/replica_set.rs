//! A throwaway MongoDB: a real mongod on a free port of 127.0.0.1, with its
//! data in a temporary folder, ready in about two seconds and gone with its
//! owner, however that one ends (see `keeper.rs`).

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bson::{Document, doc};
use mongodb::Client;
use mongodb::options::ClientOptions;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use crate::keeper::Keeper;
use crate::mongod;
use crate::options::{Mode, Options, arguments};
use crate::ports::free_port;

/// How long a server may take until it is ready; two seconds are normal.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a clean shutdown may take.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause between two looks at a starting server.
const PAUSE: Duration = Duration::from_millis(10);
/// Somebody else may take a free port before mongod does; so often we try again.
const PORT_ATTEMPTS: usize = 5;

/// A running mongod. Dropping it kills the server and removes its data.
#[derive(Debug)]
pub struct ReplicaSet {
    keeper: Keeper,
    port: u16,
    mode: Mode,
    name: String,
    is_config_server: bool,
}

impl ReplicaSet {
    /// Starts a server and waits until it is ready: for [`Mode::ReplicaSet`] a
    /// writable primary whose writes reach the majority, else one that answers.
    ///
    /// # Errors
    /// When there is no mongod (the message names `scripts/setup-mongod`), or
    /// it does not get ready (the message has the end of its log).
    pub async fn start(options: Options) -> Result<Self> {
        let mongod = mongod::find()?;
        let mut attempt = 1;
        loop {
            let port = free_port()?;
            let mut command = Command::new(&mongod);
            command.args(arguments(&options, port));
            let set = Self {
                keeper: Keeper::new(&command).await?,
                port,
                mode: options.mode,
                name: options.set_name.clone(),
                is_config_server: options.arguments.iter().any(|one| one == "--configsvr"),
            };
            set.keeper.start().await?;
            match set.make_ready(true).await {
                Ok(()) => return Ok(set),
                Err(_)
                    if attempt < PORT_ATTEMPTS && set.log().contains("Address already in use") =>
                {
                    attempt += 1
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The replica set that all tests of this process share, started by the
    /// first that asks. For tests that do not disturb it: each in a database of
    /// its own ([`database_name`](crate::database_name)), no kill, no restart.
    ///
    /// It holds no driver client, since a client belongs to the runtime that
    /// made it, and every `#[tokio::test]` has its own: make one per test with
    /// [`ReplicaSet::client`].
    ///
    /// # Errors
    /// As [`ReplicaSet::start`].
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<ReplicaSet> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| Self::start(Options::default()))
            .await
    }

    /// The connection string; it stays the same over restarts.
    pub fn uri(&self) -> String {
        match self.mode {
            Mode::ReplicaSet => format!(
                "mongodb://127.0.0.1:{}/?replicaSet={}",
                self.port, self.name
            ),
            Mode::Uninitiated | Mode::Standalone => self.direct_uri(),
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port, as the member of a set is named.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The process id of mongod, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.keeper.pid()
    }

    /// All that mongod has said since the first start, one JSON document a line.
    pub fn log(&self) -> String {
        fs::read_to_string(self.keeper.directory().join("log")).unwrap_or_default()
    }

    /// A new driver client, of the runtime that this is called in.
    ///
    /// # Errors
    /// None but the driver's refusal of our own connection string.
    pub async fn client(&self) -> Result<Client> {
        connect(&self.uri()).await
    }

    /// Kills mongod with SIGKILL, as a crash would; returns when it is gone.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&self) -> Result<()> {
        self.keeper.signal("KILL").await
    }

    /// Shuts mongod down with SIGTERM, as an operator would; returns when it is
    /// gone.
    ///
    /// # Errors
    /// When it does not run, or does not end in time.
    pub async fn terminate(&self) -> Result<()> {
        self.keeper.signal("TERM").await?;
        self.keeper.wait_exit(SHUTDOWN_TIMEOUT).await
    }

    /// Starts mongod again after [`kill`](Self::kill) or
    /// [`terminate`](Self::terminate), on the same port and data, and waits
    /// until it is ready.
    ///
    /// # Errors
    /// When it runs already, or does not get ready.
    pub async fn restart(&self) -> Result<()> {
        self.keeper.start().await?;
        self.make_ready(false).await
    }

    /// Stops mongod with SIGSTOP: connections stay open, nothing answers.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn suspend(&self) -> Result<()> {
        self.keeper.signal("STOP").await
    }

    /// Lets mongod go on after [`suspend`](Self::suspend).
    ///
    /// # Errors
    /// When it does not run.
    pub async fn resume(&self) -> Result<()> {
        self.keeper.signal("CONT").await
    }

    fn direct_uri(&self) -> String {
        format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port)
    }

    /// Waits until the server listens, then until it is what `mode` asks for.
    async fn make_ready(&self, first_start: bool) -> Result<()> {
        let end = Instant::now() + READY_TIMEOUT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        // The driver would look again only after half a second.
        while TcpStream::connect_timeout(&address, PAUSE).is_err() {
            self.check_progress(end, "listen")?;
            sleep(PAUSE).await;
        }
        let client = connect(&self.direct_uri()).await?;
        let ready = self.make_primary(&client, first_start, end).await;
        // Or the driver complains on a thread of its own about a runtime that has ended.
        client.shutdown().await;
        ready
    }

    async fn make_primary(&self, client: &Client, first_start: bool, end: Instant) -> Result<()> {
        let admin = client.database("admin");
        let hello = async || admin.run_command(doc! { "hello": 1 }).await;
        hello()
            .await
            .context("mongod listens, but does not answer")?;
        if self.mode != Mode::ReplicaSet {
            return Ok(());
        }
        if first_start {
            let member = doc! { "_id": 0, "host": self.host() };
            let mut config = doc! { "_id": &self.name, "members": [member] };
            if self.is_config_server {
                config.insert("configsvr", true);
            }
            let initiate = admin.run_command(doc! { "replSetInitiate": config });
            initiate.await.context("cannot initiate the replica set")?;
        }
        // An error here is a passing state of an election.
        while !hello().await.is_ok_and(|reply| is_ready_primary(&reply)) {
            self.check_progress(end, "become a primary")?;
            sleep(PAUSE).await;
        }
        Ok(())
    }

    fn check_progress(&self, end: Instant, step: &str) -> Result<()> {
        if !self.keeper.is_running() {
            bail!(
                "mongod ended instead of starting; its last words:\n{}",
                self.last_words()
            );
        }
        if Instant::now() >= end {
            bail!(
                "mongod did not {step} within {READY_TIMEOUT:?}; its last words:\n{}",
                self.last_words()
            );
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

/// Whether it takes writes, and its own first entry has reached the majority:
/// until then a majority read sees nothing.
fn is_ready_primary(hello: &Document) -> bool {
    let is_primary = hello.get_bool("isWritablePrimary").unwrap_or(false);
    let majority = hello
        .get_document("lastWrite")
        .and_then(|last| last.get_document("majorityOpTime"));
    is_primary
        && majority
            .and_then(|time| time.get_i64("t"))
            .is_ok_and(|term| term > 0)
}

pub(crate) async fn connect(uri: &str) -> Result<Client> {
    let mut options = ClientOptions::parse(uri).await?;
    options.app_name = Some("oplet-testkit".into());
    // Local servers answer at once or are down; the default is half a minute.
    options.server_selection_timeout = Some(Duration::from_secs(10));
    Ok(Client::with_options(options)?)
}

mod roll;
#[cfg(test)]
mod tests;
