//! Random histories: every kind of write, of documents with every type of value and name. The seed is
//! printed, and `OPLET_SEED` repeats it; `OPLET_WRITES` says how many, as `make oracle` does.

use std::time::Instant;

use anyhow::Result;
use bson::doc;
use oplet_testkit::{History, history};

use super::*;
use crate::say;

/// How many writes there have to be, unless more are asked for.
const WRITES: usize = 6_000;

/// How many of them are read at a time, by both sources: their ops are held in memory.
const ROUND: usize = 2_000;

/// What a round is about.
#[derive(Clone, Copy, Debug)]
enum Round {
    /// Every field, those that are looked up included: the collections stay.
    Documents,
    /// Everything that is done to collections.
    Commands,
    /// The documents that updates left behind, and those before them.
    Images,
}

impl Round {
    const ALL: [Self; 3] = [Self::Documents, Self::Commands, Self::Images];

    fn asked(self) -> Asked<'static> {
        match self {
            Self::Documents => Asked::default(),
            Self::Commands => Asked {
                oplog: &["--commands", "all"],
                stream: &["--commands", "all"],
                leaves_out_looked_up: true,
                ..Asked::default()
            },
            Self::Images => Asked {
                oplog: &["--updates", "apply", "--before", "required"],
                stream: &["--full-document", "required", "--before", "required"],
                disorders_updated: true,
                ..Asked::default()
            },
        }
    }

    /// A history of this kind in the scene.
    async fn begin(self, scene: &Scene, seed: u64) -> Result<History> {
        let history = History::new(seed, scene.name());
        Ok(match self {
            Self::Documents => history.without_ddl(),
            Self::Commands => history.with_all_commands(),
            Self::Images => {
                for collection in ["alpha", "beta", "gamma"] {
                    keep_images(scene, collection).await?;
                }
                history.without_ddl()
            }
        })
    }
}

/// Makes a collection that keeps its documents as they were before each change.
pub(super) async fn keep_images(scene: &Scene, collection: &str) -> Result<()> {
    let keep = doc! { "enabled": true };
    let create = doc! { "create": collection, "changeStreamPreAndPostImages": keep };
    scene.database.run_command(create).await?;
    Ok(())
}

/// What the rounds were about, together.
#[derive(Debug, Default)]
struct Told {
    writes: usize,
    refused: usize,
    ops: usize,
    inserts: usize,
    updates: usize,
    replaces: usize,
    deletes: usize,
    commands: usize,
    in_transactions: usize,
    cut_arrays: usize,
    applied: usize,
}

impl Told {
    fn add(&mut self, round: Round, written: &history::Report, ops: &Ops) {
        let count = |is_wanted: fn(&Value) -> bool| ops.0.iter().filter(|op| is_wanted(op)).count();
        self.writes += written.statements();
        self.refused += written.refused;
        self.ops += ops.0.len();
        self.inserts += count(|op| op["operation"] == "i");
        self.updates += count(|op| op.get("updateDescription").is_some());
        self.replaces += count(|op| op.get("replace").is_some());
        self.deletes += count(|op| op["operation"] == "d");
        self.commands += count(|op| op["operation"] == "c");
        self.in_transactions += count(|op| op.get("txn").is_some());
        self.cut_arrays += count(|op| op["updateDescription"]["truncatedArrays"][0].is_object());
        if let Round::Images = round {
            self.applied += count(|op| op.get("updateDescription").is_some());
        }
    }
}

#[tokio::test]
async fn random_writes_are_told_the_same() -> Result<()> {
    let writes = match std::env::var("OPLET_WRITES") {
        Ok(writes) => writes.parse()?,
        Err(_) => WRITES,
    };
    let (seed, begun) = (history::seed(), Instant::now());
    let mut told = Told::default();
    for (number, round) in (0..).zip(Round::ALL.into_iter().cycle()) {
        if told.writes >= writes {
            break;
        }
        let scene = Scene::shared("random").await?;
        let mut history = round.begin(&scene, seed.wrapping_add(number)).await?;
        let written = history.run(&scene.client, ROUND.min(writes)).await?;
        let ops = same_as_asked(&scene, &[scene.name()], round.asked()).await?;
        let count = |is_wanted: fn(&Value) -> bool| ops.0.iter().filter(|op| is_wanted(op)).count();
        if let Round::Documents = round {
            assert_eq!(count(|op| op["operation"] == "i"), written.inserts);
            assert_eq!(count(|op| op["operation"] == "d"), written.deletes);
        }
        told.add(round, &written, &ops);
        scene.database.drop().await?;
    }
    say(&format!("{told:?} in {:?}", begun.elapsed()));
    // All kinds came, and most updates changed something.
    assert!(told.updates > told.writes / 4, "{told:?}");
    for count in [
        told.replaces,
        told.deletes,
        told.commands,
        told.in_transactions,
        told.cut_arrays,
        told.applied,
    ] {
        assert!(count > 0, "{told:?}");
    }
    Ok(())
}
