//! `oplet swap`, `rollback`, `remove`, `modules`: the modules of a run, through its admin API.

use std::{io::IsTerminal as _, time::Duration};

use reqwest::Method;
use serde_json::Value;

use super::{
    error::UserError,
    modules,
    remote::{self, Body, Request},
    remote_args::{NamedArgs, RemoteArgs, RemoteFormat, SwapArgs},
    status::{array, clean, text},
    table::table,
};

/// How long to wait for a swap: the module goes over the wire, waits for room, and the run has 60
/// seconds.
const SWAP_TIME_MAX: Duration = Duration::from_secs(130);

/// How much of a digest people compare.
const DIGEST_SHOWN: usize = 12;

/// `oplet swap`
pub(super) async fn swap(args: SwapArgs) -> Result<(), UserError> {
    let SwapArgs {
        module: (name, path),
        ..
    } = &args;
    let wasm = modules::read(path)?;
    let mut query = Vec::new();
    if args.add {
        query.push(("add", "true".to_owned()));
    }
    if let Some(canary) = &args.canary {
        query.push(("canary", canary.clone()));
    }
    if args.shadow {
        query.push(("shadow", "true".to_owned()));
    }
    let counts = [("ops", args.ops), ("failures", args.failures)];
    query.extend(
        counts
            .into_iter()
            .filter_map(|(key, count)| Some((key, count?.to_string()))),
    );
    let request = Request {
        method: Method::PUT,
        path: &["modules", name],
        query,
        body: Body::Wasm(wasm),
        time_max: Some(SWAP_TIME_MAX),
    };
    tell(&args.remote, request).await
}

/// `oplet rollback`
pub(super) async fn rollback(args: &NamedArgs) -> Result<(), UserError> {
    tell(
        &args.remote,
        Request {
            method: Method::POST,
            path: &["modules", &args.module, "rollback"],
            query: Vec::new(),
            body: Body::None,
            time_max: Some(SWAP_TIME_MAX),
        },
    )
    .await
}

/// `oplet remove`
pub(super) async fn remove(args: &NamedArgs) -> Result<(), UserError> {
    tell(
        &args.remote,
        Request {
            method: Method::DELETE,
            path: &["modules", &args.module],
            query: Vec::new(),
            body: Body::None,
            time_max: Some(SWAP_TIME_MAX),
        },
    )
    .await
}

async fn tell(args: &RemoteArgs, request: Request<'_>) -> Result<(), UserError> {
    let is_answer = |answer: &Value| answer["module"].is_string();
    let answer = remote::ask(args, request, is_answer).await?;
    let format = args.format.unwrap_or(RemoteFormat::Text);
    remote::print(&answer, format, swapped)
}

/// `oplet modules`
pub(super) async fn modules(args: &RemoteArgs) -> Result<(), UserError> {
    let request = Request::get(&["modules"]);
    let answer = remote::ask(args, request, |answer| answer["modules"].is_array()).await?;
    let default = match std::io::stdout().is_terminal() {
        true => RemoteFormat::Text,
        false => RemoteFormat::Json,
    };
    let describe = |answer: &Value| listed(answer).trim_end().to_owned();
    remote::print(&answer, args.format.unwrap_or(default), describe)
}

/// What a swap led to, in one line.
fn swapped(answer: &Value) -> String {
    let module = text(&answer["module"]).unwrap_or_default();
    let [from, to, trial] = ["from", "to", "trial"].map(|key| version(&answer[key]));
    let what = match (from, to, trial) {
        (_, Some(to), Some(trial)) => {
            format!("`{module}`: {trial} is on trial, {to} goes on")
        }
        (Some(from), Some(to), None) if from == to => {
            format!("`{module}`: {to} works already")
        }
        (Some(from), Some(to), None) => format!("`{module}`: {to} has taken over from {from}"),
        (None, Some(to), _) => format!("`{module}`: added, {to}"),
        (Some(from), None, _) => format!("`{module}`: removed, it was {from}"),
        (None, None, _) => format!("`{module}`: removed"),
    };
    let reopened = match answer["reopened"].as_bool() {
        Some(true) => "; the sources were opened again at the same position",
        _ => "",
    };
    let pause = match answer["pauseUs"].as_f64() {
        Some(pause_us) if pause_us > 0.0 => {
            format!(
                "; no lane stood still for more than {:.1} ms",
                pause_us / 1000.0
            )
        }
        _ => String::new(),
    };
    let without = match answer["lanesWithoutState"].as_u64() {
        Some(lanes @ 1..) => format!(
            "; in {lanes} of the lanes without the state of the version before, which had failed there"
        ),
        _ => String::new(),
    };
    format!("{what}{reopened}{pause}{without}")
}

