//! What a run answers, for people. The documents are read as they come: a run may be of another
//! version than this client, and what is not there is left out.

use serde_json::Value;

/// What a command led to: `paused at 1700000001:7 (2023-11-14T22:13:21Z), saved`.
pub(super) fn reached(answer: &Value) -> String {
    let state = state_word(&answer["state"]);
    let saved = match answer["saved"].as_bool() {
        Some(true) => ", saved",
        Some(false) => ", not saved",
        None => "",
    };
    format!("{state} at {}{saved}", position(&answer["position"]))
}

/// How a run stands: one line for each thing, its name first.
pub(super) fn describe(status: &Value) -> String {
    let mut lines = Lines::default();
    lines.add("name", text(&status["name"]));
    let since = text(&status["since"]).map(|since| format!(" since {since}"));
    let state = state_word(&status["state"]);
    let reason = text(&status["reason"]).map(|reason| format!(": {reason}"));
    let state = [Some(state), since, reason].into_iter().flatten().collect();
    lines.add("state", Some(state));
    let is_ready = status["ready"].as_bool();
    lines.add("ready", is_ready.map(|is_ready| yes_or_no(is_ready).into()));
    let source = text(&status["source"]).zip(text(&status["scope"]));
    lines.add(
        "source",
        source.map(|(kind, scope)| format!("{kind}, {scope}")),
    );
    lines.add("position", Some(standing(status)));
    lines.add("in flight", Some(in_flight(status)));
    lines.add("ops", Some(ops(&status["ops"])));
    lines.add("checkpoint", checkpoint(&status["checkpoint"]));
    for described in array(&status["modules"]).filter_map(module) {
        lines.add("module", Some(described));
    }
    for described in array(&status["sinks"]).filter_map(sink) {
        lines.add("sink", Some(described));
    }
    for described in array(&status["directReads"]).filter_map(direct_read) {
        lines.add("read", Some(described));
    }
    for described in array(&status["deployments"]).filter_map(deployment) {
        lines.add("deployment", Some(described));
    }
    lines.add("gap", gap(&status["gap"]));
    lines.0.join("\n")
}

/// Text of a run, without what a terminal would act on.
pub(super) fn clean(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(visible).collect()
}

#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    fn add(&mut self, name: &str, value: Option<String>) {
        self.0
            .extend(value.map(|value| format!("{name:<10} {value}")));
    }
}

fn standing(status: &Value) -> String {
    let lag = status["lagSeconds"].as_f64();
    let lag = lag.map(|lag| format!("{} behind", span(lag)));
    let window = status["oplogWindowHours"].as_f64();
    let window = window.map(|hours| format!("the oplog keeps it for {hours:.1} h"));
    parts([Some(position(&status["position"])), lag, window], ", ")
}

fn deployment(deployment: &Value) -> Option<String> {
    let name = text(&deployment["cluster"])?;
    let hosts = text(&deployment["hosts"]).map(|hosts| format!(" at {hosts}"));
    let held = text(&deployment["holdsUpSince"]);
    let held = held.map(|since| format!("the others wait for it since {since}"));
    let rest = parts([Some(standing(deployment)), held], ", ");
    Some(format!("{name}{}: {rest}", hosts.unwrap_or_default()))
}

fn in_flight(status: &Value) -> String {
    let ops = counted(&status["inFlightOps"], "op");
    let bytes = counted(&status["inFlightBytes"], "byte");
    let oldest = status["oldestUnacknowledgedSeconds"].as_f64();
    let oldest = oldest.map(|seconds| format!("the oldest for {}", span(seconds)));
    parts([Some(ops), Some(bytes), oldest], ", ")
}

fn ops(ops: &Value) -> String {
    let words = [
        ("read", "read"),
        ("kept", "kept"),
        ("handled", "handled"),
        ("emitted", "emitted"),
        ("failed", "failed"),
        ("skipped", "skipped"),
        ("deadLettered", "dead letters"),
    ];
    let counts = words.map(|(key, word)| ops[key].as_u64().map(|count| format!("{count} {word}")));
    parts(counts, ", ")
}

fn checkpoint(checkpoint: &Value) -> Option<String> {
    let store = text(&checkpoint["store"])?;
    let saved = match checkpoint["ageSeconds"].as_f64() {
        Some(age) => format!(
            "{}, saved {} ago",
            position(&checkpoint["position"]),
            span(age)
        ),
        None => "nothing saved yet".to_owned(),
    };
    let error = text(&checkpoint["error"]).map(|error| format!("; cannot be saved: {error}"));
    Some(format!("{saved} in {store}{}", error.unwrap_or_default()))
}

fn module(module: &Value) -> Option<String> {
    let name = text(&module["name"])?;
    let digest = text(&module["digest"]).map(|digest| digest.chars().take(12).collect());
    let on_error = text(&module["onError"]).map(|policy| format!("on error {policy}"));
    let grants = text(&module["grants"]).map(|grants| format!("granted {grants}"));
    let waiting = module["waitingForRetry"]
        .as_u64()
        .filter(|count| *count > 0);
    let waiting = waiting.map(|count| format!("{count} waiting for another try"));
    let row = module["failuresInARow"].as_u64().filter(|count| *count > 0);
    let row = row.map(|count| format!("{count} failed in a row"));
    let breaker = text(&module["breakerOpenSince"]);
    let breaker = breaker.map(|since| format!("breaker open since {since}"));
    let error = text(&module["lastError"]).map(|error| format!("last error: {error}"));
    let told = parts(
        [digest, grants, on_error, waiting, row, breaker, error],
        ", ",
    );
    Some(format!("{name}: {told}"))
}

