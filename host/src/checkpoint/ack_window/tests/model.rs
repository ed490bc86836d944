//! Random interleavings of admissions and acknowledgements, against a model.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use proptest::prelude::*;
use tokio::{runtime, task};

use super::{batch, position, window};
use crate::{
    checkpoint::WindowOptions,
    op::{Acknowledge as _, Batch, BatchTicket, Frontier},
};

/// What happens.
#[derive(Debug, Clone)]
enum Action {
    /// A stream has a batch of so many ops.
    Offer { stream: usize, len: u32 },
    /// Some ops of some batch that was admitted are done; the numbers pick which.
    Acknowledge { batch: usize, keys: Vec<u32> },
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let offer = (0..3_usize, 0..20_u32).prop_map(|(stream, len)| Action::Offer { stream, len });
    let acknowledge = (any::<usize>(), prop::collection::vec(any::<u32>(), 1..20))
        .prop_map(|(batch, keys)| Action::Acknowledge { batch, keys });
    prop::collection::vec(prop_oneof![1 => offer, 2 => acknowledge], 0..120)
}

/// A batch in the model.
#[derive(Debug)]
struct Modelled {
    stream: usize,
    batch: Arc<Batch>,
    ticket: BatchTicket,
    left: BTreeSet<u32>,
}

/// Does in the plainest way what the window does.
#[derive(Debug, Default)]
struct Model {
    /// In the order of admission, all that there ever were.
    batches: Vec<Modelled>,
    waiting: VecDeque<(usize, Arc<Batch>)>,
    sequences: [u64; 3],
}

impl Model {
    fn of_stream(&self, stream: usize) -> impl Iterator<Item = &Modelled> {
        self.batches
            .iter()
            .filter(move |batch| batch.stream == stream)
    }

    fn above(&self, stream: usize) -> impl Iterator<Item = &Modelled> {
        self.of_stream(stream)
            .skip_while(|batch| batch.left.is_empty())
    }

    fn frontier(&self, stream: usize) -> Frontier {
        let mut frontier = Frontier::at(position(0));
        for Modelled { batch, left, .. } in self.of_stream(stream) {
            for place in 0..batch.len() as u32 {
                if left.contains(&place) {
                    return frontier;
                }
                frontier.done = batch.op(place as usize).point();
            }
            frontier.position = batch.position().clone();
        }
        frontier
    }

    fn ops(&self) -> u64 {
        let above = (0..3).flat_map(|stream| self.above(stream));
        above.map(|batch| batch.batch.len() as u64).sum()
    }

    fn bytes(&self) -> usize {
        let open = self.batches.iter().filter(|batch| !batch.left.is_empty());
        open.map(|batch| batch.batch.bytes()).sum()
    }

    fn take_in(&mut self, stream: usize, batch: Arc<Batch>) {
        let sequence = self.sequences[stream];
        self.sequences[stream] += 1;
        self.batches.push(Modelled {
            stream,
            left: (0..batch.len() as u32).collect(),
            batch,
            ticket: BatchTicket { stream, sequence },
        });
    }

    fn take_in_waiting(&mut self, options: &WindowOptions) {
        while let Some((stream, batch)) = self.waiting.front().cloned() {
            let fits = self.ops() + batch.len() as u64 <= options.ops_max
                && self.bytes() + batch.bytes() <= options.bytes_max;
            if !fits && self.ops() > 0 {
                return;
            }
            self.waiting.pop_front();
            self.take_in(stream, batch);
        }
    }
}

/// Lets every task run until it waits.
async fn settle() {
    for _ in 0..20 {
        task::yield_now().await;
    }
}

async fn check(actions: Vec<Action>, options: WindowOptions) {
    let window = window(3, options);
    let mut model = Model::default();
    let mut seconds = 0;
    let admitted = Arc::new(AtomicUsize::new(0));
    let mut offers = 0;
    for action in actions {
        match action {
            Action::Offer { stream, len } => {
                // A stream offers one batch at a time.
                if model.waiting.iter().any(|(waiting, _)| *waiting == stream) {
                    continue;
                }
                seconds += 1;
                offers += 1;
                let batch = batch(seconds, len);
                match len {
                    0 => model.take_in(stream, batch.clone()),
                    _ => model.waiting.push_back((stream, batch.clone())),
                }
                let (window, admitted) = (window.clone(), admitted.clone());
                task::spawn(async move {
                    window.admit(stream, &batch).await;
                    admitted.fetch_add(1, SeqCst);
                });
            }
            Action::Acknowledge { batch, keys } => {
                let open: Vec<_> = model
                    .batches
                    .iter_mut()
                    .filter(|batch| !batch.left.is_empty())
                    .collect();
                let count = open.len().max(1);
                let Some(chosen) = open.into_iter().nth(batch % count) else {
                    continue;
                };
                let mut places = Vec::new();
                for key in keys {
                    let left = chosen.left.len().max(1);
                    if let Some(&place) = chosen.left.iter().nth(key as usize % left) {
                        chosen.left.remove(&place);
                        places.push(place);
                    }
                }
                window.acknowledge(chosen.ticket, &places);
            }
        }
        model.take_in_waiting(&options);
        settle().await;
        assert_eq!(
            admitted.load(SeqCst),
            offers - model.waiting.len(),
            "no admission is missed or early"
        );
        let frontiers: Vec<_> = (0..3).map(|stream| model.frontier(stream)).collect();
        assert_eq!(window.frontiers(), frontiers);
        let in_flight = window.in_flight();
        assert_eq!(
            (in_flight.ops, in_flight.bytes),
            (model.ops(), model.bytes())
        );
        let largest = 19;
        assert!(in_flight.ops <= options.ops_max.max(largest));
        let progress = window.progress();
        let leading = |stream| {
            let first = model.above(stream).next();
            first.map_or((model.sequences[stream], 0), |first| {
                let leading = first
                    .left
                    .first()
                    .copied()
                    .expect("something of it is not done");
                (first.ticket.sequence, leading)
            })
        };
        assert_eq!(
            progress.reached,
            (0..3).map(leading).collect::<Vec<_>>(),
            "{model:?}"
        );
    }
}

proptest! {
    #[test]
    fn does_what_the_model_does(actions in actions(), ops_max in 1..60_u64, kibibytes in 1..8_usize) {
        let options = WindowOptions { ops_max, bytes_max: kibibytes << 10 };
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(actions, options));
    }
}
