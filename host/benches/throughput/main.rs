//! `make bench`: how fast changes are read, against the driver's bare cursor loop over the same data.
//!
//! One throwaway replica set, one set of prepared writes, and for each source the same reading by
//! several subjects, each a child process that is alone with the server: the bare loop, `oplet::tail`
//! as a library, and `oplet run` with a counting module. The rounds go over all subjects in turn, so
//! that noise hits them alike. `docs/performance.md` says how to read the numbers.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the numbers are the output")]
#![expect(clippy::print_stderr, reason = "talk of a program of our own")]

mod boundary;
mod child;
mod data;
mod direct;
mod measure;
mod replay;
mod table;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use oplet_testkit::{Options, ReplicaSet};

use data::{DataSet, Prepared};
use measure::Sample;
use table::Row;

/// Measures Oplet against the driver's bare cursor loop.
#[derive(Debug, Parser)]
struct Args {
    /// Inserts of the first data set; the others are smaller in proportion
    #[arg(
        long,
        value_name = "N",
        env = "OPLET_BENCH_DOCS",
        default_value_t = 500_000
    )]
    docs: u64,
    /// Measured rounds, after one that warms up
    #[arg(
        long,
        value_name = "N",
        env = "OPLET_BENCH_ROUNDS",
        default_value_t = 3
    )]
    rounds: usize,
    /// Only these data sets
    #[arg(long, value_name = "DATA")]
    data: Vec<DataSet>,
    /// Only these sources
    #[arg(long, value_name = "SOURCE")]
    source: Vec<Source>,
    /// Only these subjects; ratios are to the first
    #[arg(long, value_name = "SUBJECT")]
    subject: Vec<Subject>,
    /// More arguments for `oplet run`, separated by spaces
    #[arg(
        long,
        value_name = "ARGUMENTS",
        default_value = "",
        allow_hyphen_values = true
    )]
    run_args: String,
    /// Only what a guest costs per op; no server
    #[arg(long)]
    boundary_only: bool,
    /// Only `oplet replay` of a million recorded ops; no server
    #[arg(long)]
    replay_only: bool,
    /// How many ops are recorded
    #[arg(
        long,
        value_name = "N",
        env = "OPLET_BENCH_REPLAY_OPS",
        default_value_t = 1_000_000
    )]
    replay_ops: u64,
    /// Replay to these modules, too
    #[arg(long, value_name = "MODULE.wasm")]
    module: Vec<PathBuf>,
    /// Prepare, print how to reach the server, and wait: for a profiler
    #[arg(long)]
    hold: bool,
    /// Write the tables to this file, too
    #[arg(long, value_name = "FILE", env = "OPLET_BENCH_MARKDOWN")]
    markdown: Option<PathBuf>,
    /// `cargo bench` says this to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    child: Option<Child>,
}

#[derive(Debug, clap::Subcommand)]
enum Child {
    /// Reads prepared data as one of the subjects
    #[command(hide = true)]
    Child(child::ChildArgs),
}

/// Where changes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Source {
    Oplog,
    ChangeStream,
    /// What lies in the collection, not its changes
    DirectRead,
}

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Subject {
    /// The driver's cursor on the oplog, and the documents of updates, 1,000 at a time; first where there are updates
    BareLookup,
    /// The driver's cursor, as a user would write the loop
    Bare,
    /// The same, asking as Oplet does: its batch size, and all events of a change stream
    BareBatched,
    /// `oplet::tail`
    Tail,
    /// Direct reads: the same by the order of the keys, as what is long is read
    Keys,
    /// `oplet run` with the module `guest_count`
    Run,
}

