//! What comes again after a crash, and what does not: by the example of `host/examples/tail.rs`.

use std::env;

use anyhow::ensure;
use oplet::{
    checkpoint::{self, Checkpoint},
    op::StoreSpec,
};
use oplet_testkit::{Oplet, RunningOplet, Signal, eventually};

use super::*;

/// What the process is told: connection string, namespace, name, and at which line it is to hang.
const CHILD: &str = "OPLET_TEST_TAIL";

/// The example, as a process of its own. Not a test: the tests start it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the tests of crashes start it"]
#[expect(clippy::print_stdout, reason = "its lines are what the tests read")]
async fn child() -> Result<()> {
    let Ok(told) = env::var(CHILD) else {
        return Ok(());
    };
    let told: Vec<&str> = told.split(' ').collect();
    let [uri, namespace, name, hang] = told[..] else {
        bail!("{told:?}");
    };
    let hang: usize = hang.parse()?;
    let mut lines = 0;
    let printed = crate::example::print_changes(uri, namespace, name, |line| {
        println!("\n{line}");
        lines += 1;
        if lines == hang {
            loop {
                std::thread::sleep(DEADLINE);
            }
        }
    });
    printed.await.map_err(|error| anyhow::anyhow!("{error}"))
}

fn start(scene: &Scene, hang: usize) -> Result<RunningOplet> {
    let told = format!(
        "{} {} {} {hang}",
        scene.uri,
        scene.namespace("c"),
        scene.name()
    );
    let executable = env::current_exe()?;
    let name = concat!(module_path!(), "::child");
    let (_, name) = name
        .split_once("::")
        .context("a test's path begins with its crate")?;
    let child = Oplet::new(executable.to_str().context("a path of text")?);
    child
        .args([name, "--exact", "--ignored", "--nocapture"])
        .env(CHILD, &told)
        .start()
}

/// The `_id`s of the inserts that it has printed.
fn printed(child: &RunningOplet) -> Vec<i32> {
    let lines = child.stdout().all();
    let id = |line: &String| {
        let rest = line.strip_prefix("new Int32(")?;
        rest.split(')').next()?.parse().ok()
    };
    lines.iter().filter_map(id).collect()
}

async fn has_printed(child: &RunningOplet, count: usize) -> Result<()> {
    let reached = eventually(DEADLINE, async || printed(child).len() >= count).await;
    reached.with_context(|| format!("{:?} {:?}", child.stdout().all(), child.stderr().all()))
}

/// What is kept of it, as the example says.
async fn saved(scene: &Scene) -> Result<Option<Checkpoint>> {
    let place = StoreSpec::own(checkpoint::COLLECTION);
    let store = checkpoint::Store::open(&place, &scene.client);
    Ok(store.load(scene.name()).await?)
}

#[tokio::test]
async fn a47_what_a_crash_finds_undone_comes_again_and_nothing_is_missing() -> Result<()> {
    let scene = Scene::shared("a47").await?;
    let seed = oplet_testkit::history::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    // From the first start on nothing is missed.
    let child = start(&scene, 0)?;
    eventually(DEADLINE, async || {
        saved(&scene).await.is_ok_and(|saved| saved.is_some())
    })
    .await?;
    let mut child = Some(child);
    let mut writer = Writer::start(&scene);
    let mut seen: Vec<i32> = Vec::new();
    for _ in 0..6 {
        let running = match child.take() {
            Some(child) => child,
            None => start(&scene, 0)?,
        };
        has_printed(&running, random.usize(1..200)).await?;
        sleep(Duration::from_millis(random.u64(0..1500))).await;
        running.signal(Signal::Kill)?;
        running.wait_exit(DEADLINE).await?;
        let ids = printed(&running);
        let consecutive = ids.windows(2).all(|pair| pair[1] == pair[0] + 1);
        ensure!(consecutive, "seed {seed}: {ids:?}");
        // It begins again at or before where it ended: a line is printed before it is done.
        let reached = seen.last().copied().unwrap_or(0);
        ensure!(
            ids[0] <= reached + 1,
            "seed {seed}: {} after {reached}",
            ids[0]
        );
        seen.extend(ids);
        writer.goes_on(10).await?;
    }
    let last = writer.end().await;
    let child = start(&scene, 0)?;
    eventually(DEADLINE, async || printed(&child).last() >= Some(&last)).await?;
    seen.extend(printed(&child));
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(
        seen[..last as usize],
        (1..=last).collect::<Vec<_>>(),
        "seed {seed}"
    );
    Ok(())
}

#[tokio::test]
async fn a48_a_transaction_that_was_cut_by_a_kill_goes_on_behind_what_was_done() -> Result<()> {
    let scene = Scene::shared("a48").await?;
    scene.database.create_collection("c").await?;
    let child = start(&scene, 4)?;
    eventually(DEADLINE, async || {
        saved(&scene).await.is_ok_and(|saved| saved.is_some())
    })
    .await?;
    let mut session = scene.client.start_session().await?;
    session.start_transaction().await?;
    let collection = scene.collection("c");
    for id in 1..=7 {
        let insert = collection.insert_one(doc! { "_id": id });
        insert.session(&mut session).await?;
    }
    session.commit_transaction().await?;
    // It hangs at the fourth; three are done, and that is durable before it is killed.
    let third = async || {
        let saved = saved(&scene).await.ok().flatten();
        let done = saved.and_then(|saved| saved.streams[0].frontier.done);
        done.is_some_and(|done| done.index == 2)
    };
    let reached = eventually(DEADLINE, third).await;
    reached.with_context(|| format!("{:?}", child.stdout().all()))?;
    has_printed(&child, 4).await?;
    child.signal(Signal::Kill)?;
    child.wait_exit(DEADLINE).await?;
    assert_eq!(printed(&child), [1, 2, 3, 4]);
    let child = start(&scene, 0)?;
    has_printed(&child, 4).await?;
    scene.insert("c", [8]).await?;
    has_printed(&child, 5).await?;
    assert_eq!(printed(&child), [4, 5, 6, 7, 8]);
    Ok(())
}
