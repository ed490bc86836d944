//! Modules that are told the time.

use bson::doc;
use oplet_testkit::{ReplicaSet, RunningOplet, Signal, eventually, guest};
use serde_json::Value;

use super::{Handwritten, Scene};
use crate::DEADLINE;

/// A run of one module that is told the time every ten milliseconds.
fn run(scene: &Scene, module: &std::path::Path, more: &str) -> RunningOplet {
    let text = format!(
        "[[module]]\npath = '{}'\ntick = '10ms'\n{more}\n",
        module.display()
    );
    let configuration = scene.file("oplet.toml", text.as_bytes());
    scene
        .run(&[] as &[&str])
        .args(["--workers", "1", "--config"])
        .arg(configuration)
        .start()
        .unwrap()
}

async fn ends(running: &RunningOplet) {
    running.signal(Signal::Terminate).unwrap();
    assert_eq!(running.wait_exit(DEADLINE).await.unwrap(), 0);
}

#[tokio::test]
async fn windows_close_although_nothing_more_happens() {
    // The module names the database itself; others use one of that name, too.
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    let scene = Scene::on(&set, "shop".into()).await;
    let order = |region: &str, total: f64| doc! {"region": region, "total": total};
    let orders = [
        order("north", 2.5),
        order("south", 10.0),
        order("north", 4.0),
    ];
    scene
        .collection("orders")
        .insert_many(orders)
        .await
        .unwrap();
    let module = guest("sales_windows").unwrap();
    let running = run(&scene, &module, "config = { window_seconds = 1 }");
    // One window or two, as the clock has it.
    let sold = |region: &str| {
        let lines = running.stdout().all();
        let windows = lines
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|window| window["_id"]["region"] == region);
        windows.fold((0, 0.0), |(orders, total), window| {
            let more = &window["$inc"];
            (
                orders + more["orders"].as_i64().unwrap(),
                total + more["total"].as_f64().unwrap(),
            )
        })
    };
    let closed = async || sold("north").0 + sold("south").0 >= 3;
    eventually(DEADLINE, closed).await.unwrap();
    assert_eq!((sold("north"), sold("south")), ((2, 6.5), (1, 10.0)));
    ends(&running).await;
}

#[tokio::test]
async fn a_tick_that_never_ends_is_ended() {
    let scene = Scene::new("endless_tick").await;
    let looping =
        r#"(func (export "oplet_tick") (param i64) (result i32) (loop $l (br $l)) (unreachable))"#;
    let module = Handwritten::new("endless").with(looping);
    let module = scene.module("endless", &module.text());
    scene.insert([doc! {"_id": 1}]).await;
    // By the clock: the ops are to be handled within it on a busy machine, too.
    let running = run(&scene, &module, "on-error = 'skip'\ncall-time = '1s'");
    for id in 2..5 {
        let failed = |line: &str| {
            line.contains("a module failed at a tick") && line.contains("`oplet_tick` (deadline)")
        };
        running.wait_for_stderr(failed, DEADLINE).await.unwrap();
        scene.insert([doc! {"_id": id}]).await;
        let handled = |line: &str| line.contains(&format!("\"_id\":{id},"));
        running.wait_for_line(handled, DEADLINE).await.unwrap();
    }
    ends(&running).await;
}
