//! The demo: a handler on a throwaway MongoDB, for some five seconds.
//!
//! Starts a replica set and `oplet run` with the example handler `new_users`,
//! writes to `users.users`, and shows what the writes are (dimmed) and what the
//! handler makes of them (plain), as it comes. Exits 0 when every document that
//! was to come has come. Leaves no process and no file behind, also when it is
//! interrupted; all set-up is `make demo`'s.
//!
//! `OPLET_BIN` names another binary than the `oplet` beside this one.

use std::env;
use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bson::{Document, doc};
use mongodb::{Client, Collection};
use oplet_testkit::lines::Lines;
use oplet_testkit::{Oplet, Options, ReplicaSet, RunningOplet, Signal, guest};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval, sleep, timeout};

/// How long the traffic lasts.
const TRAFFIC: Duration = Duration::from_secs(5);
/// Pause between two writes: slow enough to read along.
const PACE: Duration = Duration::from_millis(160);
/// How long the first document may take: a cold start compiles the module.
const FIRST_OUTPUT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the last documents, and the end of oplet, may take.
const END_TIMEOUT: Duration = Duration::from_secs(20);

const DIM: anstyle::Style = anstyle::Style::new().dimmed();
const BOLD: anstyle::Style = anstyle::Style::new().bold();

#[tokio::main]
async fn main() -> ExitCode {
    // Dropping the future that runs the demo ends what it has started.
    let outcome = tokio::select! {
        outcome = demo() => outcome.map(|()| 0),
        code = interrupted() => code,
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(anstream::stderr(), "demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for a signal that asks us to end; gives the exit code for it.
async fn interrupted() -> Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
        _ = hang_up.recv() => 129,
    })
}

async fn demo() -> Result<()> {
    let module = guest("new_users")?;
    let binary = oplet_binary()?;
    say(format_args!(
        "{BOLD}A WebAssembly handler on live MongoDB changes.{BOLD:#}"
    ))?;

    let begin = Instant::now();
    let set = ReplicaSet::start(Options::default()).await?;
    hint(format_args!(
        "a throwaway MongoDB on port {}, ready in {:.1?}",
        set.port(),
        begin.elapsed()
    ))?;
    let client = set.client().await?;
    let outcome = with_mongodb(&set, &client, binary, module).await;
    // Or the driver complains on a thread of its own about a runtime that has ended.
    client.shutdown().await;
    outcome
}

async fn with_mongodb(
    set: &ReplicaSet,
    client: &Client,
    binary: PathBuf,
    module: PathBuf,
) -> Result<()> {
    // From a position, not from `now`: so nothing depends on who starts first.
    let since = position(client).await?;
    let shown = module.strip_prefix(env::current_dir()?).unwrap_or(&module);
    hint(format_args!(
        "oplet run {} --watch users.users --uri {}",
        shown.display(),
        set.uri()
    ))?;
    hint("")?;
    let oplet = Oplet::new(binary)
        .arg("run")
        .arg(&module)
        .args([
            "--uri",
            &set.uri(),
            "--watch",
            "users.users",
            "--checkpoint",
            "none",
            "--since",
            &since,
        ])
        .start()?;

    let users = client.database("users").collection("users");
    let expected = tokio::select! {
        expected = traffic(&users, &oplet) => expected?,
        result = show(oplet.stdout()) => { result?; bail!("oplet ended early:\n{}", oplet.stderr().all().join("\n")) }
    };
    oplet.signal(Signal::Terminate)?;
    let code = oplet.wait_exit(END_TIMEOUT).await?;
    let talk = oplet.stderr().all();
    ensure!(
        code == 0,
        "oplet ended with exit code {code}:\n{}",
        talk.join("\n")
    );
    let summary = talk.iter().rev().find_map(|line| Summary::parse(line));
    let summary =
        summary.with_context(|| format!("oplet gave no summary:\n{}", talk.join("\n")))?;
    ensure!(
        summary.emitted == expected,
        "{} documents came, not {expected}",
        summary.emitted
    );

    hint("")?;
    say(format_args!(
        "{BOLD}ops seen:          {}{BOLD:#}",
        summary.read
    ))?;
    say(format_args!(
        "{BOLD}documents emitted: {}{BOLD:#}",
        summary.emitted
    ))
}

/// Prints the lines of the handler until oplet ends.
async fn show(lines: &Lines) -> Result<()> {
    let mut index = 0;
    while let Some(line) = lines.line(index).await {
        say(line)?;
        index += 1;
    }
    Ok(())
}

