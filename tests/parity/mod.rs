//! The oplog and change streams tell the same: the same ops, in the same order, field by field.
//!
//! What differs, and why, is written down in `docs/sources.md`.
//!
//! - `scopes`: every kind of op, whatever is watched
//! - `transactions`: of several collections, and of several oplog entries
//! - `random`: random histories, 100,000 writes long with `make oracle`
//! - `images`: updates applied to the documents before them

mod images;
mod random;
mod scopes;
mod transactions;

use anyhow::Result;
use bson::doc;
use serde_json::Value;

use crate::tailing::{Ops, Scene};

/// The first version whose change streams say `disambiguatedPaths`.
const DISAMBIGUATES_SINCE: (u32, u32) = (6, 1);

/// How both sources are asked.
#[derive(Clone, Copy, Default)]
struct Asked<'a> {
    oplog: &'a [&'a str],
    stream: &'a [&'a str],
    /// The documents of updates are looked up, and those of collections that are gone or elsewhere
    /// are not the same.
    leaves_out_looked_up: bool,
    /// The documents that updates left are the same but for the order of their fields: a change stream
    /// tells those that were moved [twice](images), and JSON has them once. `images` sees to the order.
    disorders_updated: bool,
}

/// Reads what has happened in the scene from both sources, and gives the oplog's ops once they were
/// seen to be the change stream's.
async fn same(scene: &Scene, watched: &[&str]) -> Result<Ops> {
    same_as_asked(scene, watched, Asked::default()).await
}

async fn same_as_asked(scene: &Scene, watched: &[&str], asked: Asked<'_>) -> Result<Ops> {
    let oplog = [watched, asked.oplog].concat();
    let stream = [watched, asked.stream].concat();
    let (oplog, stream) = tokio::join!(
        scene.ops("oplog", &oplog),
        scene.ops("change-stream", &stream)
    );
    let (oplog, stream) = (oplog?, stream?);
    let disambiguates = version(scene).await? >= DISAMBIGUATES_SINCE;
    let common = |ops: &Ops| -> Vec<String> {
        let ops = ops.0.iter().cloned();
        ops.map(|op| common(op, disambiguates, asked)).collect()
    };
    let (ours, theirs) = (common(&oplog), common(&stream));
    let differing = ours.iter().zip(&theirs).position(|(a, b)| a != b);
    if let Some(at) = differing {
        let (ours, theirs) = (shortened(&ours[at]), shortened(&theirs[at]));
        panic!("{watched:?}: op {at} differs\nof the oplog:  {ours}\nof the stream: {theirs}");
    }
    assert_eq!(ours.len(), theirs.len(), "{watched:?}");
    Ok(oplog)
}

/// An op as text, fields in their order, without what one of the sources cannot tell.
fn common(mut op: Value, disambiguates: bool, asked: Asked<'_>) -> String {
    let fields = op.as_object_mut().expect("an op is a document");
    if fields.contains_key("updateDescription") {
        if asked.leaves_out_looked_up {
            fields.shift_remove("data");
        }
        if asked.disorders_updated
            && let Some(updated) = fields.get_mut("data")
        {
            updated.sort_all_objects();
        }
    }
    let source = fields.shift_remove("source");
    assert!(source.is_some_and(|source| source == "oplog" || source == "changeStream"));
    if let Some(description) = fields.get_mut("updateDescription") {
        let description = description.as_object_mut().expect("it is a document");
        if !disambiguates {
            description.shift_remove("disambiguatedPaths");
        }
    }
    if let Some(command) = fields.get_mut("data").and_then(Value::as_object_mut)
        && command.contains_key("renameCollection")
    {
        command.retain(|key, _| key == "renameCollection" || key == "to");
    }
    op.to_string()
}

/// A text that may be megabytes long, for a message.
fn shortened(text: &str) -> String {
    text.chars().take(4_000).collect()
}

/// Major and minor version of the server.
async fn version(scene: &Scene) -> Result<(u32, u32)> {
    let build = scene.database.run_command(doc! { "buildInfo": 1 }).await?;
    let mut numbers = build.get_str("version")?.split('.').map(str::parse);
    let mut next = || numbers.next().unwrap_or(Ok(0));
    Ok((next()?, next()?))
}

/// What each op says in short: `i c 1` for an insert of `_id` 1 into `c`, `r c 1` for a replacement,
/// `drop c` for a command.
fn gist(scene: &Scene, ops: &Ops) -> Vec<String> {
    let prefix = format!("{}.", scene.name());
    let gist = |op: &Value| -> String {
        let namespace = op["namespace"].as_str().expect("it is text");
        let collection = namespace.strip_prefix(&prefix).unwrap_or("-");
        let letter = match op["operation"].as_str() {
            Some("c") => {
                let command = op["data"].as_object().expect("a command is a document");
                let name = command.keys().next().expect("it has a name");
                return format!("{name} {collection}");
            }
            Some("u") if op.get("replace").is_some() => "r",
            letter => letter.expect("it is text"),
        };
        let id = &op["_id"];
        let id = id["$numberInt"]
            .as_str()
            .map_or(id.to_string(), str::to_owned);
        format!("{letter} {collection} {id}")
    };
    ops.0.iter().map(gist).collect()
}
