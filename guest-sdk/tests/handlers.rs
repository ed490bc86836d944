//! What a handler may count on, by the code that a module's exports run.

use std::time::Duration;

use oplet_sdk::{
    Error, Handler, Level, Namespace, Op, Operation, Outcome, Source,
    bson::{Document, RawBsonRef, doc},
    count, emit, emit_to, sink,
    testing::{self, TestOp},
};
use serde::Deserialize;

/// A handler made of closures.
struct By<F, H>(F, H);

impl<F: Fn(&Op) -> bool, H: FnMut(&Op) -> Outcome> Handler for By<F, H> {
    fn filter(&self, op: &Op) -> bool {
        self.0(op)
    }

    fn handle(&mut self, op: &Op) -> Outcome {
        self.1(op)
    }
}

fn filtered(op: &TestOp, filter: impl Fn(&Op) -> bool) -> (bool, bool) {
    let run = testing::run(&mut By(filter, |_: &Op| Ok(())), op);
    (run.kept, run.asked_again)
}

fn handled(op: &TestOp, handle: impl FnMut(&Op) -> Outcome) -> testing::Run {
    testing::run(&mut By(|_: &Op| true, handle), op)
}

#[test]
fn a_filter_on_data_of_a_pending_update_is_asked_again() {
    let update = testing::update("a.b", doc! {"_id": 1, "n": 5}).updated(doc! {"n": 5});
    let pending = update.clone().pending();
    // Every way to `data` is noticed, whatever the filter answered without it.
    assert_eq!(
        filtered(&pending, |op| op.get_i64("data.n") == Some(5)),
        (true, true)
    );
    assert_eq!(
        filtered(&pending, |op| op.get_i64("data.n") != Some(5)),
        (false, true)
    );
    assert_eq!(filtered(&pending, |op| op.data().is_some()), (true, true));
    assert_eq!(
        filtered(&pending, |op| op.get("data").is_some()),
        (true, true)
    );
    assert_eq!(
        filtered(&pending, |op| op.data_as::<Document>().unwrap().is_some()),
        (true, true)
    );
    // The envelope, and an op that is not pending, decide at once.
    assert_eq!(
        filtered(&pending, |op| op.id().is_some()
            && op.before().is_none()
            && op.is_pending()),
        (true, false)
    );
    assert_eq!(
        filtered(&pending, |op| op
            .update_description()
            .is_some_and(|u| u.touches("n"))),
        (true, false)
    );
    assert_eq!(
        filtered(&update, |op| op.get_i64("data.n") == Some(5)),
        (true, false)
    );
    // The document may be gone.
    assert_eq!(
        filtered(&pending.gone(), |op| op.data().is_some()),
        (false, true)
    );
}

#[test]
fn outputs_count_only_when_the_op_is_done() {
    let op = testing::insert("a.b", doc! {"_id": 1});
    let emitting = |outcome: Outcome| {
        handled(&op, move |op| {
            emit(&doc! {"_id": op.op_id()})?;
            emit_to(sink("mails").unwrap(), &doc! {"to": "ann"})?;
            count("mails", 2);
            oplet_sdk::warn!("{} sent", 1);
            outcome.clone()
        })
    };
    let done = emitting(Ok(()));
    assert_eq!(done.documents(), [&doc! {"_id": op.op_id()}]);
    assert_eq!(done.documents_to("mails"), [&doc! {"to": "ann"}]);
    assert_eq!(done.counts["mails"], 2);
    assert_eq!(done.logs, [(Level::Warn, "1 sent".to_owned())]);
    for error in [
        Error::retry("why"),
        Error::retry_after(Duration::from_millis(1500)),
        Error::reject("never"),
    ] {
        let run = emitting(Err(error.clone()));
        assert_eq!((run.outcome, run.outputs), (Err(error), vec![]));
    }
}

#[test]
fn what_is_not_a_document_is_not_emitted() {
    let run = handled(&testing::delete("a.b", 1), |_| Ok(emit("text")?));
    assert!(matches!(run.outcome, Err(Error::Reject(reason)) if reason.starts_with("cannot emit")));
}

#[test]
fn sinks_are_known_by_name() {
    testing::set_sinks(&["mails"]);
    assert!(sink("mails").is_some() && sink("letters").is_none());
}

#[test]
#[should_panic(expected = "`filter` may not emit")]
fn a_filter_may_not_emit() {
    filtered(&testing::delete("a.b", 1), |_| emit(&doc! {}).is_ok());
}

struct Bare;

impl Handler for Bare {}

