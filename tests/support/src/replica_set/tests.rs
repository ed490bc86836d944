//! Against a real mongod.

use std::env;
use std::path::Path;

use super::*;
use crate::{Oplet, Signal, database_name, eventually};

const DEADLINE: Duration = Duration::from_secs(30);
/// Makes a test that is run as a child process the owner to be killed.
const OWNER: &str = "OPLET_TESTKIT_OWNER";

async fn start(mode: Mode) -> ReplicaSet {
    ReplicaSet::start(Options {
        mode,
        ..Options::default()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn data_survives_a_kill_and_a_shutdown() {
    let set = start(Mode::ReplicaSet).await;
    let client = set.client().await.unwrap();
    let documents = client.database("shop").collection::<Document>("orders");
    documents.insert_one(doc! { "_id": 1 }).await.unwrap();

    let pid = set.pid();
    set.kill().await.unwrap();
    assert_eq!(set.pid(), None);
    assert!(set.kill().await.is_err(), "there is nothing to kill");
    set.restart().await.unwrap();
    assert_ne!(set.pid(), pid);
    assert!(set.restart().await.is_err(), "it runs already");
    documents.insert_one(doc! { "_id": 2 }).await.unwrap();

    set.terminate().await.unwrap();
    set.restart().await.unwrap();
    assert_eq!(documents.count_documents(doc! {}).await.unwrap(), 2);
    client.shutdown().await;
}

#[tokio::test]
async fn a_suspended_server_answers_after_it_resumes() {
    let set = start(Mode::ReplicaSet).await;
    let client = set.client().await.unwrap();
    let admin = client.database("admin");
    let ping = async || admin.run_command(doc! { "ping": 1 }).await;
    ping().await.unwrap();
    set.suspend().await.unwrap();
    assert!(
        tokio::time::timeout(Duration::from_millis(200), ping())
            .await
            .is_err()
    );
    set.resume().await.unwrap();
    eventually(DEADLINE, async || ping().await.is_ok())
        .await
        .unwrap();
    client.shutdown().await;
}

#[tokio::test]
async fn a_standalone_and_an_uninitiated_member_say_what_they_are() {
    for (mode, field) in [
        (Mode::Standalone, "maxBsonObjectSize"),
        (Mode::Uninitiated, "isreplicaset"),
    ] {
        let set = start(mode).await;
        let client = set.client().await.unwrap();
        let hello = client
            .database("admin")
            .run_command(doc! { "hello": 1 })
            .await
            .unwrap();
        assert!(
            hello.contains_key(field) && !hello.contains_key("setName"),
            "{mode:?}: {hello}"
        );
        assert_eq!(
            hello.get_bool("isWritablePrimary").unwrap(),
            mode == Mode::Standalone
        );
        client.shutdown().await;
    }
}

#[tokio::test]
async fn a_refused_argument_is_told_at_once() {
    let options = Options {
        arguments: vec!["--no-such-option".into()],
        ..Options::default()
    };
    let error = ReplicaSet::start(options).await.unwrap_err().to_string();
    assert!(error.contains("no-such-option"), "{error}");
}

#[tokio::test]
async fn one_is_shared_from_many_runtimes() {
    let write = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let set = ReplicaSet::shared().await.unwrap();
            let client = set.client().await.unwrap();
            let documents = client
                .database(&database_name("shared"))
                .collection::<Document>("c");
            documents.insert_one(doc! {}).await.unwrap();
            client.shutdown().await;
            set.port()
        })
    };
    let threads = [std::thread::spawn(write), std::thread::spawn(write)];
    let ports = threads.map(|thread| thread.join().unwrap());
    assert_eq!(ports[0], ports[1]);
}

/// The owner that is killed is this same test in a process of its own.
#[tokio::test]
async fn a_killed_owner_leaves_nothing_behind() {
    if env::var_os(OWNER).is_some() {
        let set = start(Mode::ReplicaSet).await;
        set.suspend().await.unwrap();
        let line = format!(
            "\nowned {} {}\n",
            set.pid().unwrap(),
            set.keeper.directory().display()
        );
        std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).unwrap();
        return std::future::pending().await;
    }
    let mut owner = Oplet::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "replica_set::tests::a_killed_owner_leaves_nothing_behind",
            "--nocapture",
        ])
        .env(OWNER, "1");
    if let Some(mongod) = env::var_os("OPLET_MONGOD") {
        owner = owner.env("OPLET_MONGOD", mongod);
    }
    let owner = owner.start().unwrap();
    let line = owner
        .wait_for_line(|line| line.starts_with("owned "), DEADLINE)
        .await
        .unwrap();
    let (pid, directory) = line["owned ".len()..].split_once(' ').unwrap();
    let is_alive = || {
        Command::new("sh")
            .args(["-c", "kill -s 0 $0 2>&-", pid])
            .status()
            .unwrap()
            .success()
    };
    assert!(is_alive() && Path::new(directory).is_dir());

    owner.signal(Signal::Kill).unwrap();
    owner.wait_exit(DEADLINE).await.unwrap();
    eventually(DEADLINE, async || {
        !is_alive() && !Path::new(directory).exists()
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_tiny_oplog_rolls_over_again_and_again() {
    let set = ReplicaSet::start(Options::tiny_oplog()).await.unwrap();
    let first = set.roll_oplog().await.unwrap();
    let second = set.roll_oplog().await.unwrap();
    assert!(first < second);
}
