//! Documents that modules look up: which they may, and what becomes of an op when they cannot.

use std::path::PathBuf;

use bson::{Document, doc};
use oplet_testkit::{ReplicaSet, database_name};
use serde_json::{Value, json};

use super::{
    Ended, Handwritten, Scene,
    handwritten::{bytes, data},
};

/// Stands for the `_id` of the op that is handled.
const ID: i32 = 0x7A7A_7A7A;

/// A module that looks that up for each op, and emits the answer.
fn asking(name: &str, query: &Document) -> Handwritten {
    let query = bytes(query);
    let len = query.len();
    let id = query
        .windows(4)
        .position(|window| window == ID.to_le_bytes())
        .map(|at| {
            format!(
                "(i32.store (i32.const {}) (call $int (local.get $op) {}))",
                4096 + at,
                Handwritten::name("_id")
            )
        })
        .unwrap_or_default();
    let handle = format!(
        r#"(local $found i32)
        {id}
        (local.set $found (call $lookup (i32.const 4096) (i32.const {len})))
        (if (i32.lt_s (local.get $found) (i32.const 0)) (then (return (i32.const 1))))
        (if (i32.ne (local.get $found) (call $reply (i32.const 0x20000) (i32.const 0x20000)))
            (then (unreachable)))
        (if (call $emit (i32.const 0) (i32.const 0x20000) (local.get $found)) (then (unreachable)))
        (i32.const 0)"#
    );
    Handwritten::new(name)
        .import("lookup", "(param i32 i32) (result i32)")
        .import("reply", "(param i32 i32) (result i32)")
        .with(&format!(r#"(data (i32.const 4096) "{}")"#, data(&query)))
        .handle(&handle)
}

/// A scene of five things, and a namespace beside it with ten customers.
struct Shop {
    scene: Scene,
    customers: String,
}

impl Shop {
    async fn new(hint: &str) -> Self {
        Self::of(Scene::new(hint).await).await
    }

    /// On a server of its own, which can be made to fail.
    async fn on(set: &ReplicaSet, hint: &str) -> Self {
        Self::of(Scene::on(set, database_name(hint)).await).await
    }

    async fn of(scene: Scene) -> Self {
        // Not in the database that is watched.
        let crm = format!("{}_crm", scene.database);
        let customers = scene.client.database(&crm).collection("customers");
        let ten = (0..10).map(|id| doc! {"_id": id, "name": format!("customer {id}"), "secret": 1});
        customers.insert_many(ten).await.unwrap();
        scene.insert((7..12).map(|id| doc! {"_id": id})).await;
        let customers = format!("{crm}.customers");
        Self { scene, customers }
    }

    fn query(&self, rest: Document) -> Document {
        let mut query = doc! {"namespace": &self.customers};
        query.extend(rest);
        query
    }

    /// A configuration with these modules and what each is granted.
    fn configuration(&self, modules: &[(&str, Handwritten, &[&str])]) -> PathBuf {
        let mut text = String::new();
        for (name, module, grants) in modules {
            let path = self.scene.module(name, &module.text());
            text += &format!("[[module]]\npath = '{}'\n", path.display());
            if !grants.is_empty() {
                text += &format!("lookup = {grants:?}\n");
            }
        }
        self.scene.file("oplet.toml", text.as_bytes())
    }

    /// Runs them over the five things, one after the other.
    async fn run(&self, modules: &[(&str, Handwritten, &[&str])], on_error: &str) -> Ended {
        let configuration = self.configuration(modules);
        let flags = ["--ordering", "oplog", "--on-error", on_error, "--config"];
        let flags = flags.map(PathBuf::from).into_iter().chain([configuration]);
        self.scene.run_over(&[] as &[PathBuf], flags).await
    }

    /// Runs one module that is granted the customers.
    async fn run_one(&self, query: Document, on_error: &str) -> Ended {
        let module = asking("enrich", &self.query(query));
        self.run(&[("enrich", module, &[&self.customers])], on_error)
            .await
    }
}

/// The names in the answers for the things 7 to 11: there are customers up to 9.
fn names() -> Vec<Value> {
    let name = |id| json!({"documents": [{"name": format!("customer {id}")}]});
    let mut names: Vec<_> = (7..10).map(name).collect();
    names.resize(5, json!({"documents": []}));
    names
}

fn name_of_id() -> Document {
    doc! {"filter": {"_id": ID}, "projection": {"name": 1, "_id": 0}}
}

#[tokio::test]
async fn a_module_finds_what_it_is_granted() {
    let shop = Shop::new("granted").await;
    let ended = shop.run_one(name_of_id(), "stop").await.with_code(0);
    assert_eq!(ended.documents(), names());
    ended.says(&[&format!("grants=\"lookup {}\"", shop.customers)]);

    let whole_database = format!("{}_crm.*", shop.scene.database);
    let module = asking("enrich", &shop.query(doc! {"filter": {}, "limit": 3}));
    let modules = [("enrich", module, &[&*whole_database][..])];
    let ended = shop.run(&modules, "stop").await.with_code(0);
    for answer in ended.documents() {
        let found = answer["documents"].as_array().unwrap();
        assert_eq!(found.len(), 3, "{answer}");
        assert_eq!(found[0]["secret"], 1, "without a projection all of it");
    }
}

#[tokio::test]
async fn a_grant_is_one_modules_own() {
    let shop = Shop::new("own_grant").await;
    let module = |name: &str| asking(name, &shop.query(name_of_id()));
    let modules = [
        ("granted", module("granted"), &[&*shop.customers][..]),
        ("stranger", module("stranger"), &["other.customers"][..]),
        ("nobody", module("nobody"), &[][..]),
    ];
    let ended = shop.run(&modules, "skip").await.with_code(0);
    assert_eq!(ended.documents(), names());
    assert_eq!(ended.counted("skipped"), 10);
    for name in ["stranger", "nobody"] {
        let sentence = format!("the module `{name}` may not look up in {}", shop.customers);
        ended.says(&[&sentence, "class=\"trap\""]);
    }
}

#[tokio::test]
async fn code_is_not_run_for_a_module() {
    let shop = Shop::new("code").await;
    let filter = doc! {"$or": [{"_id": 1}, {"$and": [{"$where": "sleep(1000) || true"}]}]};
    let ended = shop.run_one(doc! {"filter": filter}, "stop").await;
    ended.with_code(1).says(&["`filter` has `$where`"]);
}

#[tokio::test]
async fn too_much_is_no_answer() {
    let shop = Shop::new("too_much").await;
    let (database, _) = shop.customers.split_once('.').unwrap();
    let many = shop.scene.client.database(database).collection("many");
    many.insert_many((0..1_001).map(|id| doc! {"_id": id, "text": "x".repeat(2_000)}))
        .await
        .unwrap();
    let namespace = format!("{database}.many");
    for (query, words) in [
        (
            doc! {"projection": {"_id": 1}},
            "more than 1000 documents were found",
        ),
        (
            doc! {"limit": 1_000},
            "the documents found are larger than 1048576 bytes",
        ),
    ] {
        let mut query = query;
        query.insert("namespace", &namespace);
        let modules = [("greedy", asking("greedy", &query), &[&*namespace][..])];
        let ended = shop.run(&modules, "stop").await.with_code(1);
        ended.says(&[words, &format!("cannot look up in {namespace}")]);
    }
    let query = doc! {"namespace": &namespace, "projection": {"_id": 1}, "limit": 1_000};
    let modules = [("fits", asking("fits", &query), &[&*namespace][..])];
    let ended = shop.run(&modules, "stop").await.with_code(0);
    assert_eq!(
        ended.documents()[4]["documents"].as_array().unwrap().len(),
        1_000
    );
}

#[tokio::test]
async fn what_the_server_refuses_fails_the_op() {
    let shop = Shop::new("refused").await;
    let ended = shop
        .run_one(doc! {"filter": {"$nonsense": 1}}, "stop")
        .await;
    let words = ["$nonsense", "(BadValue, code 2)"];
    ended.with_code(1).says(&words);
}

#[tokio::test]
async fn a_server_that_is_away_costs_no_attempt() {
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    let shop = Shop::on(&set, "away").await;
    for (how, times) in [
        (doc! {"errorCode": 10107}, 3),
        (doc! {"closeConnection": true}, 3),
        // Longer than a lookup may take, and the way to the server.
        (doc! {"blockConnection": true, "blockTimeMS": 6_000}, 2),
    ] {
        let customers = &shop.customers;
        shop.scene.fail_finds(customers, how.clone(), times).await;
        // Neither letters nor skipping nor an end, whatever the policy.
        let ended = shop.run_one(name_of_id(), "stop").await.with_code(0);
        assert_eq!(ended.documents(), names(), "{how}: {}", ended.stderr);
        assert!(ended.counted("failed") > 0, "{how}: {}", ended.stderr);
        ended.says(&["a module cannot look up documents; what it handles is tried again"]);
        assert_eq!(
            ended.failures(),
            [""; 0],
            "{how}: it is no failure of the module's"
        );
    }
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_an_attempt() {
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    let shop = Shop::on(&set, "slow").await;
    let slow = doc! {"errorCode": 50};
    shop.scene.fail_finds(&shop.customers, slow, 2).await;
    let ended = shop.run_one(name_of_id(), "retry").await.with_code(0);
    assert_eq!(ended.documents(), names());
    let failures = ended.failures();
    assert_eq!(failures.len(), 2, "{}", ended.stderr);
    for failure in failures {
        assert!(failure.contains("MaxTimeMSExpired"), "{failure}");
    }
}
