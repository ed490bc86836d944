//! What was measured, as Markdown.

use std::fmt::Write as _;

use crate::{Source, Subject, boundary::Boundary, measure::Sample, replay::Replayed};

/// All readings of one subject.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) data: String,
    pub(crate) source: Source,
    pub(crate) subject: Subject,
    pub(crate) samples: Vec<Sample>,
    /// To the first subject of the same round.
    pub(crate) ratios: Vec<f64>,
}

/// One table for each data set and source.
pub(crate) fn throughput(rows: &[Row]) -> String {
    let mut out = String::new();
    for rows in rows.chunk_by(|a, b| (&a.data, a.source) == (&b.data, b.source)) {
        let source = match rows[0].source {
            Source::Oplog => "oplog",
            Source::ChangeStream => "change stream",
            Source::DirectRead => "direct read",
        };
        line(&mut out, &format!("\n**{}, {source}**\n", rows[0].data));
        line(
            &mut out,
            "| subject | ops/s | ratio | of the rounds | CPU s | us CPU/op | mongod CPU s | peak MiB |",
        );
        line(&mut out, "|---|--:|--:|--:|--:|--:|--:|--:|");
        for row in rows {
            line(&mut out, &row_text(row));
        }
    }
    out
}

/// What `oplet replay` makes of a recording.
pub(crate) fn replay(ops: u64, replayed: &[Replayed]) -> String {
    let mut out = String::new();
    let ops = thousands(ops as f64);
    line(
        &mut out,
        &format!("\n**`oplet replay` of {ops} inserts of 250 bytes**\n"),
    );
    line(
        &mut out,
        "| handler | ops/s | of the rounds | median an op | p99 |",
    );
    line(&mut out, "|---|--:|--:|--:|--:|");
    for Replayed {
        title,
        rates,
        median: time,
        p99,
    } in replayed
    {
        let least = rates.iter().copied().reduce(f64::min).unwrap_or_default();
        let most = rates.iter().copied().reduce(f64::max).unwrap_or_default();
        let rate = median(rates.clone()).unwrap_or_default();
        let (rate, least, most) = (thousands(rate), thousands(least), thousands(most));
        line(
            &mut out,
            &format!("| {title} | {rate} | {least} to {most} | {time} | {p99} |"),
        );
    }
    out
}

fn row_text(row: &Row) -> String {
    let samples = |value: fn(&Sample) -> Option<f64>| -> Option<f64> {
        median(row.samples.iter().filter_map(value).collect())
    };
    let rate = samples(|sample| Some(sample.rate()));
    let cpu = samples(|sample| sample.cpu_seconds);
    let micros = samples(|sample| Some(sample.cpu_seconds? * 1e6 / sample.ops as f64));
    let server = samples(|sample| sample.server_cpu_seconds);
    let peak = samples(|sample| Some(sample.peak_bytes? as f64 / f64::from(1 << 20)));
    let least = row.ratios.iter().copied().reduce(f64::min);
    let most = row.ratios.iter().copied().reduce(f64::max);
    format!(
        "| {} | {} | {} | {} to {} | {} | {} | {} | {} |",
        row.subject.title(row.source),
        thousands(rate.unwrap_or_default()),
        number(median(row.ratios.clone()), 2),
        number(least, 2),
        number(most, 2),
        number(cpu, 2),
        number(micros, 2),
        number(server, 2),
        number(peak, 0),
    )
}

/// The costs of one op.
pub(crate) fn boundary(boundary: &Boundary) -> String {
    let mut out = String::new();
    line(
        &mut out,
        &format!(
            "\n**One op of {} bytes, one thread, no server**\n",
            boundary.op_bytes
        ),
    );
    line(&mut out, "| step | ns |");
    line(&mut out, "|---|--:|");
    for (step, time) in [
        ("decode: from the oplog entry to a record", boundary.decode),
        (
            "encode: from the record to the op document",
            boundary.encode,
        ),
        (
            "guest boundary: write the op, call `filter` and `handle` that do nothing",
            boundary.empty,
        ),
        (
            "the same with `guest_count`, which reads a field in both",
            boundary.count,
        ),
        (
            "ack window: letting a batch of 1,000 in, acknowledging it from two lanes",
            boundary.window,
        ),
    ] {
        line(&mut out, &format!("| {step} | {time:.1} |"));
    }
    out
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a String takes all that is written");
}

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.decimals$}"))
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}
