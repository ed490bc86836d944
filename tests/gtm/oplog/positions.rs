//! Where reading goes on, and what it passes over.

use anyhow::Result;
use bson::{Document, doc};
use futures_util::TryStreamExt as _;
use oplet_testkit::{Options, ReplicaSet, Signal, guest};

use crate::{
    DEADLINE,
    delivery::process::{Named, ids, wait_for},
    tailing::{Ops, said, stand_in::StandIn},
};

#[tokio::test]
async fn a23_no_ops_move_the_position() -> Result<()> {
    let mut oplog = StandIn::new("a23").await?;
    oplog.add_insert(1).await?;
    for _ in 0..3 {
        let no_op = doc! { "op": "n", "ns": "", "o": { "msg": "periodic noop" } };
        oplog.add(no_op).await?;
    }
    // Only the position can tell that the bound was reached.
    let tail = oplog.tail().args(["--since", "oldest", "--until", "4:1"]);
    assert_eq!(Ops::of(tail).await?.ids(), [1]);
    Ok(())
}

#[tokio::test]
async fn a25_an_entry_that_cannot_be_decoded_is_named_kept_and_passed_over() -> Result<()> {
    let mut oplog = StandIn::new("a25").await?;
    let namespace = oplog.scene.namespace("c");
    oplog.add_insert(1).await?;
    let diff = doc! { "$v": 9, "diff": {} };
    for undecodable in [
        doc! { "op": "?", "ns": &namespace, "o": { "_id": 2 } },
        doc! { "op": "i", "ns": &namespace, "o": 2 },
        doc! { "op": "u", "ns": &namespace, "o": diff, "o2": { "_id": 2 } },
        doc! { "op": "c", "ns": "admin.$cmd", "o": { "applyOps": [oplog.insert(2), { "op": "i" }] } },
    ] {
        oplog.add(undecodable).await?;
    }
    oplog.add_insert(6).await?;
    let (ops, said) = oplog.read().await?;
    assert_eq!(ops.ids(), [1, 6]);
    for timestamp in ["2:1", "3:1", "4:1", "5:1"] {
        let lines = said.lines();
        let about = lines.filter(|line| line.contains(&format!("\"{timestamp}\"")));
        let about: Vec<_> = about.collect();
        assert_eq!(about.len(), 1, "{timestamp}: {said}");
        assert!(about[0].contains("could not be decoded"), "{said}");
    }
    // A run keeps them, as they came.
    let (name, letters) = (oplog.scene.name(), oplog.scene.namespace("letters"));
    let run = crate::oplet().arg("run").arg(guest("guest_echo")?);
    let run = run
        .args([
            "--uri",
            &oplog.scene.uri,
            "--watch",
            name,
            "--source",
            "oplog",
        ])
        .args(["--oplog-namespace", &oplog.scene.namespace("entries")])
        .args(["--since", "oldest", "--exit-when-idle", "--name", name])
        .args(["--dead-letters", &format!("mongodb:{letters}")]);
    let run = run.start()?;
    assert_eq!(run.wait_exit(DEADLINE).await?, 0);
    assert_eq!(ids(&run), [1, 6]);
    let letters = oplog.scene.collection("letters").find(doc! {}).await?;
    let mut letters: Vec<Document> = letters.try_collect().await?;
    letters.sort_by_key(|letter| letter.get_timestamp("clusterTime").ok());
    let kept = letters.iter().map(|letter| {
        let entry = letter.get_document("op")?.get_document("entry")?;
        anyhow::Ok((letter.get_str("kind")?, entry.get_str("op")?))
    });
    let expected = ["?", "i", "u", "c"].map(|op| ("undecodable", op));
    assert_eq!(kept.collect::<Result<Vec<_>>>()?, expected);
    assert!(
        letters[0]
            .get_str("message")?
            .contains("operation `?` is not known")
    );
    Ok(())
}

#[tokio::test]
async fn a28_a_position_older_than_the_oplog_is_noticed_before_anything_is_read() -> Result<()> {
    let mut oplog = StandIn::new("a28").await?;
    oplog.add_large_inserts(20).await?;
    let tail = oplog.tail().args(["--since", "2:1"]).start()?;
    assert_eq!(tail.wait_exit(DEADLINE).await?, 3);
    let said = said(&tail);
    assert!(said.contains("the position 2:1 is lost"), "{said}");
    assert!(said.contains("the oplog begins at 1"), "{said}");
    assert!(tail.stdout().all().is_empty());
    Ok(())
}

/// The server truncates the oplog under an open cursor: code 136, `CappedPositionLost`.
#[tokio::test]
async fn a29_a_cursor_that_the_oplog_overtakes_is_a_lost_position() -> Result<()> {
    // The fail point is the whole server's.
    let set = ReplicaSet::start(Options::default()).await?;
    let mut named = Named::on(&set, "a29").await;
    named.uri = format!("{}&appName=a29", named.uri);
    let run = || named.run().args(["--source", "oplog"]);
    let first = named.start(run()).await;
    named.insert(0..3).await;
    wait_for(&first, 3).await;
    let data = doc! { "failCommands": ["getMore"], "appName": "a29", "errorCode": 136 };
    let fail = doc! { "configureFailPoint": "failCommand", "mode": "alwaysOn", "data": data };
    let admin = named.client.database("admin");
    admin.run_command(fail).await?;
    assert_eq!(first.wait_exit(DEADLINE).await?, 3);
    let off = doc! { "configureFailPoint": "failCommand", "mode": "off" };
    admin.run_command(off).await?;
    let told = said(&first);
    assert!(told.contains(" is lost: "), "{told}");
    assert!(told.contains("--on-position-lost skip"), "{told}");
    assert_eq!(named.own("gaps").await.len(), 1);
    // Nothing was passed over: what is still there is read from the same position on.
    named.insert(3..5).await;
    let second = named.start(run()).await;
    wait_for(&second, 2).await;
    second.signal(Signal::Terminate)?;
    assert_eq!(second.wait_exit(DEADLINE).await?, 0);
    assert_eq!(ids(&second), [3, 4]);
    Ok(())
}
