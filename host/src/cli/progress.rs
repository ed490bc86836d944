//! A bar for direct reads, on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use oplet::control::DirectReadStatus;

/// How often the bar is drawn anew.
const EVERY: Duration = Duration::from_millis(250);

/// Shows how far direct reads are, as they are told, until nothing is told any more or it is dropped.
pub(super) async fn show<F>(told: impl Fn() -> F)
where
    F: Future<Output = Option<Vec<DirectReadStatus>>>,
{
    let mut shown = Shown(None);
    while let Some(reads) = told().await {
        let is_open = |read: &DirectReadStatus| matches!(read.state, "planned" | "reading");
        match reads.iter().any(is_open) {
            true => draw(shown.0.get_or_insert_with(new_bar), &reads),
            false => shown = Shown(None),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// A bar that goes when nobody draws it any more.
struct Shown(Option<ProgressBar>);

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn new_bar() -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{bar:30} {human_pos}/{human_len} documents, {per_sec}, {eta} left {msg}",
    );
    let bar = ProgressBar::new(0);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn draw(bar: &ProgressBar, reads: &[DirectReadStatus]) {
    let documents: u64 = reads.iter().map(|read| read.documents).sum();
    let expected = reads.iter().map(|read| {
        // What the server estimates may be less than there is.
        let expected = read.documents_expected.unwrap_or_default();
        expected.max(read.documents)
    });
    bar.set_length(expected.sum());
    bar.set_position(documents);
    let reading = reads.iter().find(|read| read.state == "reading");
    if let Some(read) = reading {
        let (read_segments, segments) = (read.segments_read, read.segments);
        let cluster = read.cluster.as_ref();
        let cluster = cluster.map(|cluster| format!(" of {cluster}"));
        let namespace = format!("{}{}", read.namespace, cluster.unwrap_or_default());
        bar.set_message(format!(
            "({namespace}: {read_segments} of {segments} segments)"
        ));
    }
}
