//! One child process, and what it took.

use std::{
    fs,
    path::Path,
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bson::Timestamp;
use oplet_testkit::{Oplet, ReplicaSet, guest, workspace};
use tokio::time::sleep;

use crate::{Source, Subject, data::Prepared};

/// How long one reading may take.
const DEADLINE: Duration = Duration::from_secs(600);

/// How often the peak memory is looked at: it is gone with the process.
const INTERVAL: Duration = Duration::from_millis(20);

/// The kernel tells the time of processes in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// One reading.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) ops: u64,
    /// From the moment before the cursor is opened until the last op is done.
    pub(crate) seconds: f64,
    /// CPU time of the child from then until its end; `None` where the system does not tell.
    pub(crate) cpu_seconds: Option<f64>,
    /// CPU time of the server meanwhile.
    pub(crate) server_cpu_seconds: Option<f64>,
    /// The most memory that the child ever had.
    pub(crate) peak_bytes: Option<u64>,
}

impl Sample {
    /// Ops per second.
    pub(crate) fn rate(&self) -> f64 {
        self.ops as f64 / self.seconds
    }
}

/// Lets one subject read the data.
pub(crate) async fn one(
    set: &ReplicaSet,
    data: &Prepared,
    source: Source,
    subject: Subject,
    run_args: &str,
) -> Result<Sample> {
    let command = match subject {
        Subject::Run => oplet_run(set, data, source)?.args(run_args.split_whitespace()),
        _ => child(set, data, source, subject)?,
    };
    let process = command.start()?;
    let id = process.id();
    let server = set.pid().context("mongod has ended")?;

    // `oplet run` logs what it is about to read, and says at its end what it has done.
    let is_start = |line: &str| line == "start" || line.contains(" running ");
    let is_end = |line: &str| line.starts_with("done ") || line.starts_with("ops: ");
    process.wait_for_stderr(is_start, DEADLINE).await?;
    let started = Instant::now();
    let (cpu, server_cpu) = (cpu_seconds(id), cpu_seconds(server));

    let mut end = pin!(process.wait_for_stderr(is_end, DEADLINE));
    let mut peak_bytes = None;
    let end = loop {
        tokio::select! {
            end = &mut end => break end?,
            () = sleep(INTERVAL) => peak_bytes = peak_bytes.max(peak_memory(id)),
        }
    };
    let seconds = started.elapsed().as_secs_f64();
    let server_cpu_seconds = difference(cpu_seconds(server), server_cpu);
    peak_bytes = peak_bytes.max(peak_memory(id));
    // What a process took can be read until somebody waits for it.
    while Path::new("/proc").is_dir() && !has_ended(id) {
        sleep(INTERVAL).await;
    }
    let cpu_seconds = difference(cpu_seconds(id), cpu);
    let code = process.wait_exit(DEADLINE).await?;
    ensure!(code == 0, "it ended with code {code}");

    let ops = end
        .split([' ', ','])
        .nth(1)
        .and_then(|ops| ops.parse().ok());
    let ops: u64 = ops.with_context(|| format!("no number of ops in `{end}`"))?;
    let expected = match (subject, source) {
        // The loop stops at the last entry, and may pass entries that are not of the data.
        (Subject::BareLookup | Subject::Bare | Subject::BareBatched, Source::Oplog) => {
            data.ops..=data.ops + 100
        }
        (_, Source::DirectRead) => data.documents..=data.documents,
        _ => data.ops..=data.ops,
    };
    ensure!(
        expected.contains(&ops),
        "{ops} ops were read, expected {expected:?}"
    );
    Ok(Sample {
        ops,
        seconds,
        cpu_seconds,
        server_cpu_seconds,
        peak_bytes,
    })
}

/// The binary that users run, with its defaults.
fn oplet_run(set: &ReplicaSet, data: &Prepared, source: Source) -> Result<Oplet> {
    let cache = workspace::target_dir().join("bench-modules");
    let run = Oplet::new(env!("CARGO_BIN_EXE_oplet"))
        .arg("run")
        .arg(guest("guest_count")?)
        .args(["--uri", &set.uri()])
        .args(["--watch", &data.namespace()]);
    let run = match source {
        // What was read once is not read again.
        Source::DirectRead => run
            .args(["--direct-read", &data.namespace(), "--checkpoint", "none"])
            .args(["--max-ops", &data.documents.to_string()]),
        _ => run
            .args(["--source", source_word(source)])
            .args(["--since", &text(data.since)])
            .args(["--max-ops", &data.ops.to_string()]),
    };
    Ok(run
        .args(["--color", "never"])
        .arg("--module-cache")
        .arg(cache))
}

/// Ourselves, as one of the other subjects.
fn child(set: &ReplicaSet, data: &Prepared, source: Source, subject: Subject) -> Result<Oplet> {
    let subject = clap::ValueEnum::to_possible_value(&subject).expect("no subject is hidden");
    Ok(Oplet::new(std::env::current_exe()?)
        .arg("child")
        .args(["--subject", subject.get_name()])
        .args(["--source", source_word(source)])
        .args(["--uri", &set.uri()])
        .args(["--namespace", &data.namespace()])
        .args(["--since", &text(data.since)])
        .args(["--last", &text(data.last)])
        .args(["--ops", &data.ops.to_string()]))
}

fn source_word(source: Source) -> &'static str {
    match source {
        Source::Oplog => "oplog",
        Source::ChangeStream => "change-stream",
        Source::DirectRead => "direct-read",
    }
}

fn text(timestamp: Timestamp) -> String {
    format!("{}:{}", timestamp.time, timestamp.increment)
}

fn difference(after: Option<f64>, before: Option<f64>) -> Option<f64> {
    Some(after? - before?)
}

/// User and system time of a process, also of one that has ended and was not waited for.
fn cpu_seconds(process: u32) -> Option<f64> {
    let fields = stat(process)?;
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

fn has_ended(process: u32) -> bool {
    stat(process).is_none_or(|fields| fields[0] == "Z")
}

/// The fields of `/proc/ID/stat` from the third on: the second is a name that may hold spaces.
fn stat(process: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn peak_memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}
