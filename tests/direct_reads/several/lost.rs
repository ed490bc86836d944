//! A position that one of several deployments loses; and what is refused.

use bson::doc;
use mongodb::options::WriteConcern;
use oplet_testkit::{Oplet, Options, ReplicaSet};
use serde_json::Value;

use super::{is_read, of, ops, read_directly};
use crate::{
    DEADLINE,
    delivery::{
        member::Member,
        pair::Pair,
        scrape::Scrape,
        several::{begun, run, told},
    },
    direct_reads::{
        asked::{admin, ask},
        scene::{said, stop},
    },
};

/// One loses its position; what was read of the other is not read again.
async fn check_lost(flags: &[&str]) {
    let set = ReplicaSet::start(Options {
        set_name: "us".into(),
        ..Options::tiny_oplog()
    });
    let set = set.await.unwrap();
    let client = set.client().await.unwrap();
    let scene = Pair::with(async { Member { set, client } }).await;
    let run = || {
        let resnapshot = ["--on-position-lost", "resnapshot", "--admin", "127.0.0.1:0"];
        scene.run_both("oplog").args(resnapshot).args(flags)
    };
    let insert = async |ids: std::ops::Range<i32>| {
        for (_, member) in scene.members() {
            member.insert(ids.clone()).await;
        }
    };
    insert(0..4).await;
    let first = begun(run()).await;
    let read = if flags.is_empty() { 0 } else { 8 };
    first.wait_for_lines(read, DEADLINE).await.unwrap();
    insert(4..6).await;
    first.wait_for_lines(read + 4, DEADLINE).await.unwrap();
    stop(&first).await;
    assert_eq!(read_directly(&first).len(), read);
    insert(6..8).await;
    scene.us.set.roll_oplog().await.unwrap();

    let second = run().start().unwrap();
    let lost = said(&second, "the position is lost").await;
    assert!(lost.contains("cluster=\"us\""), "{lost}");
    if let Err(error) = second.wait_for_lines(10, DEADLINE * 2).await {
        panic!("{error:#}\n{}", second.stderr().all().join("\n"));
    }
    let scrape = Scrape::of(&second).await;
    for (cluster, gaps) in [("eu", 0), ("us", 1)] {
        let series = format!("oplet_source_gaps_total{{cluster=\"{cluster}\"}}");
        assert_eq!(scrape.value(&series) as i64, gaps);
    }
    let text = ask(&admin(&second).await, &["status", "--format", "text"]).await;
    assert!(text.contains("lost of us from"), "{text}");
    insert(8..9).await;
    second.wait_for_lines(12, DEADLINE).await.unwrap();
    stop(&second).await;
    let (reads, changes): (Vec<_>, Vec<_>) = ops(&second).into_iter().partition(is_read);
    assert_eq!(told(&reads), of(&[("us", 0..8)]));
    assert_eq!(told(&changes), of(&[("eu", 6..9), ("us", 8..9)]));
    let gaps = scene.folder.path().join("checkpoint.gaps.jsonl");
    let gaps = std::fs::read_to_string(gaps).unwrap();
    let gap: Value = serde_json::from_str(gaps.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&gap["cluster"], &gap["policy"]),
        (&"us".into(), &"resnapshot".into())
    );
}

#[tokio::test]
async fn collections_of_the_one_that_was_lost_are_read_again() {
    check_lost(&[]).await;
}

#[tokio::test]
async fn what_is_read_of_the_one_that_was_lost_is_read_again() {
    check_lost(&["--direct-read", "shop.things", "--ordering", "oplog"]).await;
}

#[tokio::test]
async fn shards_that_are_read_one_by_one_are_not_read_directly() {
    let (config, shard) = tokio::join!(
        Member::start_with("config", &["--configsvr"]),
        Member::start("one")
    );
    let host = format!("one/{}", shard.set.host());
    let list = config.client.database("config").collection("shards");
    let listed = list.insert_one(doc! { "_id": "one", "host": host, "state": 1 });
    listed
        .write_concern(WriteConcern::majority())
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = || {
        run(folder.path(), "oplog")
            .args(["--uri", &shard.set.uri()])
            .args(["--config-uri", &config.set.uri()])
    };
    let refused = async |oplet: Oplet, expected: i32| {
        let running = oplet.start().unwrap();
        let code = running.wait_exit(DEADLINE).await.unwrap();
        let text = running.stderr().all().join("\n");
        assert_eq!(code, expected, "{text}");
        text
    };
    for flags in [
        ["--direct-read", "shop.things"],
        ["--on-position-lost", "resnapshot"],
    ] {
        let text = refused(run().args(flags), 2).await;
        for words in ["belong to another one", "through a mongos"] {
            assert!(text.contains(words), "{flags:?}: {text}");
        }
    }
    let running = begun(run().args(["--admin", "127.0.0.1:0"])).await;
    let address = admin(&running).await;
    let asked = crate::oplet().args(["snapshot", "shop.things", "--admin", &address]);
    let text = refused(asked, 1).await;
    assert!(text.contains("belong to another one"), "{text}");
    stop(&running).await;
}
