//! Finding a server.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::{
    Client,
    options::{ClientOptions, ConnectionString},
};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    Fault, Server, describe,
    remains::writer_name,
    uri::{hosts, parse_uri},
};
use crate::backoff::Backoff;

/// How long the first attempt looks for a server: the driver looks until then, even where it is
/// refused at once, and nothing is said meanwhile.
const ATTEMPT_TIME_MIN: Duration = Duration::from_millis(500);

/// How long an attempt looks at most; each looks twice as long as the one before.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(4);

/// How long a run's own commands wait for a server that can take them, unless the connection string
/// says so: as long as a fail-over takes, so that each costs one line in the log.
const SELECTION_TIME: Duration = Duration::from_secs(10);

/// How often the driver asks a server how it is, unless the connection string says so. A server says
/// by itself when its role changes; this finds out where its word does not come.
const HEARTBEAT: Duration = Duration::from_secs(4);

/// How the server is looked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Give up when no server was found for this long; `None` tries for ever.
    pub connect_timeout: Option<Duration>,
}

/// Why there is no server to work with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection string is malformed.
    #[error("`{uri}` is not a MongoDB connection string: {reason}")]
    Uri {
        /// What was given, without its password.
        uri: String,
        /// What the driver says of it.
        reason: String,
    },
    /// No server answered within the connect timeout.
    #[error("no server answered at {hosts} within {}", humantime::format_duration(*.waited))]
    Unreachable {
        /// Where it was looked for.
        hosts: String,
        /// For how long.
        waited: Duration,
        /// What went wrong last.
        #[source]
        source: mongodb::error::Error,
    },
    /// The server is no member of a replica set, so that it has no oplog.
    #[error("the server at {host} is a standalone, not a replica set")]
    Standalone {
        /// The server.
        host: String,
    },
    /// The server was started with `--replSet`, but the set was never initiated.
    #[error("the server at {host} waits for its replica set to be initiated")]
    Uninitiated {
        /// The server.
        host: String,
    },
    /// The credentials were refused.
    #[error("the server at {hosts} refused the credentials")]
    Authentication {
        /// The server.
        hosts: String,
        /// What the server said.
        #[source]
        source: mongodb::error::Error,
    },
    /// The server answered, and trying again would not help.
    #[error("the server at {hosts} cannot be used")]
    Refused {
        /// The server.
        hosts: String,
        /// What went wrong.
        #[source]
        source: mongodb::error::Error,
    },
}

/// A client of a deployment that is written to. Nothing is connected yet, but a name of a DNS record
/// (`mongodb+srv`) is looked up. A `writer` is an id that its connections show, for who has to wait until
/// they are gone ([`Remains`](super::Remains)).
///
/// # Errors
/// [`Error::Uri`] for a malformed connection string; [`Error::Refused`] when the record cannot be had.
pub async fn connect_client(uri: &str, writer: Option<&str>) -> Result<Client, Error> {
    let parsed = parse_uri(uri)?;
    let hosts = hosts(&parsed);
    let refused = |source| Error::Refused {
        hosts: hosts.clone(),
        source,
    };
    let mut options = ClientOptions::parse(parsed).await.map_err(refused)?;
    options.app_name.get_or_insert_with(|| "oplet".into());
    if let Some(id) = writer {
        options.app_name = Some(writer_name(options.app_name.as_deref(), id));
    }
    options.connect_timeout.get_or_insert(ATTEMPT_TIME_MAX);
    options.heartbeat_freq.get_or_insert(HEARTBEAT);
    options
        .server_selection_timeout
        .get_or_insert(SELECTION_TIME);
    Client::with_options(options).map_err(refused)
}

impl Server {
    /// Looks for the deployment until it answers, with one log line per attempt that fails.
    ///
    /// # Errors
    /// At once for a server that answers but cannot be used; after the connect timeout, if there is
    /// one, when none answers.
    pub async fn connect(uri: &ConnectionString, options: &Options) -> Result<Self, Error> {
        let hosts = hosts(uri);
        let give_up = options
            .connect_timeout
            .map(|limit| (limit, Instant::now() + limit));
        let mut attempt_time = ATTEMPT_TIME_MIN;
        let mut backoff = Backoff::new();
        loop {
            let left = give_up.map(|(_, end)| end.saturating_duration_since(Instant::now()));
            let time = attempt_time.min(left.unwrap_or(attempt_time));
            let source = match Self::attempt(uri, &hosts, time).await {
                Ok(server) => return Ok(server),
                Err(Attempt::Permanent(error)) => return Err(error),
                Err(Attempt::Passing(source)) => source,
            };
            let delay = backoff.next_delay();
            if let Some((limit, end)) = give_up
                && Instant::now() + delay >= end
            {
                return Err(Error::Unreachable {
                    hosts,
                    waited: limit,
                    source,
                });
            }
            warn!(hosts, error = describe(&source), retry_in = ?delay, "no server answers");
            tokio::time::sleep(delay).await;
            attempt_time = ATTEMPT_TIME_MAX.min(attempt_time * 2);
        }
    }

