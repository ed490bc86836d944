//! What `GET /metrics` tells, beside what was done.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use axum::{Router, http::StatusCode, routing::post};
use bson::{Bson, Document, doc};
use oplet::telemetry::{ALL, Kind, Metric, NAMESPACES_MAX};
use oplet_testkit::{Oplet, Options, ReplicaSet, Signal, eventually, guest, wat};

use super::{
    process::{Named, wait_for},
    scrape::{Scrape, ask},
};
use crate::{DEADLINE, oplet};

/// How often the modules of these runs are tried.
const ATTEMPTS: f64 = 3.0;

/// `oplet run` of these modules under the name of the database, with one lane and the admin API.
fn run(named: &Named, modules: &[std::path::PathBuf], source: &str) -> Oplet {
    oplet()
        .arg("run")
        .args(modules)
        .args(["--uri", &named.uri, "--watch", &named.database])
        .args(["--name", &named.database, "--source", source])
        .args(["--checkpoint", "mongodb:oplet.checkpoints"])
        .args(["--workers", "1", "--admin", "127.0.0.1:0"])
}

/// Counts the ops that it sees.
const SEEN: &str = r#"(module
    (import "oplet" "count" (func $count (param i32 i32 i64)))
    (memory (export "memory") 2)
    (data (i32.const 1024) "seen")
    (func (export "oplet_abi_v1"))
    (func (export "oplet_alloc") (param i32) (result i32) (i32.const 4096))
    (func (export "handle") (param i32 i32) (result i32)
        (call $count (i32.const 1024) (i32.const 4) (i64.const 1))
        (i32.const 0)))"#;

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_was_done() {
    for source in ["oplog", "change-stream"] {
        tell_what_was_done(source).await;
    }
}

