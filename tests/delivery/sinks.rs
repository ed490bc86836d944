//! Sinks that are slow, away, or will not take a document.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use bson::{Document, doc};
use oplet_testkit::{RunningOplet, Signal, eventually};

use super::{process::Named, scrape::Scrape};
use crate::{DEADLINE, oplet};

/// How far a run is behind, in seconds.
const LAG: &str = "oplet_source_lag_seconds";

/// An HTTP server that can be told to hold back its answers.
struct Receiver {
    url: String,
    state: Arc<Received>,
}

#[derive(Default)]
struct Received {
    is_blocked: AtomicBool,
    documents: AtomicU64,
}

impl Receiver {
    async fn start() -> Self {
        let state = Arc::new(Received::default());
        let app = Router::new()
            .route("/", post(receive))
            .with_state(state.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, state }
    }

    fn count(&self) -> u64 {
        self.state.documents.load(SeqCst)
    }
}

async fn receive(State(state): State<Arc<Received>>, body: Bytes) -> StatusCode {
    while state.is_blocked.load(SeqCst) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let lines = body.iter().filter(|byte| **byte == b'\n').count() as u64;
    state.documents.fetch_add(lines, SeqCst);
    StatusCode::OK
}

/// The most memory that the process has held so far, in MiB.
fn peak_mib(running: &RunningOplet) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}

/// For how long the sink takes nothing; `OPLET_SOAK_ROUNDS` makes it the minute of a long run.
fn blocked_for() -> Duration {
    match std::env::var_os("OPLET_SOAK_ROUNDS") {
        Some(_) => Duration::from_secs(60),
        None => Duration::from_secs(6),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_blocks_holds_back_the_source_and_then_drains() {
    let named = Named::new("blocked").await;
    let receiver = Receiver::start().await;
    let sink = format!("{}#body=lines", receiver.url);
    let running = named
        .start(named.run().args([
            "--source",
            "oplog",
            "--sink",
            &sink,
            "--admin",
            "127.0.0.1:0",
        ]))
        .await;
    named.insert(0..100).await;
    eventually(DEADLINE, async || receiver.count() == 100)
        .await
        .unwrap();
    receiver.state.is_blocked.store(true, SeqCst);

    // 200 MB of documents, of which the window holds 64 MiB.
    let things = named
        .client
        .database(&named.database)
        .collection::<Document>("things");
    let text = "x".repeat(20_000);
    for batch in 0..20 {
        let documents = (0..500).map(|n| doc! { "_id": 1_000 + batch * 500 + n, "text": &text });
        things.insert_many(documents).await.unwrap();
    }
    // Other work goes on meanwhile, which is what the position falls behind.
    let others = named.client.database(&format!("{}_others", named.database));
    let end = std::time::Instant::now() + blocked_for();
    while std::time::Instant::now() < end {
        let other = others.collection::<Document>("things");
        other.insert_one(doc! { "a": 1 }).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let lags = async || Scrape::of(&running).await.value(LAG) >= 3.0;
    eventually(DEADLINE, lags).await.unwrap();
    let scrape = Scrape::of(&running).await;
    let lag = scrape.value(LAG);
    assert!(scrape.value("oplet_flow_in_flight_ops") > 0.0);
    let peak = peak_mib(&running);
    assert!(peak < 450, "{peak} MiB while the sink took nothing");
    crate::say(&format!(
        "a blocked sink: {peak} MiB at most, {lag} s behind"
    ));

    receiver.state.is_blocked.store(false, SeqCst);
    let started = std::time::Instant::now();
    // 200 MB by HTTP: seconds as a rule, more where the machine has much else to do.
    let complete = eventually(DEADLINE * 3, async || receiver.count() >= 10_100).await;
    if complete.is_err() {
        panic!(
            "{} documents\n{}",
            receiver.count(),
            running.stderr().all().join("\n")
        );
    }
    crate::say(&format!(
        "10,000 documents of 20 kB drained in {:?}",
        started.elapsed()
    ));
    let has_caught_up = async || Scrape::of(&running).await.value(LAG) <= 2.0;
    eventually(DEADLINE, has_caught_up).await.unwrap();
    running.signal(Signal::Terminate).unwrap();
    assert_eq!(running.wait_exit(DEADLINE).await.unwrap(), 0);
}

#[tokio::test]
async fn a_document_that_a_sink_will_not_take_lies_in_the_dead_letters() {
    let named = Named::new("refused").await;
    let copies = format!("{}_copies", named.database);
    let database = named.client.database(&copies);
    let validator = doc! { "data.sequence": { "$gt": 0 } };
    database
        .create_collection("things")
        .validator(validator)
        .await
        .unwrap();
    let letters = format!("mongodb:{copies}.letters");
    let sink = format!("mongodb:{copies}.things");
    let running = named
        .start(
            named
                .run()
                .args(["--sink", &sink, "--dead-letters", &letters]),
        )
        .await;
    let things = named
        .client
        .database(&named.database)
        .collection::<Document>("things");
    let documents = (0..50).map(|id| doc! { "_id": id, "sequence": i32::from(id != 17) });
    things.insert_many(documents).await.unwrap();
    let copied = async || {
        let copied = database
            .collection::<Document>("things")
            .count_documents(doc! {})
            .await;
        copied.unwrap() == 49
    };
    eventually(DEADLINE, copied).await.unwrap();
    let letters_collection = database.collection::<Document>("letters");
    let kept = async || letters_collection.count_documents(doc! {}).await.unwrap() == 1;
    eventually(DEADLINE, kept).await.unwrap();
    running.signal(Signal::Terminate).unwrap();
    assert_eq!(running.wait_exit(DEADLINE).await.unwrap(), 0);
    let letter = letters_collection.find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(letter.get_str("kind").unwrap(), "sink", "{letter}");

    // What was wrong is mended: the letter goes out, and away.
    let mend = doc! { "collMod": "things", "validator": {} };
    database.run_command(mend).await.unwrap();
    let redriven = oplet()
        .args(["dead-letters", "redrive"])
        .arg(oplet_testkit::guest("guest_echo").unwrap())
        .args([
            "--uri",
            &named.uri,
            "--dead-letters",
            &letters,
            "--sink",
            &sink,
        ])
        .start()
        .unwrap();
    let code = redriven.wait_exit(DEADLINE).await.unwrap();
    assert_eq!(code, 0, "{}", redriven.stderr().all().join("\n"));
    assert!(copied_all(&database).await);
    assert_eq!(
        letters_collection.count_documents(doc! {}).await.unwrap(),
        0
    );
}

async fn copied_all(database: &mongodb::Database) -> bool {
    let copied = database
        .collection::<Document>("things")
        .count_documents(doc! {})
        .await;
    copied.unwrap() == 50
}
