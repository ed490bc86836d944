//! The oplog rolls over while Oplet is stopped.

use bson::{Document, Timestamp};
use oplet_testkit::{Options, ReplicaSet, Signal};

use super::{
    process::{Named, ids, wait_for},
    scrape::Scrape,
};
use crate::DEADLINE;

/// A run that worked, was stopped, and whose position has rolled off the oplog since.
struct Left {
    set: ReplicaSet,
    named: Named,
    /// The checkpoint that it left.
    checkpoint: Document,
    /// Where the oplog begins now.
    oldest: Timestamp,
}

impl Left {
    async fn behind(source: &str) -> Self {
        let set = ReplicaSet::start(Options::tiny_oplog()).await.unwrap();
        let named = Named::on(&set, "lost").await;
        let first = named.start(named.run().args(["--source", source])).await;
        named.insert(0..3).await;
        wait_for(&first, 3).await;
        first.signal(Signal::Terminate).unwrap();
        assert_eq!(first.wait_exit(DEADLINE).await.unwrap(), 0);
        named.insert(3..5).await;
        let oldest = set.roll_oplog().await.unwrap();
        let checkpoint = named.own("checkpoints").await.remove(0);
        Self {
            set,
            named,
            checkpoint,
            oldest,
        }
    }

    /// The one record of the gap, which is checked for its ends.
    async fn gap(&self) -> Document {
        let mut gaps = self.named.own("gaps").await;
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        let gap = gaps.remove(0);
        let text = gap.to_string();
        assert!(
            text.contains(&self.named.database),
            "it names what was watched: {text}"
        );
        let to = gap.get_timestamp("to").unwrap();
        assert!(to >= self.oldest, "{text}");
        assert!(gap.contains_key("from"), "{text}");
        gap
    }
}

#[tokio::test]
async fn by_default_a_lost_position_ends_the_run_and_is_recorded() {
    for source in ["oplog", "change-stream"] {
        let left = Left::behind(source).await;
        // Again and again it is the same gap.
        for _ in 0..2 {
            let refused = left.named.run().args(["--source", source]).start().unwrap();
            assert_eq!(refused.wait_exit(DEADLINE).await.unwrap(), 3, "{source}");
            let said = refused.stderr().all().join("\n");
            assert!(said.contains("--on-position-lost skip"), "{said}");
            assert!(ids(&refused).is_empty());
        }
        let gap = left.gap().await;
        assert_eq!(gap.get_str("policy").unwrap(), "fail");
        let checkpoint = left.named.own("checkpoints").await.remove(0);
        assert_eq!(
            checkpoint
                .get_document("checkpoint")
                .unwrap()
                .get("streams"),
            left.checkpoint
                .get_document("checkpoint")
                .unwrap()
                .get("streams"),
            "the position stays where it was"
        );
        drop(left.set);
    }
}

#[tokio::test]
async fn with_skip_the_run_goes_on_with_what_is_left() {
    for source in ["oplog", "change-stream"] {
        let left = Left::behind(source).await;
        let run = || {
            left.named
                .run()
                .args(["--source", source, "--on-position-lost", "skip"])
                .args(["--admin", "127.0.0.1:0"])
        };
        let second = left.named.start(run()).await;
        second
            .wait_for_stderr(|line| line.contains("the position is lost"), DEADLINE)
            .await
            .unwrap();
        left.named.insert(5..8).await;
        wait_for(&second, 3).await;
        assert_eq!(
            ids(&second),
            [5, 6, 7],
            "{source}: what was rolled over is not there"
        );
        let gap = left.gap().await;
        assert_eq!(gap.get_str("policy").unwrap(), "skip");
        let gaps = Scrape::of(&second).await.value("oplet_source_gaps_total");
        assert_eq!(gaps, 1.0);
        second.signal(Signal::Terminate).unwrap();
        assert_eq!(second.wait_exit(DEADLINE).await.unwrap(), 0);
        // The gap is behind: the next run goes on without another.
        let third = left.named.start(run()).await;
        left.named.insert(8..9).await;
        wait_for(&third, 1).await;
        assert_eq!(ids(&third), [8]);
        left.gap().await;
        third.signal(Signal::Terminate).unwrap();
        assert_eq!(third.wait_exit(DEADLINE).await.unwrap(), 0);
    }
}