async fn tell_what_was_done(source: &str) {
    let named = Named::new("metrics").await;
    let database = named.client.database(&named.database);
    // Now, so that what is counted later begins with the first document.
    for collection in ["things", "others", "empty"] {
        database.create_collection(collection).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen.wasm");
    std::fs::write(&seen, wat(SEEN).unwrap()).unwrap();
    let modules = [guest("guest_faulty").unwrap(), seen];
    let attempts = ATTEMPTS.to_string();
    let oplet = run(&named, &modules, source)
        .args(["--attempts", &attempts])
        // Nothing is in it, but its reading is measured.
        .args(["--direct-read", &format!("{}.empty", named.database)]);
    let running = named.start(oplet).await;

    let things = database.collection::<Document>("things");
    named.insert(0..10).await;
    for id in 0..3 {
        let (which, update) = (doc! { "_id": id }, doc! { "$set": { "sequence": 2 } });
        things.update_one(which, update).await.unwrap();
    }
    for id in 3..5 {
        things.delete_one(doc! { "_id": id }).await.unwrap();
    }
    let others = database.collection::<Document>("others");
    let documents = [
        doc! { "_id": 1 },
        doc! { "_id": 2, "panic": true },
        doc! { "_id": 3, "reject": true },
        doc! { "_id": 4 },
    ];
    others.insert_many(documents).await.unwrap();
    others.drop().await.unwrap();
    // One for each op, but for the two that fail.
    wait_for(&running, 18).await;
    let settled = async || {
        let scrape = Scrape::of(&running).await;
        // Three writes that are seen from outside as one: the op, its letter, the checkpoint.
        scrape.value("oplet_flow_in_flight_ops") == 0.0
            && scrape.value("oplet_dead_letters_written_total") == 2.0
            && scrape.value("oplet_checkpoint_saves_total") > 0.0
    };
    eventually(DEADLINE, settled).await.unwrap();
    // Lag and window are told when the server was asked for both ends of its oplog.
    let all_told = async || {
        let scrape = Scrape::of(&running).await;
        ALL.iter()
            .all(|one| !scrape.all(&series_of(one)).is_empty())
    };
    let _ = eventually(DEADLINE, all_told).await;
    let scrape = Scrape::of(&running).await;

    let series = |namespace: &str, operation: &str, value: f64| {
        let namespace = format!("{}.{namespace}", named.database);
        let labels = format!(r#"{{namespace="{namespace}",operation="{operation}"}}"#);
        (labels, value)
    };
    let by_namespace = |name: &str, expected: &[(String, f64)]| {
        let expected = expected.iter().map(|(labels, value)| (&**labels, *value));
        let expected: BTreeMap<_, _> = expected.collect();
        assert_eq!(scrape.all(name), expected, "{name} of {source}");
    };
    let common = |others_inserted: f64, modules: f64| {
        [
            series("things", "insert", 10.0 * modules),
            series("things", "update", 3.0 * modules),
            series("things", "delete", 2.0 * modules),
            series("others", "insert", others_inserted),
            series("others", "command", modules),
        ]
    };
    by_namespace("oplet_source_ops_total", &common(4.0, 1.0));
    // `seen` handles the two that the other fails on, too.
    by_namespace("oplet_flow_handled_ops_total", &common(2.0 + 4.0, 2.0));
    by_namespace("oplet_flow_emitted_documents_total", &common(2.0, 1.0));

    let printed: usize = running
        .stdout()
        .all()
        .iter()
        .map(|line| line.len() + 1)
        .sum();
    scrape.has(&[
        (r#"oplet_guest_calls_total{module="seen"}"#, 20.0),
        (
            r#"oplet_guest_failures_total{module="guest_faulty",class="trap"}"#,
            ATTEMPTS,
        ),
        (
            r#"oplet_guest_failures_total{module="guest_faulty",class="reject"}"#,
            1.0,
        ),
        (
            r#"oplet_guest_retries_total{module="guest_faulty"}"#,
            ATTEMPTS - 1.0,
        ),
        (r#"oplet_guest_retries_total{module="seen"}"#, 0.0),
        (
            r#"oplet_guest_dead_letters_total{module="guest_faulty"}"#,
            2.0,
        ),
        (
            r#"oplet_guest_skipped_ops_total{module="guest_faulty"}"#,
            0.0,
        ),
        (
            r#"oplet_guest_emitted_documents_total{module="guest_faulty"}"#,
            18.0,
        ),
        (r#"oplet_guest_emitted_documents_total{module="seen"}"#, 0.0),
        (r#"oplet_guest_waiting_ops{module="guest_faulty"}"#, 0.0),
        (r#"oplet_guest_breaker_open{module="guest_faulty"}"#, 0.0),
        (r#"oplet_module_count{module="seen",name="seen"}"#, 20.0),
        ("oplet_dead_letters_written_total", 2.0),
        ("oplet_dead_letters_waiting", 0.0),
        ("oplet_dead_letters_failures_total", 0.0),
        (
            r#"oplet_sink_delivered_documents_total{sink="stdout"}"#,
            18.0,
        ),
        (
            r#"oplet_sink_delivered_bytes_total{sink="stdout"}"#,
            printed as f64,
        ),
        (r#"oplet_sink_rejected_documents_total{sink="stdout"}"#, 0.0),
        (r#"oplet_sink_queued_documents{sink="stdout"}"#, 0.0),
        (r#"oplet_sink_ready{sink="stdout"}"#, 1.0),
        ("oplet_source_gaps_total", 0.0),
        ("oplet_source_reconnects_total", 0.0),
        ("oplet_source_undecodable_entries_total", 0.0),
        ("oplet_flow_in_flight_bytes", 0.0),
        ("oplet_checkpoint_failures_total", 0.0),
        ("oplet_checkpoint_unacknowledged_seconds", 0.0),
        ("oplet_control_ready", 1.0),
    ]);
    // Eighteen went well, one was refused, one was tried until nothing was left. What the module may have
    // gathered when it failed, it handles again.
    let calls = scrape.value(r#"oplet_guest_calls_total{module="guest_faulty"}"#);
    let least = 18.0 + 1.0 + ATTEMPTS;
    assert!((least..least + 18.0).contains(&calls), "{calls}");
    is_in(&scrape, "streaming");
    // One call in 64 is timed, from each module's first on.
    let timed = scrape.all("oplet_guest_call_seconds_count");
    assert!(timed.values().eq(&[1.0, 1.0]), "{timed:?}");
    let deliveries = scrape.value(r#"oplet_sink_delivery_seconds_count{sink="stdout"}"#);
    assert!((1.0..=18.0).contains(&deliveries), "{deliveries}");
    assert!(scrape.value("oplet_source_batches_total") >= 1.0);
    assert!(scrape.value("oplet_source_read_bytes_total") > 20.0 * 30.0);
    assert!(scrape.value("oplet_source_lag_seconds") < DEADLINE.as_secs_f64());
    assert!(scrape.value("oplet_checkpoint_age_seconds") < DEADLINE.as_secs_f64());
    let now = bson::DateTime::now().timestamp_millis() as f64 / 1000.0;
    let position = scrape.value("oplet_source_position_timestamp_seconds");
    assert!(
        (now - position).abs() < DEADLINE.as_secs_f64(),
        "{position}"
    );
    // Nothing is declared that a run never tells.
    for metric in ALL {
        let name = series_of(metric);
        let series = scrape.all(&name);
        assert!(!series.is_empty(), "{name} in {:#?}", scrape);
        // This run reads one deployment, which is not told from others.
        let declared = metric.labels.iter().filter(|label| **label != "cluster");
        let declared = declared.count();
        for labels in series.keys() {
            let count = labels.matches("=\"").count();
            assert_eq!(count, declared, "{name}{labels}");
        }
    }

    ask(&running, "POST /pause").await;
    let scrape = Scrape::of(&running).await;
    is_in(&scrape, "paused");
    scrape.has(&[("oplet_control_ready", 0.0)]);
    running.signal(Signal::Terminate).unwrap();
    assert_eq!(running.wait_exit(DEADLINE).await.unwrap(), 0);
}

/// The name of the series of a metric, or of one of them.
fn series_of(metric: &Metric) -> String {
    match metric.kind {
        Kind::Histogram => format!("{}_count", metric.name),
        Kind::Counter | Kind::Gauge => metric.name.to_owned(),
    }
}

/// That the run is in this state, and in no other.
#[track_caller]
fn is_in(scrape: &Scrape, state: &str) {
    let states = scrape.all("oplet_control_state");
    assert_eq!(states.values().sum::<f64>(), 1.0, "{states:?}");
    let label = format!(r#"{{state="{state}"}}"#);
    assert_eq!(states.get(&*label), Some(&1.0), "{states:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_a_sink_refused_and_when_it_was_away() {
    // Away at first; one document it never takes.
    static ASKED: AtomicU64 = AtomicU64::new(0);
    let receive = async |body: String| match ASKED.fetch_add(1, SeqCst) {
        0 => StatusCode::SERVICE_UNAVAILABLE,
        _ if body.contains(r#""_id":3"#) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sink = format!("web=http://{}/", listener.local_addr().unwrap());
    let app = Router::new().route("/", post(receive));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });

    let named = Named::new("refusing").await;
    let database = named.client.database(&named.database);
    database.create_collection("things").await.unwrap();
    let oplet = run(&named, &[guest("guest_echo").unwrap()], "oplog").args(["--sink", &sink]);
    let running = named.start(oplet).await;
    named.insert(0..6).await;
    let told = async || {
        let scrape = Scrape::of(&running).await;
        scrape.value("oplet_dead_letters_written_total") == 1.0
            && scrape.value(r#"oplet_sink_delivered_documents_total{sink="web"}"#) == 5.0
            && scrape.value(r#"oplet_sink_ready{sink="web"}"#) == 1.0
    };
    if eventually(DEADLINE, told).await.is_err() {
        panic!(
            "{:#?}\n{:#?}",
            Scrape::of(&running).await,
            running.stderr().all()
        );
    }
    Scrape::of(&running).await.has(&[
        (r#"oplet_sink_rejected_documents_total{sink="web"}"#, 1.0),
        (r#"oplet_sink_failures_total{sink="web"}"#, 1.0),
        (r#"oplet_sink_ready{sink="web"}"#, 1.0),
        (
            r#"oplet_guest_dead_letters_total{module="guest_echo"}"#,
            0.0,
        ),
    ]);
    running.signal(Signal::Terminate).unwrap();
    assert_eq!(running.wait_exit(DEADLINE).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_transactions_and_of_those_that_failed() {
    let set = ReplicaSet::start(Options::default()).await.unwrap();
    let named = Named::on(&set, "transactions").await;
    let database = named.client.database(&named.database);
    database.create_collection("things").await.unwrap();
    let copy = format!("{}_copy", named.database);
    let sink = format!("copy=mongodb:{copy}.things#transactional=true");
    let echo = [guest("guest_echo").unwrap()];
    let running = named
        .start(run(&named, &echo, "oplog").args(["--sink", &sink]))
        .await;
    let fail = |mode: Bson| {
        let data = doc! { "failCommands": ["commitTransaction"], "errorCode": 251,
        "errorLabels": ["TransientTransactionError"] };
        doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data }
    };
    let admin = named.client.database("admin");
    admin.run_command(fail("alwaysOn".into())).await.unwrap();
    named.insert(0..6).await;
    let failures = r#"oplet_sink_failures_total{sink="copy"}"#;
    let ready = r#"oplet_sink_ready{sink="copy"}"#;
    let failed = async || {
        let scrape = Scrape::of(&running).await;
        // Counted one after the other.
        [failures, "oplet_checkpoint_failures_total"]
            .iter()
            .all(|series| scrape.value(series) >= 2.0)
    };
    eventually(DEADLINE, failed).await.unwrap();
    let delivered = r#"oplet_sink_delivered_documents_total{sink="copy"}"#;
    let scrape = Scrape::of(&running).await;
    scrape.has(&[(ready, 0.0), (delivered, 0.0), ("oplet_control_ready", 0.0)]);

    admin.run_command(fail("off".into())).await.unwrap();
    let came = async || Scrape::of(&running).await.value(delivered) == 6.0;
    eventually(DEADLINE, came).await.unwrap();
    let scrape = Scrape::of(&running).await;
    scrape.has(&[(ready, 1.0)]);
    let took = r#"oplet_sink_delivery_seconds_count{sink="copy"}"#;
    assert!((1.0..=6.0).contains(&scrape.value(took)), "{scrape:#?}");
    let bytes = r#"oplet_sink_delivered_bytes_total{sink="copy"}"#;
    assert!(scrape.value(bytes) > 6.0 * 20.0, "{scrape:#?}");
    running.signal(Signal::Terminate).unwrap();
    assert_eq!(running.wait_exit(DEADLINE).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_stay_bounded_however_many_namespaces_there_are() {
    const NAMESPACES: usize = 300;
    let named = Named::new("namespaces").await;
    let database = named.client.database(&named.database);
    let echo = [guest("guest_echo").unwrap()];
    let running = named.start(run(&named, &echo, "oplog")).await;
    for n in 0..NAMESPACES {
        let collection = database.collection::<Document>(&format!("c{n}"));
        collection
            .insert_one(doc! { "_id": n as i64 })
            .await
            .unwrap();
    }
    let inserts = |scrape: &Scrape, name: &str| {
        let series = scrape.all(name).into_iter();
        let inserts = series.filter(|(labels, _)| labels.contains(r#"operation="insert""#));
        inserts.map(|(_, value)| value).collect::<Vec<_>>()
    };
    let names = ["oplet_source_ops_total", "oplet_flow_handled_ops_total"];
    let all_told = async || {
        let scrape = Scrape::of(&running).await;
        let sum = |name: &&str| inserts(&scrape, name).iter().sum::<f64>();
        names.iter().all(|name| sum(name) == NAMESPACES as f64)
    };
    eventually(DEADLINE, all_told).await.unwrap();
    let scrape = Scrape::of(&running).await;
    for name in names {
        assert_eq!(inserts(&scrape, name).len(), NAMESPACES_MAX + 1, "{name}");
        let other = format!(r#"{name}{{namespace="other",operation="insert"}}"#);
        let others = (NAMESPACES - NAMESPACES_MAX) as f64;
        assert_eq!(scrape.value(&other), others, "{name}");
    }
    running.signal(Signal::Terminate).unwrap();
    assert_eq!(running.wait_exit(DEADLINE).await.unwrap(), 0);
    database.drop().await.unwrap();
}