impl Subject {
    /// What the table calls it.
    fn title(self, source: Source) -> &'static str {
        match self {
            Self::Tail if source == Source::DirectRead => "`direct_read`, one cursor",
            Self::Keys => "`direct_read`, one cursor, by keys",
            Self::BareLookup => "bare loop with lookups",
            Self::Bare => "bare loop",
            Self::BareBatched if source == Source::ChangeStream => {
                "bare loop, asking as Oplet does"
            }
            Self::BareBatched => "bare loop, batches of 2,000",
            Self::Tail => "`oplet::tail`",
            Self::Run => "`oplet run`",
        }
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match &args.child {
        Some(Child::Child(child)) => runtime.block_on(child::run(child)),
        None => runtime.block_on(bench(&args)),
    }
}

async fn bench(args: &Args) -> Result<()> {
    eprintln!("measuring what a guest costs per op ...");
    let mut report = table::boundary(&boundary::measure()?);
    print!("{report}");
    if args.replay_only || !args.boundary_only {
        eprintln!("replaying {} ops ...", args.replay_ops);
        let replayed = replay::measure(args.replay_ops, args.rounds.max(1), &args.module)?;
        let table = table::replay(args.replay_ops, &replayed);
        print!("{table}");
        report.push_str(&table);
    }
    if !args.boundary_only && !args.replay_only {
        let rows = throughput(args).await?;
        report = format!("{}\n{report}", table::throughput(&rows));
    }
    if let Some(file) = &args.markdown {
        std::fs::write(file, &report)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

async fn throughput(args: &Args) -> Result<Vec<Row>> {
    let set = ReplicaSet::start(Options {
        // All that is written stays in the oplog, and in the server's memory.
        oplog_megabytes: 4_000,
        cache_gigabytes: 2.0,
        ..Options::default()
    })
    .await?;
    let mut rows = Vec::new();
    for data in chosen(&args.data) {
        eprintln!("preparing {} ...", data.title(args.docs));
        let prepared = data::prepare(&set, data, args.docs).await?;
        if args.hold {
            eprintln!("uri {}\n{prepared:?}\nCtrl-C ends", set.uri());
            std::future::pending::<()>().await;
        }
        for source in chosen(&args.source) {
            let measured = rounds(args, &set, &prepared, source).await?;
            print!("{}", table::throughput(&measured));
            rows.extend(measured);
        }
    }
    Ok(rows)
}

/// Lets all subjects read the data in turn, as often as asked for.
async fn rounds(
    args: &Args,
    set: &ReplicaSet,
    data: &Prepared,
    source: Source,
) -> Result<Vec<Row>> {
    let mut subjects = chosen(&args.subject);
    // A change stream's updates come with their documents, and inserts have them.
    if source != Source::Oplog || !data.data.has_updates() {
        subjects.retain(|subject| *subject != Subject::BareLookup);
    }
    if source != Source::DirectRead {
        subjects.retain(|subject| *subject != Subject::Keys);
    }
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); subjects.len()];
    for round in 0..=args.rounds {
        for (subject, samples) in subjects.iter().zip(&mut samples) {
            let sample = measure::one(set, data, source, *subject, &args.run_args)
                .await
                .with_context(|| format!("{} on the {source:?}", subject.title(source)))?;
            eprintln!(
                "{} {source:?} {subject:?} {}: {:.0} ops/s",
                data.data.name(),
                if round == 0 {
                    "warm-up".into()
                } else {
                    format!("round {round}")
                },
                sample.rate(),
            );
            if round > 0 {
                samples.push(sample);
            }
        }
    }
    let rows = subjects.iter().zip(&samples).map(|(subject, own)| Row {
        data: data.data.title(args.docs),
        source,
        subject: *subject,
        samples: own.clone(),
        ratios: own
            .iter()
            .zip(&samples[0])
            .map(|(own, first)| own.rate() / first.rate())
            .collect(),
    });
    Ok(rows.collect())
}

/// What was asked for, or else everything.
fn chosen<T: ValueEnum>(asked: &[T]) -> Vec<T> {
    match asked {
        [] => T::value_variants().to_vec(),
        some => some.to_vec(),
    }
}