fn sink(sink: &Value) -> Option<String> {
    let name = text(&sink["name"])?;
    let ready = sink["ready"].as_bool();
    let ready = ready.map(|ready| if ready { "ready" } else { "not ready" }.to_owned());
    let delivered = sink["delivered"].as_u64();
    let delivered = delivered.map(|count| format!("{count} delivered"));
    let some = |key: &str, word: &str| {
        let count = sink[key].as_u64().filter(|count| *count > 0);
        count.map(|count| format!("{count} {word}"))
    };
    let told = [
        text(&sink["kind"]).filter(|kind| *kind != name),
        ready,
        delivered,
        some("queued", "waiting"),
        some("rejected", "rejected"),
        some("failures", "failed attempts"),
        text(&sink["lastError"]).map(|error| format!("last error: {error}")),
    ];
    Some(format!("{name}: {}", parts(told, ", ")))
}

fn direct_read(read: &Value) -> Option<String> {
    let (name, state) = (text(&read["namespace"])?, text(&read["state"])?);
    let expected = read["documentsExpected"].as_u64();
    let expected = expected.map(|count| format!(" of about {count}"));
    let documents = counted(&read["documents"], "document") + &expected.unwrap_or_default();
    let segments = read["segments"].as_u64().filter(|count| *count > 0);
    let segments = segments.map(|count| format!("{} of {count} segments", read["segmentsRead"]));
    let seconds = read["seconds"].as_f64().map(span);
    let reason = text(&read["reason"]);
    let told = parts(
        [Some(state), Some(documents), segments, seconds, reason],
        ", ",
    );
    Some(format!("{name}{}: {told}", of_cluster(read)))
}

fn gap(gap: &Value) -> Option<String> {
    let reason = text(&gap["reason"])?;
    let (from, to) = (position(&gap["from"]), position(&gap["to"]));
    let cluster = of_cluster(gap);
    Some(format!("lost{cluster} from {from} to {to}: {reason}"))
}

/// Of which of several deployments something is.
fn of_cluster(shown: &Value) -> String {
    let cluster = text(&shown["cluster"]);
    cluster
        .map(|cluster| format!(" of {cluster}"))
        .unwrap_or_default()
}

fn position(position: &Value) -> String {
    match (text(&position["clusterTime"]), text(&position["time"])) {
        (Some(cluster_time), Some(time)) => format!("{cluster_time} ({time})"),
        (Some(cluster_time), None) => cluster_time,
        (None, _) => "a position that cannot be told in cluster time".to_owned(),
    }
}

/// The word of a state, in the middle of a sentence: `positionLost` is two.
fn state_word(state: &Value) -> String {
    let mut words = String::new();
    for c in text(state).unwrap_or_default().chars() {
        if c.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// Seconds, as precise as they matter.
fn span(seconds: f64) -> String {
    match seconds {
        ..60.0 => format!("{seconds:.1} s"),
        ..3600.0 => format!("{:.1} min", seconds / 60.0),
        ..86400.0 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} d", seconds / 86400.0),
    }
}

fn counted(count: &Value, noun: &str) -> String {
    match count.as_u64().unwrap_or_default() {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

fn yes_or_no(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().map(clean)
}

pub(super) fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn parts<const N: usize>(parts: [Option<String>; N], between: &str) -> String {
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    parts.join(between)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_is_answered_in_one_line() {
        let place = json!({"clusterTime": "1700000001:7", "time": "2023-11-14T22:13:21Z"});
        for (state, saved, expected) in [
            (
                "paused",
                true,
                "paused at 1700000001:7 (2023-11-14T22:13:21Z), saved",
            ),
            (
                "stopped",
                false,
                "stopped at 1700000001:7 (2023-11-14T22:13:21Z), not saved",
            ),
            (
                "positionLost",
                true,
                "position lost at 1700000001:7 (2023-11-14T22:13:21Z), saved",
            ),
        ] {
            let answer = json!({"state": state, "position": place, "saved": saved});
            assert_eq!(reached(&answer), expected);
        }
    }

    #[test]
    fn a_document_of_another_version_is_shown_as_far_as_it_is_known() {
        let shown = describe(&json!({"state": "streaming", "new": [1]}));
        assert!(shown.contains("state      streaming"), "{shown}");
    }

    #[test]
    fn text_of_a_guest_does_not_reach_the_terminal_as_control() {
        let error = "\u{1b}[2Jgone\nstate: fine";
        let status = json!({"modules": [{"name": "audit", "lastError": error}]});
        let shown = describe(&status);
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
        assert_eq!(shown.matches("gone state").count(), 1, "{shown}");
    }

    #[test]
    fn spans_are_as_precise_as_they_matter() {
        let spans = [0.04, 59.9, 90.0, 7200.0, 259_200.0].map(span);
        assert_eq!(spans, ["0.0 s", "59.9 s", "1.5 min", "2.0 h", "3.0 d"]);
    }
}