    /// The deployment of a client that somebody else has made. It is asked once, for as long as its own
    /// time-outs say.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when no server answers; at once for one that cannot be used.
    pub async fn of_client(client: Client) -> Result<Self, Error> {
        let begun = Instant::now();
        let hosts = "the servers of the given client";
        let admin = client.database("admin");
        let asked = async {
            let hello = admin.run_command(doc! {"hello": 1}).await?;
            // An unauthenticated user may say hello, but nothing else.
            let build = admin.run_command(doc! {"buildInfo": 1}).await?;
            Ok((hello, build))
        };
        let (hello, build) = asked.await.map_err(|error| match classify(error, hosts) {
            Attempt::Permanent(error) => error,
            Attempt::Passing(source) => Error::Unreachable {
                hosts: hosts.to_owned(),
                waited: Duration::from_secs(begun.elapsed().as_secs()),
                source,
            },
        })?;
        let host = hello.get_str("me").unwrap_or(hosts);
        check_hello(&hello, host)?;
        Ok(Self::from_answers(
            (client.clone(), None),
            host,
            &hello,
            &build,
        ))
    }

    async fn attempt(uri: &ConnectionString, hosts: &str, time: Duration) -> Result<Self, Attempt> {
        let mut options = ClientOptions::parse(uri.clone())
            .await
            .map_err(|error| classify(error, hosts))?;
        options.app_name.get_or_insert_with(|| "oplet".into());
        let wanted = options.server_selection_timeout.take();
        options.server_selection_timeout = Some(wanted.unwrap_or(time));
        options.connect_timeout.get_or_insert(ATTEMPT_TIME_MAX);
        options.heartbeat_freq.get_or_insert(HEARTBEAT);
        let client =
            Client::with_options(options.clone()).map_err(|error| classify(error, hosts))?;
        let hello = match client
            .database("admin")
            .run_command(doc! {"hello": 1})
            .await
        {
            Ok(hello) => hello,
            Err(error) => {
                client.shutdown().immediate(true).await;
                probe_directly(&options, time / 2).await?;
                return Err(classify(error, hosts));
            }
        };
        check_hello(&hello, hosts).map_err(Attempt::Permanent)?;
        // An unauthenticated user may say hello, but nothing else: this shows wrong credentials now.
        let build = client
            .database("admin")
            .run_command(doc! {"buildInfo": 1})
            .await;
        let build = build.map_err(|error| classify(error, hosts))?;
        client.shutdown().immediate(true).await;
        options.server_selection_timeout = Some(wanted.unwrap_or(SELECTION_TIME));
        let client =
            Client::with_options(options.clone()).map_err(|error| classify(error, hosts))?;
        let server = Self::from_answers((client, Some(options)), hosts, &hello, &build);
        info!(hosts, version = server.version, operation_time = %server.operation_time, "connected");
        Ok(server)
    }
}

/// Why one attempt failed.
enum Attempt {
    Passing(mongodb::error::Error),
    Permanent(Error),
}

fn classify(source: mongodb::error::Error, hosts: &str) -> Attempt {
    let hosts = hosts.to_owned();
    match Fault::of(&source) {
        Fault::Passing => Attempt::Passing(source),
        Fault::Authentication => Attempt::Permanent(Error::Authentication { hosts, source }),
        _ => Attempt::Permanent(Error::Refused { hosts, source }),
    }
}

/// Asks each host by itself why the deployment as a whole does not answer: the driver ignores
/// members of a set that was never initiated, and standalones where a set was asked for.
async fn probe_directly(options: &ClientOptions, time: Duration) -> Result<(), Attempt> {
    for host in &options.hosts {
        let mut options = options.clone();
        options.hosts = vec![host.clone()];
        options.repl_set_name = None;
        options.direct_connection = Some(true);
        options.server_selection_timeout = Some(time);
        let Ok(client) = Client::with_options(options) else {
            continue;
        };
        let hello = client
            .database("admin")
            .run_command(doc! {"hello": 1})
            .await;
        client.shutdown().immediate(true).await;
        match hello {
            Ok(hello) => check_hello(&hello, &host.to_string()).map_err(Attempt::Permanent)?,
            Err(error) if Fault::of(&error) == Fault::Authentication => {
                return Err(classify(error, &host.to_string()));
            }
            Err(_) => {}
        }
    }
    Ok(())
}

/// Tells a server that has an oplog from one that has none.
fn check_hello(hello: &Document, host: &str) -> Result<(), Error> {
    let host = host.to_owned();
    if hello.get_str("setName").is_ok() || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
        return Ok(());
    }
    if hello.get_bool("isreplicaset").unwrap_or(false) {
        return Err(Error::Uninitiated { host });
    }
    Err(Error::Standalone { host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_three_kinds_of_server() {
        assert!(check_hello(&doc! {"setName": "rs0"}, "h").is_ok());
        assert!(check_hello(&doc! {"msg": "isdbgrid"}, "h").is_ok());
        assert!(matches!(
            check_hello(&doc! {"isreplicaset": true}, "h"),
            Err(Error::Uninitiated { .. })
        ));
        assert!(matches!(
            check_hello(&doc! {}, "h"),
            Err(Error::Standalone { .. })
        ));
    }
}