/// Writes for [`TRAFFIC`], then waits for the last document that the handler is
/// to emit. Gives how many it is to emit: one for each inserted user with a
/// name and an address.
async fn traffic(users: &Collection<Document>, oplet: &RunningOplet) -> Result<u64> {
    const NAMES: [&str; 8] = [
        "ada", "grace", "edsger", "barbara", "alan", "radia", "donald", "frances",
    ];
    let mut complete = 0;
    let mut ticks = interval(PACE);
    let mut end = Instant::now() + TRAFFIC;
    for round in 0.. {
        let name = NAMES[round % NAMES.len()];
        let id = i64::try_from(round)?;
        let key = doc! { "_id": id };
        for step in 0..4 {
            ticks.tick().await;
            match step {
                0 => {
                    hint(format_args!("insert   {name}, with an address"))?;
                    let email = format!("{name}@example.org");
                    users
                        .insert_one(doc! { "_id": id, "username": name, "email": email })
                        .await?;
                    complete += 1;
                }
                1 if round % 2 == 0 => {
                    hint(format_args!("insert   {name}'s cat, without an address"))?;
                    users
                        .insert_one(doc! { "_id": format!("cat {round}"), "username": "cat" })
                        .await?;
                }
                1 => {
                    hint(format_args!("replace  {name}"))?;
                    users
                        .replace_one(key.clone(), doc! { "username": name, "email": "gone" })
                        .await?;
                }
                2 => {
                    hint(format_args!("update   {name}, a new plan"))?;
                    users
                        .update_one(key.clone(), doc! { "$set": { "plan": "large" } })
                        .await?;
                }
                _ => {
                    hint(format_args!("delete   {name}"))?;
                    users.delete_one(key.clone()).await?;
                }
            }
            if round == 0 && step == 0 {
                // The clock starts once oplet does: a first start takes a moment.
                timeout(FIRST_OUTPUT_TIMEOUT, oplet.stdout().line(0))
                    .await
                    .with_context(|| {
                        format!("oplet is silent:\n{}", oplet.stderr().all().join("\n"))
                    })?;
                end = Instant::now() + TRAFFIC;
                ticks.reset();
            }
        }
        if Instant::now() >= end {
            break;
        }
    }
    let last = usize::try_from(complete)? - 1;
    let came = timeout(END_TIMEOUT, oplet.stdout().line(last)).await;
    came.with_context(|| {
        format!(
            "{} of {complete} documents came",
            oplet.stdout().all().len()
        )
    })?;
    // Gives what is printed beside us the time for its last line.
    sleep(Duration::from_millis(50)).await;
    Ok(complete)
}

/// The server's present position, as `--since` takes it.
async fn position(client: &Client) -> Result<String> {
    let reply = client
        .database("admin")
        .run_command(doc! { "hello": 1 })
        .await?;
    let time = reply
        .get_timestamp("operationTime")
        .context("the server tells no position")?;
    Ok(format!("{}:{}", time.time, time.increment))
}

fn oplet_binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("OPLET_BIN") {
        return Ok(path.into());
    }
    let path = env::current_exe()?.with_file_name("oplet");
    ensure!(
        path.is_file(),
        "there is no {}: run `make demo`, which builds it",
        path.display()
    );
    Ok(path)
}

fn say(line: impl Display) -> Result<()> {
    Ok(writeln!(anstream::stdout(), "{line}")?)
}

/// Talk between the handler's documents.
fn hint(line: impl Display) -> Result<()> {
    say(format_args!("{DIM}{line}{DIM:#}"))
}

/// What oplet says at its end, on stderr.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    read: u64,
    emitted: u64,
}

impl Summary {
    /// Reads `ops: 40 read, 10 kept, 10 handled, 10 emitted, 0 failed`, with
    /// whatever a log line has before it.
    fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.split_once("ops: ")?;
        let count = |name| {
            let words = counts
                .split(", ")
                .find_map(|part| part.trim_end().strip_suffix(name));
            words?.trim().parse().ok()
        };
        Some(Self {
            read: count("read")?,
            emitted: count("emitted")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_found_in_a_log_line() {
        let line =
            "2024-05-01T10:00:00Z  INFO ops: 40 read, 10 kept, 10 handled, 9 emitted, 0 failed";
        assert_eq!(
            Summary::parse(line),
            Some(Summary {
                read: 40,
                emitted: 9
            })
        );
        assert_eq!(Summary::parse("INFO stream opened"), None);
        assert_eq!(Summary::parse("ops: many read"), None);
    }
}
