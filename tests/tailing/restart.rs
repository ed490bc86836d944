//! Reading on where an earlier reader ended: inside a batch, inside a transaction, in another stream,
//! and in a history that is no longer the same.

use std::time::Duration;

use anyhow::Result;
use bson::doc;
use oplet::{
    mongo::{self, Server},
    op::{OpPoint, Position, Scope, SourceKind, Timestamp},
    source::{self, Source, Start},
};
use oplet_testkit::Options;

use super::{stand_in::StandIn, *};

const KINDS: [SourceKind; 2] = [SourceKind::Oplog, SourceKind::ChangeStream];

/// An op as it was read.
#[derive(Debug, Clone, PartialEq)]
struct Read {
    id: String,
    point: OpPoint,
    /// Where a reader of its batch begins again.
    position: Position,
}

/// Reads one namespace of a scene up to a cluster time.
async fn read(
    scene: &Scene,
    kind: SourceKind,
    watched: &str,
    from: (Position, Option<OpPoint>),
    until: bson::Timestamp,
) -> Result<Vec<Read>> {
    let uri = mongo::parse_uri(&scene.uri)?;
    let server = Server::connect(&uri, &mongo::Options::default()).await?;
    let (mut position, behind) = from;
    let options = source::Options {
        scope: Scope::new([watched.parse()?]),
        start: Start::After(position.clone()),
        behind,
        pipeline: Vec::new(),
        batch_size: 3,
        oplog_namespace: source::default_oplog_namespace(),
        reading: source::Reading::default(),
    };
    let mut source = Source::new(kind, &server, options, Default::default());
    let mut ops = Vec::new();
    let until = Some(Timestamp::from(until));
    while position.timestamp() < until || (position.timestamp() == until && ops.is_empty()) {
        let batch = source.next().await?;
        ops.extend(batch.ops().map(|op| Read {
            id: op.id().to_string(),
            point: op.point().expect("it is no sharded cluster"),
            position: position.clone(),
        }));
        position = batch.position().clone();
        if position.timestamp() >= until && batch.is_caught_up() {
            break;
        }
    }
    drop(source);
    server.shutdown().await;
    Ok(ops)
}

fn ids(ops: &[Read]) -> Vec<&str> {
    ops.iter().map(|op| op.id.as_str()).collect()
}

/// Inserts documents in one transaction.
async fn insert_together(scene: &Scene, ids: std::ops::Range<i32>, bytes: usize) -> Result<()> {
    let mut session = scene.client.start_session().await?;
    session.start_transaction().await?;
    for id in ids {
        let document = doc! { "_id": id, "text": "x".repeat(bytes) };
        let collection = scene.collection("c");
        collection
            .insert_one(document)
            .session(&mut session)
            .await?;
    }
    Ok(session.commit_transaction().await?)
}