/// `9f86d081884c (generation 3)`
fn version(version: &Value) -> Option<String> {
    let digest = short(&version["digest"])?;
    Some(match version["generation"].as_u64() {
        Some(generation) => format!("{digest} (generation {generation})"),
        None => digest,
    })
}

fn short(digest: &Value) -> Option<String> {
    Some(text(digest)?.chars().take(DIGEST_SHOWN).collect())
}

/// A row for each module.
fn listed(answer: &Value) -> String {
    let head = ["NAME", "VERSION", "GENERATION", "SINCE", "TRIAL"].map(str::to_owned);
    let rows = array(&answer["modules"]).map(|module| {
        let generation = module["generation"].as_u64();
        let present = array(&module["versions"]).last();
        [
            text(&module["name"]).unwrap_or_default(),
            short(&module["digest"]).unwrap_or_default(),
            generation
                .map(|generation| generation.to_string())
                .unwrap_or_default(),
            present
                .and_then(|present| text(&present["since"]))
                .unwrap_or_default(),
            trial(&module["trial"]).unwrap_or_default(),
        ]
    });
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// `canary 2c26b46b68ff, 120 of 1000 ops, 1 failed`
fn trial(trial: &Value) -> Option<String> {
    let digest = short(&trial["digest"])?;
    let kind = text(&trial["kind"]).map(|kind| format!("{kind} "));
    let ops = trial["ops"].as_u64().zip(trial["opsMax"].as_u64());
    let ops = ops.map(|(ops, of)| format!(", {ops} of {of} ops"));
    let count = |key: &str, word: &str| {
        let count = trial[key].as_u64().filter(|count| *count > 0)?;
        Some(format!(", {count} {word}"))
    };
    let parts = [
        kind,
        Some(digest),
        ops,
        count("failures", "failed"),
        count("different", "different"),
    ];
    Some(clean(&parts.into_iter().flatten().collect::<String>()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OLD: &str = "9f86d081884c7d659a2feaa0c55ad015";
    const NEW: &str = "2c26b46b68ffc68ff99b453c1d304134";

    #[test]
    fn what_a_swap_led_to_is_one_line() {
        let of =
            |digest: &str, generation: u64| json!({"digest": digest, "generation": generation});
        let none = Value::Null;
        for (from, to, trial, expected) in [
            (
                of(OLD, 1),
                of(NEW, 2),
                none.clone(),
                "2c26b46b68ff (generation 2) has taken over from 9f86d081884c (generation 1)",
            ),
            (
                of(OLD, 1),
                of(OLD, 1),
                none.clone(),
                "9f86d081884c (generation 1) works already",
            ),
            (
                of(OLD, 1),
                of(OLD, 1),
                of(NEW, 2),
                "2c26b46b68ff (generation 2) is on trial, 9f86d081884c (generation 1) goes on",
            ),
            (
                none.clone(),
                of(NEW, 1),
                none.clone(),
                "added, 2c26b46b68ff (generation 1)",
            ),
            (
                of(OLD, 1),
                none.clone(),
                none,
                "removed, it was 9f86d081884c (generation 1)",
            ),
        ] {
            let answer = json!({"module": "audit", "from": from, "to": to, "trial": trial});
            assert_eq!(swapped(&answer), format!("`audit`: {expected}"));
        }
        let answer = json!({"module": "audit", "from": of(OLD, 1), "to": of(NEW, 2), "reopened": true, "pauseUs": 240});
        let line = swapped(&answer);
        assert!(line.contains("opened again"), "{line}");
        assert!(line.ends_with("more than 0.2 ms"), "{line}");
    }

    #[test]
    fn modules_are_a_table() {
        let trial = json!({"digest": NEW, "generation": 4, "kind": "canary", "ops": 120,
            "opsMax": 1000, "failures": 1, "different": 0});
        let versions =
            json!([{"since": "2026-01-02T09:00:00Z"}, {"since": "2026-01-02T10:00:00Z"}]);
        let answer = json!({"modules": [
            {"name": "audit", "digest": OLD, "generation": 3, "versions": versions, "trial": trial},
            {"name": "\u{1b}[2Jwelcome", "digest": NEW},
        ]});
        assert_eq!(
            listed(&answer),
            "NAME         VERSION       GENERATION  SINCE                 TRIAL\n\
             audit        9f86d081884c  3           2026-01-02T10:00:00Z  canary 2c26b46b68ff, 120 of 1000 ops, 1 failed\n \
             [2Jwelcome  2c26b46b68ff\n"
        );
    }
}
