//! What became of ops, in words.

use std::time::Duration;

use anstream::eprintln;
use anstyle::{AnsiColor, Style};
use bson::{Bson, RawDocument};
use oplet::{
    guest::GuestError,
    replay::{Answer, Played, Report},
};
use oplet_sdk::{
    abi::{field, operation},
    raw::Walk,
};

/// How much of an id is shown, in characters.
const ID_CHARS: usize = 60;

/// An op by its id, what happened, where, and to which document.
pub(super) fn name_of(op: &[u8]) -> String {
    let text = |field| {
        let element = Walk::find(op, field).ok().flatten();
        element.and_then(|element| element.text()).unwrap_or("?")
    };
    let word = match text(field::OPERATION) {
        operation::INSERT => "insert",
        operation::UPDATE => "update",
        operation::DELETE => "delete",
        _ => "command",
    };
    let mut name = format!("{} {word} {}", text(field::OP_ID), text(field::NAMESPACE));
    if let Some(id) = id_of(op) {
        name.push(' ');
        name.push_str(&id);
    }
    name
}

fn id_of(op: &[u8]) -> Option<String> {
    let id = RawDocument::from_bytes(op).ok()?.get(field::ID).ok()??;
    let id = match Bson::try_from(id).ok()? {
        Bson::ObjectId(id) => id.to_hex(),
        id => id.into_relaxed_extjson().to_string(),
    };
    Some(match id.char_indices().nth(ID_CHARS) {
        Some((end, _)) => format!("{}…", &id[..end]),
        None => id,
    })
}

/// Says what became of an op.
pub(super) fn say(op: &[u8], played: &Played, emitted: usize) {
    let red = Style::new().fg_color(Some(AnsiColor::Red.into()));
    let yellow = Style::new().fg_color(Some(AnsiColor::Yellow.into()));
    let because = |reason: &str| match reason.is_empty() {
        true => String::new(),
        false => format!(": {reason}"),
    };
    let word = match &played.answer {
        Answer::Dropped => "not wanted".to_owned(),
        Answer::Handled => format!("handled, {emitted} emitted"),
        Answer::Retry(reason) => {
            format!("{yellow}asks for another try{yellow:#}{}", because(reason))
        }
        Answer::RetryAfter(delay, reason) => {
            let delay = humantime::format_duration(*delay);
            format!(
                "{yellow}asks for another try after {delay}{yellow:#}{}",
                because(reason)
            )
        }
        Answer::Rejected(reason) => format!("{yellow}rejected{yellow:#}{}", because(reason)),
        Answer::Failed(error) => format!("{red}failed{red:#} {}", failure(error)),
    };
    let tries = match played.attempts {
        1 => String::new(),
        attempts => format!(" at try {attempts}"),
    };
    let time = short(played.time);
    eprintln!(
        "op {} ({}) {word}{tries} [{time}]",
        played.number,
        name_of(op)
    );
    if let Answer::Failed(error) = &played.answer {
        say_traces(error);
    }
}

/// Says how the module failed at a batch border.
pub(super) fn say_flush(error: &GuestError) {
    let red = Style::new().fg_color(Some(AnsiColor::Red.into()));
    eprintln!("at a batch border: {red}failed{red:#} {}", failure(error));
    say_traces(error);
}

fn failure(error: &GuestError) -> String {
    format!("in `{}` ({}): {}", error.export, error.class, error.message)
}

fn say_traces(error: &GuestError) {
    for line in &error.stderr {
        eprintln!("    | {line}");
    }
    for frame in &error.backtrace {
        eprintln!("    at {frame}");
    }
}

/// Says what came of the whole recording.
pub(super) fn say_report(report: &Report) {
    let kept = report.read - report.dropped;
    let (read, handled, emitted, failed) =
        (report.read, report.handled, report.emitted, report.failed);
    let mut ops = format!(
        "ops: {read} read, {kept} kept, {handled} handled, {emitted} emitted, {failed} failed"
    );
    let more = [
        (report.rejected, "rejected"),
        (report.unfinished, "left for another try"),
        (report.without_document, "without document"),
    ];
    for (count, word) in more {
        if count > 0 {
            ops.push_str(&format!(", {count} {word}"));
        }
    }
    eprintln!("{ops}");
    if read == 0 {
        return;
    }
    let times = &report.times;
    let rate = read as f64 / report.elapsed.as_secs_f64().max(1e-9);
    eprintln!(
        "time: {} median, {} p99, {} longest an op; all in {}, {rate:.0} ops/s",
        short(times.quantile(0.5)),
        short(times.quantile(0.99)),
        short(times.max()),
        short(report.elapsed),
    );
    eprintln!("memory: {} KiB at the end", report.memory_bytes >> 10);
    if !report.counters.is_empty() {
        let counters = report.counters.iter();
        let counters: Vec<_> = counters
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        eprintln!("counters: {}", counters.join(", "));
    }
    if report.without_document > 0 {
        eprintln!(
            "updates are replayed without their documents, as if these were gone: the recording does not have them; \
             `oplet record` looks them up"
        );
    }
}

/// A time with three digits.
fn short(time: Duration) -> String {
    let nanoseconds = time.as_nanos() as f64;
    let (value, unit) = match nanoseconds {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "us"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    let digits = match value {
        v if v >= 100.0 || unit == "ns" => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use bson::{RawDocumentBuf, doc};

    use super::*;

    #[test]
    fn times_have_three_digits() {
        let of = |nanoseconds| short(Duration::from_nanos(nanoseconds));
        let times = [0, 7, 999, 1_000, 15_678, 123_456, 1_234_567, 61_000_000_000].map(of);
        let expected = [
            "0 ns", "7 ns", "999 ns", "1.00 us", "15.7 us", "123 us", "1.23 ms", "61.0 s",
        ];
        assert_eq!(times, expected);
    }

    #[test]
    fn an_op_is_named_for_people() {
        let id = bson::oid::ObjectId::from_bytes([7; 12]);
        let named = |document| name_of(RawDocumentBuf::try_from(&document).unwrap().as_bytes());
        let op = doc! {"operation": "i", "namespace": "shop.orders", "opId": "9:2:3", "_id": id};
        assert_eq!(
            named(op),
            format!("9:2:3 insert shop.orders {}", "07".repeat(12))
        );
        let op = doc! {"operation": "c", "namespace": "shop", "opId": "9:2:3"};
        assert_eq!(named(op), "9:2:3 command shop");
        let op = doc! {"operation": "d", "namespace": "shop.orders", "opId": "9:2:3", "_id": {"n": 1_i64}};
        assert_eq!(named(op), r#"9:2:3 delete shop.orders {"n":1}"#);
    }
}
