//! What is watched is dropped, renamed and made again while it is written to, and the reader is
//! killed meanwhile.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use bson::{Document, doc};
use mongodb::Client;
use oplet_testkit::{RunningOplet, Signal, eventually, guest};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::{
    DEADLINE, oplet,
    tailing::{Ops, Scene},
};

/// How often the reader is killed.
const KILLS: usize = 4;

/// How much happens between two kills: collections that come and go.
const TURNS: usize = 12;

/// Writes without a pause; each turn ends with a drop or a move of the collection.
struct Turmoil {
    stop: Arc<AtomicBool>,
    turns: tokio::sync::watch::Receiver<usize>,
    task: JoinHandle<mongodb::error::Result<()>>,
}

impl Turmoil {
    fn start(scene: &Scene) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, turns) = tokio::sync::watch::channel(0);
        let (client, database) = (scene.client.clone(), scene.name().to_owned());
        let is_over = stop.clone();
        let task = tokio::spawn(async move {
            let mut turn = 0;
            while !is_over.load(SeqCst) {
                take_turn(&client, &database, turn).await?;
                turn += 1;
                sender.send_replace(turn);
            }
            Ok(())
        });
        Self { stop, turns, task }
    }

    async fn goes_on(&mut self, turns: usize) {
        let until = *self.turns.borrow() + turns;
        let reached = self.turns.wait_for(|turns| *turns >= until);
        let reached = tokio::time::timeout(DEADLINE, reached).await.unwrap();
        drop(reached.expect("the writer goes on"));
    }

    async fn end(self) {
        self.stop.store(true, SeqCst);
        self.task.await.unwrap().unwrap();
    }
}

async fn take_turn(client: &Client, database: &str, turn: usize) -> mongodb::error::Result<()> {
    let within = client.database(database);
    let c = within.collection::<Document>("c");
    for id in 0..5 {
        c.insert_one(doc! { "_id": id, "turn": turn as i64 })
            .await?;
    }
    c.update_many(doc! {}, doc! { "$set": { "n": 1 } }).await?;
    match turn % 3 {
        0 => c.drop().await?,
        1 => within.drop().await?,
        _ => {
            for (from, to) in [("c", "away"), ("away", "c")] {
                let (from, to) = (format!("{database}.{from}"), format!("{database}.{to}"));
                let rename = doc! { "renameCollection": from, "to": to };
                client.database("admin").run_command(rename).await?;
            }
            c.delete_many(doc! {}).await?;
        }
    }
    Ok(())
}

fn start(scene: &Scene, watched: &str) -> RunningOplet {
    let run = oplet().arg("run").arg(guest("guest_echo").unwrap());
    let run = run.args(["--uri", &scene.uri, "--watch", watched, "--name", watched]);
    run.args(["--checkpoint", "mongodb:oplet.checkpoints"])
        .start()
        .unwrap()
}

/// The ids of the ops that were printed; the last line of one that was killed may not be whole.
fn op_ids(printed: &[RunningOplet]) -> BTreeSet<String> {
    let lines = printed.iter().flat_map(|oplet| oplet.stdout().all());
    let ops = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    ops.filter_map(|op| Some(op["opId"].as_str()?.to_owned()))
        .collect()
}

async fn loses_nothing(hint: &str, watches_collection: bool) {
    let scene = Scene::shared(hint).await.unwrap();
    let watched = match watches_collection {
        true => scene.namespace("c"),
        false => scene.name().to_owned(),
    };
    let mut oplets = vec![start(&scene, &watched)];
    super::started(&oplets[0]).await;
    let begun = crate::tailing::now(&scene.client).await.unwrap();
    let mut turmoil = Turmoil::start(&scene);
    for _ in 0..KILLS {
        turmoil.goes_on(TURNS).await;
        oplets.last().unwrap().signal(Signal::Kill).unwrap();
        // What happens while nobody reads has invalidations in it, too.
        turmoil.goes_on(3).await;
        oplets.push(start(&scene, &watched));
    }
    turmoil.goes_on(TURNS).await;
    turmoil.end().await;
    let since = crate::tailing::position(begun);
    let tail = scene.tail("oplog").args([&watched, "--since", &since]);
    let happened = Ops::of(tail.arg("--exit-when-idle")).await.unwrap();
    let happened: BTreeSet<String> = happened.op_ids().into_iter().map(Into::into).collect();
    assert!(happened.len() > KILLS * TURNS * 10);
    let caught_up = eventually(DEADLINE, async || happened.is_subset(&op_ids(&oplets)));
    let said = || oplets.last().unwrap().stderr().all();
    if caught_up.await.is_err() {
        let printed = op_ids(&oplets);
        let missing: Vec<_> = happened.difference(&printed).take(20).collect();
        panic!(
            "{missing:?} of {} is missing: {:#?}",
            happened.len(),
            said()
        );
    }
    let printed = op_ids(&oplets);
    let extra: Vec<_> = printed.difference(&happened).collect();
    assert!(extra.is_empty(), "{extra:?} never happened");
}

#[tokio::test]
async fn a_collection_that_comes_and_goes_loses_nothing_when_the_reader_is_killed() {
    loses_nothing("comes", true).await;
}

#[tokio::test]
async fn a_database_that_comes_and_goes_loses_nothing_when_the_reader_is_killed() {
    loses_nothing("goes", false).await;
}