#[test]
fn a_handler_that_leaves_out_all_passes_ops_on() {
    let op = testing::insert("a.b", doc! {"_id": 1, "x": 1});
    let run = testing::run(&mut Bare, &op);
    assert_eq!(
        run.documents()[0].get_document("data").unwrap(),
        &doc! {"_id": 1, "x": 1}
    );
    assert_eq!(testing::pipeline(&Bare, "a.b", Source::DirectRead), None);
    assert_eq!(testing::flush(&mut Bare).outcome, Ok(()));
}

#[test]
fn every_field_has_its_accessor() {
    let op = testing::replace("a.b.c", doc! {"_id": "x", "n": 1})
        .before(doc! {"_id": "x"})
        .timestamp(7, 9)
        .source(Source::Oplog)
        .wall_time(oplet_sdk::bson::DateTime::from_millis(5))
        .with("cluster", "rs0")
        .with(
            "txn",
            doc! {"lsid": {"id": 1}, "txnNumber": 4_i64, "index": 2},
        )
        .with("documentKey", doc! {"shard": 1, "_id": "x"});
    op.with_op(|op| {
        assert_eq!(
            (op.operation(), op.is_update(), op.is_replace()),
            (Operation::Update, true, true)
        );
        assert_eq!(
            (op.namespace(), op.op_id()),
            (Namespace::new("a.b.c"), "7:9")
        );
        assert_eq!((op.timestamp().time, op.timestamp().increment), (7, 9));
        assert_eq!((op.source(), op.cluster()), (Source::Oplog, Some("rs0")));
        assert_eq!(op.wall_time().unwrap().timestamp_millis(), 5);
        assert_eq!(op.id(), Some(RawBsonRef::String("x")));
        assert_eq!(op.document_key().unwrap().get_i32("shard").ok(), Some(1));
        let txn = op.txn().unwrap();
        assert_eq!(
            (txn.number(), txn.index(), txn.lsid().is_some()),
            (Some(4), Some(2), true)
        );
        assert_eq!(op.before_as::<Document>().unwrap(), Some(doc! {"_id": "x"}));
        assert_eq!(op.get_str("operation"), Some("u"));
        assert!(
            op.update_description().is_none()
                && !op.is_pending()
                && op.get("nothing.here").is_none()
        );
    });
}

#[test]
fn handle_goes_on_where_filter_stopped_reading() {
    let update = Op::update("a.b", doc! {"_id": 1, "n": 5}).updated(doc! {"n": 5});
    type Look = fn(&Op) -> Option<i64>;
    let looks: [Look; 4] = [
        |op| Some(op.op_id().len() as i64),
        |op| op.get_i64("data.n"),
        |op| op.get_i64("before.n"),
        |op| {
            op.update_description()?
                .updated("n")?
                .as_i32()
                .map(i64::from)
        },
    ];
    for op in [
        update.clone(),
        update.clone().pending(),
        update.pending().before(doc! {"n": 4}),
    ] {
        for first in looks {
            for second in looks {
                let expected = op.with_op(second);
                let mut seen = None;
                let filter = move |op: &Op| first(op) != Some(i64::MAX);
                testing::run(
                    &mut By(filter, |op: &Op| {
                        seen = Some(second(op));
                        Ok(())
                    }),
                    &op,
                );
                assert_eq!(seen, Some(expected));
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[allow(dead_code, reason = "read by serde")]
    limits: Limits,
}

#[derive(Debug, Deserialize)]
struct Limits {
    total_min: f64,
}

#[derive(Debug)]
struct Configured;

impl Handler for Configured {}

impl TryFrom<Config> for Configured {
    type Error = String;

    fn try_from(config: Config) -> Result<Self, String> {
        match config.limits.total_min {
            min if min < 0.0 => Err(format!("`limits.total_min` is {min}")),
            _ => Ok(Self),
        }
    }
}

#[test]
fn a_configuration_that_does_not_fit_is_refused_by_the_name_of_its_key() {
    let refused = |config| testing::configure::<Configured, Config>(&config).unwrap_err();
    for (config, expected) in [
        (doc! {}, "missing field `limits`"),
        (doc! {"limits": {}}, "`limits`: missing field `total_min`"),
        (
            doc! {"limits": {"total_min": "much"}},
            r#"`limits.total_min`: invalid type: string "much", expected f64"#,
        ),
        (
            doc! {"limits": {"total_min": 1}, "limit": 1},
            "`limit`: unknown field `limit`, expected `limits`",
        ),
        (
            doc! {"limits": {"total_min": -1.0}},
            "`limits.total_min` is -1",
        ),
    ] {
        assert_eq!(refused(config), expected);
    }
    let fits = doc! {"limits": {"total_min": 1}};
    assert!(testing::configure::<Configured, Config>(&fits).is_ok());
}
