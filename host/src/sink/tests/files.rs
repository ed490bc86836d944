//! A file through the runner.

use super::*;

fn file_spec(path: &std::path::Path) -> (Spec, FileOptions) {
    let spec: Spec = format!("file:{}#rotate-bytes=1024", path.display())
        .parse()
        .unwrap();
    match &spec.kind {
        Kind::File(options) => (spec.clone(), options.clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_in_the_file_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    let (spec, options) = file_spec(&path);
    let sink = FileSink::open(&options).await.unwrap();
    let (reject, _rejected) = mpsc::channel(1);
    let sinks = Sinks::start(
        vec![OpenSink {
            spec,
            sink: Arc::new(sink),
        }],
        &reject,
    );
    let heard = Arc::new(Heard::default());
    for number in 0..300 {
        sinks.senders()[0]
            .send(0, single(&heard, number))
            .await
            .unwrap();
    }
    sinks.close().await;
    assert_eq!(heard.all(), (0..300).collect::<Vec<_>>());
    let mut paths: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    // Those that were put aside have longer names, in the order of time; the present one is the last.
    paths.sort_by_key(|path| (path.extension().unwrap() == "jsonl", path.clone()));
    let all: String = paths
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let expected: String = (0..300)
        .map(|number| format!("{{\"n\":{number}}}\n"))
        .collect();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn a_file_that_cannot_be_meant_is_refused_and_one_that_is_in_use_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (_, options) = file_spec(&folder.path().join("no/folder"));
    let refused = FileSink::open(&options).await.unwrap_err();
    assert!(matches!(refused, DeliverError::Ended { .. }), "{refused:?}");
    let (_, options) = file_spec(&folder.path().join("out"));
    let _first = FileSink::open(&options).await.unwrap();
    let waits = FileSink::open(&options).await.unwrap_err();
    assert!(matches!(waits, DeliverError::Passing { .. }), "{waits:?}");
}
