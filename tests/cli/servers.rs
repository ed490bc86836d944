//! Servers that cannot be used, each told apart.

use std::{fs::Permissions, os::unix::fs::PermissionsExt as _, path::Path};

use bson::doc;
use mongodb::Client;
use oplet_testkit::{Mode, Options, ReplicaSet};

use crate::{
    modules::{Ended, NOWHERE},
    oplet,
};

async fn tail(uri: &str, flags: &[&str]) -> Ended {
    Ended::of(oplet().args(["tail", "--uri", uri]).args(flags)).await
}

async fn server(mode: Mode) -> ReplicaSet {
    let options = Options {
        mode,
        ..Options::default()
    };
    ReplicaSet::start(options).await.unwrap()
}

/// The connection strings by which people name a server of that port.
fn uris(set: &ReplicaSet) -> [String; 3] {
    let plain = format!("mongodb://127.0.0.1:{}", set.port());
    [
        plain.clone(),
        format!("{plain}/?replicaSet=rs0"),
        format!("{plain}/?directConnection=true"),
    ]
}

/// The command that mends it.
fn initiate(set: &ReplicaSet) -> String {
    let uri = format!("mongodb://127.0.0.1:{}/?directConnection=true", set.port());
    format!("run `mongosh '{uri}' --eval 'rs.initiate()'` once")
}

#[tokio::test]
async fn a_standalone_is_told_with_what_makes_it_a_replica_set() {
    let standalone = server(Mode::Standalone).await;
    for uri in uris(&standalone) {
        let ended = tail(&uri, &[]).await.with_code(1);
        ended.says(&[
            &format!(
                "the server at 127.0.0.1:{} is a standalone, not a replica set",
                standalone.port()
            ),
            "restart mongod with `--replSet rs0`",
            &initiate(&standalone),
        ]);
    }
}

#[tokio::test]
async fn a_set_that_was_not_initiated_is_told_with_the_command_that_does() {
    let uninitiated = server(Mode::Uninitiated).await;
    for uri in uris(&uninitiated) {
        let ended = tail(&uri, &[]).await.with_code(1);
        ended.says(&[
            "waits for its replica set to be initiated",
            &initiate(&uninitiated),
        ]);
        assert!(!ended.stderr.contains("--replSet"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn an_unreachable_server_is_retried_until_the_connect_timeout() {
    // The first attempt alone takes almost a second.
    let ended = tail(NOWHERE, &["--connect-timeout", "3s"])
        .await
        .with_code(1);
    ended.says(&[
        "error: no server answered at 127.0.0.1:1 within 3s",
        "caused by: Connection refused",
        "hint: is mongod running there, and does --uri (or OPLET_URI) name it?",
    ]);
    let steps = ended
        .stderr
        .lines()
        .filter(|line| line.contains("no server answers"));
    let steps: Vec<_> = steps.collect();
    assert!((1..=5).contains(&steps.len()), "{steps:#?}");
    for step in steps {
        assert!(
            step.contains("retry_in=") && step.contains("Connection refused"),
            "{step}"
        );
        assert!(step.len() < 200, "{step}");
    }
}

#[tokio::test]
async fn a_server_that_comes_later_is_found() {
    let set = server(Mode::ReplicaSet).await;
    set.kill().await.unwrap();
    let tail = oplet()
        .args(["tail", "--uri", &set.uri(), "--exit-when-idle"])
        .start()
        .unwrap();
    let is_retried = |line: &str| line.contains("no server answers");
    tail.wait_for_stderr(is_retried, crate::DEADLINE)
        .await
        .unwrap();
    set.restart().await.unwrap();
    assert_eq!(tail.wait_exit(crate::DEADLINE).await.unwrap(), 0);
}

#[tokio::test]
async fn wrong_credentials_end_it_at_once() {
    let set = ReplicaSet::shared().await.unwrap();
    let uri = format!(
        "mongodb://nobody:wrong@127.0.0.1:{}/?replicaSet=rs0",
        set.port()
    );
    for ended in [
        tail(&uri, &[]).await,
        tail(&uri, &["--source", "oplog"]).await,
    ] {
        let ended = ended.with_code(1);
        ended.says(&[
            "refused the credentials",
            "caused by: ",
            "Authentication failed",
            "hint: check user, password and `authSource` in --uri",
        ]);
        assert!(!ended.stderr.contains("wrong"), "{}", ended.stderr);
        assert!(
            !ended.stderr.contains("no server answers"),
            "{}",
            ended.stderr
        );
    }
}

/// A replica set that asks for users, and the connection string of one without any role.
async fn server_with_users(key: &Path) -> (ReplicaSet, String) {
    // Members know each other by a key, and with it a server checks what its users may do.
    std::fs::write(key, "b3BsZXQgdGVzdHMgb25seQ==").unwrap();
    std::fs::set_permissions(key, Permissions::from_mode(0o400)).unwrap();
    let options = Options {
        arguments: vec![format!("--keyFile={}", key.display())],
        ..Options::default()
    };
    let set = ReplicaSet::start(options).await.unwrap();
    let uri = |user: &str| {
        format!(
            "mongodb://{user}:secret@127.0.0.1:{}/?replicaSet=rs0",
            set.port()
        )
    };
    // The first user may be made by anybody on the server's own machine.
    let create =
        |user: &str, roles: &[&str]| doc! {"createUser": user, "pwd": "secret", "roles": roles};
    let anybody = set.client().await.unwrap();
    let root = create("root", &["root"]);
    anybody.database("admin").run_command(root).await.unwrap();
    let root = Client::with_uri_str(uri("root")).await.unwrap();
    let guest = create("guest", &[]);
    root.database("admin").run_command(guest).await.unwrap();
    let guest = uri("guest");
    (set, guest)
}

#[tokio::test]
async fn a_user_who_may_not_read_changes_is_told_which_role_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (set, guest) = server_with_users(&folder.path().join("key")).await;

    let ended = tail(&guest, &["--source", "change-stream"])
        .await
        .with_code(1);
    ended.says(&[
        "Unauthorized",
        "hint: grant the user `find` and `changeStream`",
    ]);
    let ended = tail(&guest, &["--source", "oplog"]).await.with_code(1);
    ended.says(&[
        "Unauthorized",
        "hint: grant the user the role `read` on the database `local`",
    ]);

    // And nobody at all is told that there are users.
    let ended = tail(&set.uri(), &[]).await.with_code(1);
    ended.says(&["Unauthorized"]);
}
