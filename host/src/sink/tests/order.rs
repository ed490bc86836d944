//! Order and acks, whatever happens on the way.

use proptest::prelude::*;

use super::*;

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        4 => Just(Answer::Accept),
        2 => Just(Answer::Fail),
        1 => Just(Answer::Hang),
        2 => prop::collection::vec(0..12_usize, 0..4).prop_map(Answer::Reject),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Every document arrives once or is rejected once, those of a worker in order; every chunk is
    /// acknowledged once.
    #[test]
    fn nothing_is_lost_doubled_or_overtaken(
        chunks in prop::collection::vec((0..3_usize, 0..6_usize), 1..40),
        answers in prop::collection::vec(answer(), 0..30),
        documents_max in 1..8_usize,
        queue_bytes in 1..400_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let sink = Scripted::new(&answers);
        let (rejected, acked) = runtime.block_on(async {
            let settings = format!(
                "workers=3&batch-documents={documents_max}&queue-bytes={queue_bytes}\
                 &time-limit-ms=5&backoff-min-ms=1&backoff-max-ms=2"
            );
            let mut scene = scene(&settings, sink.clone());
            let keep = tokio::spawn(async move {
                let mut kept = Vec::new();
                while let Some(rejected) = scene.rejected.recv().await {
                    let document = rejected.chunk.document(rejected.index);
                    kept.push(String::from_utf8(document.to_vec()).unwrap());
                    rejected.ack.done();
                }
                kept
            });
            for (number, (worker, documents)) in chunks.iter().enumerate() {
                let documents: Vec<_> = (0..*documents)
                    .map(|place| format!("{worker}.{number}.{place}"))
                    .collect();
                let chunk = chunk(&scene.heard, number as u64, &documents);
                scene.sender.send(*worker, chunk).await.unwrap();
            }
            tokio::time::timeout(LONG, scene.sinks.close()).await.unwrap();
            (keep.await.unwrap(), scene.heard.all())
        });
        let accepted: Vec<_> = sink.batches().concat();
        for worker in 0..3 {
            let of_worker = |documents: &[String]| -> Vec<String> {
                let prefix = format!("{worker}.");
                documents.iter().filter(|text| text.starts_with(&prefix)).cloned().collect()
            };
            let (accepted, rejected) = (of_worker(&accepted), of_worker(&rejected));
            let sent = chunks.iter().enumerate().filter(|(_, (of, _))| *of == worker);
            let sent: Vec<_> = sent
                .flat_map(|(number, (_, documents))| {
                    (0..*documents).map(move |place| format!("{worker}.{number}.{place}"))
                })
                .collect();
            let order = |text: &String| sent.iter().position(|other| other == text);
            prop_assert!(accepted.is_sorted_by_key(order) && rejected.is_sorted_by_key(order));
            let mut all = [accepted, rejected].concat();
            all.sort_by_key(order);
            prop_assert_eq!(all, sent);
        }
        let mut acked = acked;
        acked.sort_unstable();
        prop_assert_eq!(acked, (0..chunks.len() as u64).collect::<Vec<_>>());
    }
}