/// Each op in turn is the last that was done.
async fn goes_on_behind_each(scene: &Scene, every: usize) -> Result<()> {
    let until = now(&scene.client).await?;
    let before: Timestamp = scene.before.parse().expect("it is a position");
    let namespace = scene.namespace("c");
    for kind in KINDS {
        let start = Position::Time(before);
        let all = read(scene, kind, &namespace, (start.clone(), None), until).await?;
        for (done, op) in all.iter().enumerate().step_by(every) {
            let rest = ids(&all[done + 1..]);
            for from in [&start, &op.position] {
                let from = (from.clone(), Some(op.point));
                let read = read(scene, kind, &namespace, from.clone(), until).await?;
                assert_eq!(ids(&read), rest, "{kind:?} from {from:?}");
            }
            // As after a change of options: by the time before the op's.
            let Timestamp { seconds, increment } = op.point.timestamp;
            let by_time = Position::Time(Timestamp::new(seconds, increment - 1));
            let read = read(scene, kind, &namespace, (by_time, Some(op.point)), until).await?;
            assert_eq!(ids(&read), rest, "{kind:?} by time");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_restart_goes_on_behind_any_op() -> Result<()> {
    let scene = Scene::shared("behind").await?;
    scene.insert("c", 1..=2).await?;
    insert_together(&scene, 10..15, 10).await?;
    scene.insert("c", 3..=4).await?;
    goes_on_behind_each(&scene, 1).await
}

#[tokio::test]
async fn a_restart_goes_on_inside_a_transaction_of_several_entries() -> Result<()> {
    let scene = Scene::shared("behind_large").await?;
    scene.insert("c", [1]).await?;
    insert_together(&scene, 10..30, 1 << 20).await?;
    scene.insert("c", [2]).await?;
    goes_on_behind_each(&scene, 9).await
}

#[tokio::test]
async fn the_token_of_another_stream_is_gone_on_from_by_its_time() -> Result<()> {
    let scene = Scene::shared("other_stream").await?;
    let mut stream = scene.database.watch().await?;
    scene.insert("d", [0]).await?;
    let mut token = Document::new();
    while token.is_empty() {
        if let Some(event) = stream.next_if_any().await? {
            token = bson::serialize_to_document(&event.id)?;
        }
    }
    scene.insert("c", 1..=3).await?;
    let json = serde_json::to_string(&token)?;
    let tail = scene.tail("change-stream").arg(scene.namespace("c"));
    let tail = tail.args(["--since", &format!("token:{json}"), "--exit-when-idle"]);
    let tail = tail.start()?;
    let code = tail.wait_exit(DEADLINE).await?;
    let said = said(&tail);
    assert_eq!(code, 0, "{said}");
    assert_eq!(Ops::printed(&tail)?.ids(), [1, 2, 3]);
    let told = said.matches("does not find the resume token").count();
    assert_eq!(told, 1, "{said}");
    Ok(())
}

#[tokio::test]
async fn the_token_of_an_op_in_a_transaction_goes_on_inside_it() -> Result<()> {
    let scene = Scene::shared("other_txn").await?;
    let mut stream = scene.collection("d").watch().await?;
    scene.insert("c", [0]).await?;
    scene.insert("d", [0]).await?;
    let mut session = scene.client.start_session().await?;
    session.start_transaction().await?;
    for (collection, id) in [("c", 1), ("d", 1), ("c", 2), ("c", 3)] {
        let collection = scene.collection(collection);
        let insert = collection.insert_one(doc! { "_id": id });
        insert.session(&mut session).await?;
    }
    session.commit_transaction().await?;
    let mut token = Document::new();
    let mut events = 0;
    while events < 2 {
        if let Some(event) = stream.next_if_any().await? {
            token = bson::serialize_to_document(&event.id)?;
            events += 1;
        }
    }
    let since = format!("token:{}", serde_json::to_string(&token)?);
    let tail = scene.tail("change-stream").arg(scene.namespace("c"));
    let ops = Ops::of(tail.args(["--since", &since, "--exit-when-idle"])).await?;
    assert_eq!(ops.ids(), [2, 3]);
    Ok(())
}

#[tokio::test]
async fn a_prepared_transaction_comes_whole_from_any_start() -> Result<()> {
    let mut oplog = StandIn::new("prepared_starts").await?;
    oplog.add_insert(10).await?;
    oplog.add_prepared([1, 2]).await?;
    oplog.add_insert(11).await?;
    let running = oplog.tail().args(["--since", "now", "-v"]).start()?;
    // Where `now` is has been decided then; no other tail may be mistaken for it.
    oplog.is_read_by(&running).await?;
    let until = oplog.tail().args(["--since", "oldest", "--until", "3:1"]);
    assert_eq!(Ops::of(until).await?.ids(), [10, 11]);
    oplog.add_commit(2).await?;
    oplog.add_insert(12).await?;
    for (since, ids) in [
        ("1:1", &[11, 1, 2, 12][..]),
        ("2:1", &[11, 1, 2, 12]),
        ("3:1", &[1, 2, 12]),
        ("4:1", &[12]),
    ] {
        let tail = oplog.tail().args(["--since", since, "--exit-when-idle"]);
        assert_eq!(Ops::of(tail).await?.ids(), ids, "{since}");
    }
    running.wait_for_lines(3, DEADLINE).await?;
    assert_eq!(Ops::printed(&running)?.ids(), [1, 2, 12]);
    Ok(())
}

#[tokio::test]
async fn a_prepared_transaction_that_lost_its_beginning_is_a_lost_position() -> Result<()> {
    let mut oplog = StandIn::new("prepared_lost").await?;
    oplog.add_prepared([1, 2]).await?;
    oplog.add_large_inserts(20).await?;
    oplog.add_commit(1).await?;
    oplog.add_insert(5).await?;
    let tail = oplog.tail().args(["--since", "20:1", "--exit-when-idle"]);
    let tail = tail.start()?;
    assert_eq!(tail.wait_exit(DEADLINE).await?, 3);
    let said = said(&tail);
    assert!(said.contains("has its beginning at 1:1"), "{said}");
    // What is left whole begins behind it.
    assert!(said.contains("22:2"), "{said}");
    let tail = oplog.tail().args(["--since", "22:2", "--exit-when-idle"]);
    assert_eq!(Ops::of(tail).await?.ids(), [5]);
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_behind_is_waited_for() -> Result<()> {
    let mut oplog = StandIn::new("lags").await?;
    for id in 1..=5 {
        oplog.add_insert(id).await?;
    }
    let tail = oplog.tail().args(["--since", "oldest", "-v"]).start()?;
    tail.wait_for_lines(5, DEADLINE).await?;
    oplog.is_read_by(&tail).await?;
    // The same history as far as it goes, as on a member that lags.
    oplog.begin_again(1).await?;
    for id in 1..=3 {
        oplog.add_insert(id).await?;
    }
    let waits = |line: &str| line.contains("has not come to the position yet");
    tail.wait_for_stderr(waits, DEADLINE).await?;
    for id in 4..=6 {
        oplog.add_insert(id).await?;
    }
    tail.wait_for_lines(6, DEADLINE).await?;
    assert_eq!(Ops::printed(&tail)?.ids(), [1, 2, 3, 4, 5, 6]);
    let said = said(&tail);
    let told = said.matches("has not come to the position yet").count();
    assert_eq!(told, 1, "{said}");
    Ok(())
}

#[tokio::test]
async fn a_history_that_was_rolled_back_is_left_at_the_last_common_entry() -> Result<()> {
    let mut oplog = StandIn::new("diverged").await?;
    for id in 1..=5 {
        oplog.add_insert(id).await?;
    }
    let tail = oplog.tail().args(["--since", "oldest", "-v"]).start()?;
    tail.wait_for_lines(5, DEADLINE).await?;
    oplog.is_read_by(&tail).await?;
    oplog.begin_again(1).await?;
    for id in 1..=3 {
        oplog.add_insert(id).await?;
    }
    oplog.begin_term(2);
    for id in 14..=16 {
        oplog.add_insert(id).await?;
    }
    let rolled_back = |line: &str| line.contains("was rolled back");
    tail.wait_for_stderr(rolled_back, DEADLINE).await?;
    tail.wait_for_lines(8, DEADLINE).await?;
    oplog.add_insert(17).await?;
    tail.wait_for_lines(9, DEADLINE).await?;
    let ids = Ops::printed(&tail)?.ids();
    assert_eq!(ids, [1, 2, 3, 4, 5, 14, 15, 16, 17]);
    let said = said(&tail);
    assert!(said.contains("back_to=3:1"), "{said}");
    Ok(())
}

/// A server writes prepared transactions where they span shards; its test commands do it here, too.
#[tokio::test]
async fn an_open_prepared_transaction_outlasts_the_oplog() -> Result<()> {
    let server = ReplicaSet::start(Options::tiny_oplog()).await?;
    let scene = Scene::on(&server, "prepared_real").await?;
    scene.insert("c", [0]).await?;
    let mut session = scene.client.start_session().await?;
    session.start_transaction().await?;
    let collection = scene.collection("c");
    for id in [1, 2] {
        let insert = collection.insert_one(doc! { "_id": id });
        insert.session(&mut session).await?;
    }
    let admin = scene.client.database("admin");
    let majority = doc! { "w": "majority" };
    let prepare = doc! { "prepareTransaction": 1, "writeConcern": &majority };
    let prepared = admin.run_command(prepare).session(&mut session).await?;
    let prepared = prepared.get_timestamp("prepareTimestamp")?;

    // Three times as long as it takes to roll over; but for the transaction, it would.
    let rolls = tokio::time::timeout(Duration::from_secs(4), server.roll_oplog());
    assert!(rolls.await.is_err(), "the oplog begins behind {prepared}");
    let position = position(now(&scene.client).await?);
    let commit =
        doc! { "commitTransaction": 1, "commitTimestamp": prepared, "writeConcern": majority };
    admin.run_command(commit).session(&mut session).await?;
    for source in SOURCES {
        let tail = scene.tail(source).arg(scene.namespace("c"));
        let ops = Ops::of(tail.args(["--since", &position, "--exit-when-idle"])).await?;
        assert_eq!(ops.ids(), [1, 2], "{source}");
    }
    Ok(())
}
