//! Where a module of a run spends its time, as users ask.

use std::fs;

use bson::{Document, doc};
use oplet_testkit::{Oplet, ReplicaSet, Signal, database_name, wat};
use serde_json::Value;

use crate::{DEADLINE, modules::Ended, oplet};

/// Each op takes ten milliseconds and more, in a function of that name: far less than a call may take,
/// and what waits is soon done, on a slow machine, too.
fn slow() -> Vec<u8> {
    wat(r#"(module
        (memory (export "memory") 1)
        (func (export "oplet_abi_v1"))
        (func (export "oplet_alloc") (param i32) (result i32) (i32.const 1024))
        (func $grinds (param $n i32)
            (loop $again
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $again (local.get $n))))
        (func (export "handle") (param i32 i32) (result i32)
            (call $grinds (i32.const 30000000))
            (i32.const 0)))"#)
    .unwrap()
}

#[tokio::test]
async fn a_live_module_is_profiled() {
    let set = ReplicaSet::shared().await.unwrap();
    let database = database_name("profile");
    let client = set.client().await.unwrap();
    let things = client.database(&database).collection::<Document>("things");
    things.insert_one(doc! {}).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("slow.wasm"), slow()).unwrap();
    let running = oplet()
        .in_folder(folder.path())
        .args(["run", "slow.wasm", "--admin", "127.0.0.1:0"])
        .args(["--uri", &set.uri(), "--watch", &database, "--workers", "2"])
        .start()
        .unwrap();
    let is_running = |line: &str| line.contains(" running ");
    running.wait_for_stderr(is_running, DEADLINE).await.unwrap();
    let is_served = |line: &str| line.contains("the admin API is served");
    let line = running.wait_for_stderr(is_served, DEADLINE).await.unwrap();
    let address = line.split_once("address=").unwrap().1;
    let address = address.split_whitespace().next().unwrap().trim_matches('"');
    let asks = |arguments: &[&str]| -> Oplet {
        let client = oplet().in_folder(folder.path()).arg("profile");
        client.args(arguments).args(["--admin", address])
    };

    let profiled = asks(&["slow", "--seconds", "2"]).start().unwrap();
    // Work for both lanes while samples are taken, however late they begin.
    let writes = async {
        loop {
            let some = (0..8).map(|n| doc! {"n": n});
            things.insert_many(some).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    };
    let code = tokio::select! {
        code = profiled.wait_exit(DEADLINE) => code.unwrap(),
        () = writes => unreachable!("it goes on"),
    };
    let said = profiled.stderr().all().join("\n");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(" samples to slow.profile.json"), "{said}");
    assert!(!said.contains("wrote 0 samples"), "{said}");
    let profile = fs::read_to_string(folder.path().join("slow.profile.json")).unwrap();
    let profile: Value = serde_json::from_str(&profile).unwrap();
    let names = profile["threads"][0]["stringArray"].as_array().unwrap();
    let is_slow = |name: &Value| name.as_str().is_some_and(|name| name.contains("grinds"));
    assert!(names.iter().any(is_slow), "{names:?}");

    let unknown = Ended::of(asks(&["slwo"])).await.with_code(1);
    unknown.says(&["there is no module `slwo`; there is `slow`"]);
    Ended::of(asks(&["slow", "--seconds", "0"]))
        .await
        .with_code(2);

    // An idle module has no samples, and that is said.
    let paused = oplet().args(["pause", "--admin", address]);
    Ended::of(paused).await.with_code(0);
    let arguments = ["slow", "--seconds", "1", "--out", "idle.json"];
    let idle = Ended::of(asks(&arguments)).await.with_code(0);
    idle.says(&["wrote 0 samples to idle.json", "was hardly called"]);
    let resumed = oplet().args(["resume", "--admin", address]);
    Ended::of(resumed).await.with_code(0);

    running.signal(Signal::Terminate).unwrap();
    assert_eq!(running.wait_exit(DEADLINE).await.unwrap(), 0);
    client.shutdown().await;
}
