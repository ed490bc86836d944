use std::{
    sync::{Mutex, mpsc as std_mpsc},
    time::Duration,
};

use tokio::time::timeout;

use super::*;
use crate::op::{BatchBuilder, Operation, Position, Record, SourceKind, Timestamp};

const TICKET: BatchTicket = BatchTicket {
    stream: 0,
    sequence: 0,
};

/// A batch of `ops` ops, from that second on.
fn batch(first: u32, ops: u32) -> Arc<Batch> {
    let mut builder = BatchBuilder::new(Vec::new().into());
    let namespace = builder.make(|extra| extra.extend_from_slice(b"a.b"));
    for second in first..first + ops {
        builder.push(Record::new(
            Operation::Insert,
            namespace,
            Timestamp::new(second, 1),
        ));
    }
    let position = Position::Time(Timestamp::new(first + ops, 1));
    Arc::new(builder.finish(SourceKind::Oplog, position, false))
}

/// What is noted when a worker is to look around.
const LOOKED: u32 = 5_000;

/// Notes the ops it sees; waits for a word before each piece of work; stops at one op, and puts
/// another one off, whose number it notes again with 1,000 added.
struct Recorder {
    seen: Arc<Mutex<Vec<u32>>>,
    go: std_mpsc::Receiver<()>,
    stop_at: Option<u32>,
    put_off: Option<(u32, Duration)>,
    due: Option<Instant>,
}

impl Worker for Recorder {
    fn work(&mut self, work: &Work) -> Result<(), Stop> {
        // The test has ended when nobody can give the word any more.
        let _ = self.go.recv();
        for &place in &work.places {
            let second = work.batch.op(place as usize).timestamp().seconds;
            if self.stop_at == Some(second) {
                return Err(Stop);
            }
            if let Some((_, delay)) = self.put_off.filter(|(op, _)| *op == second) {
                self.due = Some(Instant::now() + delay);
            }
            self.seen.lock().unwrap().push(second);
        }
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        self.due
    }

    fn wake(&mut self) -> Result<(), Stop> {
        assert!(self.due.take().unwrap() <= Instant::now());
        let (op, _) = self.put_off.unwrap();
        self.seen.lock().unwrap().push(1_000 + op);
        Ok(())
    }

    fn look(&mut self) -> Result<(), Stop> {
        self.seen.lock().unwrap().push(LOOKED);
        Ok(())
    }

    fn finish(&mut self) {
        self.seen.lock().unwrap().push(u32::MAX);
    }
}

#[derive(Default)]
struct Asked {
    stop_at: Option<u32>,
    put_off: Option<(u32, Duration)>,
}

struct Fixture {
    lanes: Lanes,
    gate: Gate,
    seen: Arc<Mutex<Vec<u32>>>,
    go: std_mpsc::Sender<()>,
}

const OPTIONS: Options = Options {
    ordering: OrderingGuarantee::Oplog,
    stack_bytes: 1 << 20,
};

fn one_lane(asked: Asked) -> Fixture {
    let (go, receiver) = std_mpsc::channel();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let worker = Recorder {
        seen: seen.clone(),
        go: receiver,
        stop_at: asked.stop_at,
        put_off: asked.put_off,
        due: None,
    };
    let gate = Gate::default();
    Fixture {
        lanes: Lanes::start(&OPTIONS, vec![worker], &gate).unwrap(),
        gate,
        seen,
        go,
    }
}

async fn dispatch(lanes: &Lanes, batches: impl IntoIterator<Item = Arc<Batch>>) {
    let mut dispatcher = lanes.dispatcher();
    for batch in batches {
        let all = 0..batch.len();
        dispatcher.dispatch(&batch, all, TICKET).await.unwrap();
    }
}

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn work_is_done_in_order_and_finished_before_a_drain_ends() {
    let mut lane = one_lane(Asked::default());
    drop(lane.go);
    dispatch(&lane.lanes, [batch(1, 3), batch(4, 2)]).await;
    lane.lanes.drain().await.unwrap();
    assert_eq!(*lane.seen.lock().unwrap(), [1, 2, 3, 4, 5, u32::MAX]);
}

#[tokio::test]
async fn what_waits_is_left_alone_when_the_gate_is_thrown() {
    let mut lane = one_lane(Asked::default());
    dispatch(&lane.lanes, [batch(1, 1), batch(2, 1), batch(3, 1)]).await;
    lane.go.send(()).unwrap();
    while lane.seen.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    lane.gate.throw();
    drop(lane.go);
    lane.lanes.drain().await.unwrap();
    let seen = lane.seen.lock().unwrap();
    // The second may have begun before the gate; the last one cannot have.
    assert!(seen.len() <= 3 && !seen.contains(&3), "{seen:?}");
}

#[tokio::test]
async fn what_was_put_off_is_done_when_it_is_due_and_no_work_comes() {
    let lane = one_lane(Asked {
        put_off: Some((1, Duration::from_millis(20))),
        ..Asked::default()
    });
    drop(lane.go);
    dispatch(&lane.lanes, [batch(1, 1)]).await;
    let woken = async {
        while lane.seen.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, woken).await.unwrap();
    assert_eq!(*lane.seen.lock().unwrap(), [1, 1_001]);
}

#[tokio::test]
async fn work_is_done_while_something_is_put_off_and_a_drain_waits_for_that() {
    let mut lane = one_lane(Asked {
        put_off: Some((1, Duration::from_secs(1))),
        ..Asked::default()
    });
    // The second is there when the first is put off.
    dispatch(&lane.lanes, [batch(1, 1), batch(2, 1)]).await;
    drop(lane.go);
    lane.lanes.drain().await.unwrap();
    assert_eq!(*lane.seen.lock().unwrap(), [1, 2, 1_001, u32::MAX]);
}

#[tokio::test]
async fn a_thrown_gate_does_not_wait_for_what_was_put_off() {
    let mut lane = one_lane(Asked {
        put_off: Some((1, 10 * LONG)),
        ..Asked::default()
    });
    drop(lane.go);
    dispatch(&lane.lanes, [batch(1, 1)]).await;
    let (gate, seen) = (lane.gate.clone(), lane.seen.clone());
    let drained = timeout(LONG, async {
        let (drained, ()) = tokio::join!(lane.lanes.drain(), async {
            while seen.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            gate.throw();
        });
        drained
    });
    drained.await.unwrap().unwrap();
    assert_eq!(*lane.seen.lock().unwrap(), [1, u32::MAX]);
}

struct Clumsy;

impl Worker for Clumsy {
    fn work(&mut self, _: &Work) -> Result<(), Stop> {
        panic!("told to");
    }

    fn due(&self) -> Option<Instant> {
        None
    }

    fn wake(&mut self) -> Result<(), Stop> {
        Ok(())
    }

    fn look(&mut self) -> Result<(), Stop> {
        Ok(())
    }

    fn finish(&mut self) {}
}

#[tokio::test]
async fn an_idle_lane_looks_around_when_it_is_woken() {
    let mut lane = one_lane(Asked::default());
    lane.lanes.wake();
    let looked = async || *lane.seen.lock().unwrap() == [LOOKED];
    while !looked().await {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(lane.go);
    dispatch(&lane.lanes, [batch(1, 1)]).await;
    lane.lanes.drain().await.unwrap();
    assert_eq!(*lane.seen.lock().unwrap(), [LOOKED, 1, u32::MAX]);
}

/// Something is always due.
struct Restless(Arc<Mutex<Vec<u32>>>);

impl Worker for Restless {
    fn work(&mut self, work: &Work) -> Result<(), Stop> {
        self.0.lock().unwrap().extend(&work.places);
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        Some(Instant::now())
    }

    fn has_put_off(&self) -> bool {
        false
    }

    fn wake(&mut self) -> Result<(), Stop> {
        Ok(())
    }

    fn look(&mut self) -> Result<(), Stop> {
        Ok(())
    }

    fn finish(&mut self) {}
}

#[tokio::test]
async fn work_has_its_turn_where_something_is_always_due() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let worker = Restless(seen.clone());
    let gate = Gate::default();
    let mut lanes = Lanes::start(&OPTIONS, vec![worker], &gate).unwrap();
    dispatch(&lanes, [batch(1, 2), batch(3, 1)]).await;
    let drained = tokio::time::timeout(LONG, lanes.drain()).await;
    // Or the thread would go on after the test.
    gate.throw();
    drained.expect("the lane ends").unwrap();
    assert_eq!(*seen.lock().unwrap(), [0, 1, 0]);
}

#[tokio::test]
async fn lanes_tell_when_they_have_worked_off_what_came_before() {
    let lane = one_lane(Asked {
        put_off: Some((2, 10 * LONG)),
        ..Asked::default()
    });
    let mut dispatcher = lane.lanes.dispatcher();
    dispatcher
        .dispatch(&batch(1, 3), 0..2, TICKET)
        .await
        .unwrap();
    let mut worked_off = std::pin::pin!(dispatcher.worked_off());
    assert!(
        timeout(Duration::from_millis(50), &mut worked_off)
            .await
            .is_err()
    );
    lane.go.send(()).unwrap();
    // What is put off is not waited for, and the third op was not handed over.
    timeout(LONG, worked_off).await.unwrap().unwrap();
    assert_eq!(*lane.seen.lock().unwrap(), [1, 2]);
}

#[tokio::test]
async fn lanes_that_leave_their_work_alone_tell_nothing() {
    let lane = one_lane(Asked::default());
    let mut dispatcher = lane.lanes.dispatcher();
    dispatcher
        .dispatch(&batch(1, 1), 0..1, TICKET)
        .await
        .unwrap();
    dispatcher
        .dispatch(&batch(2, 1), 0..1, TICKET)
        .await
        .unwrap();
    lane.gate.throw();
    lane.go.send(()).unwrap();
    let told = timeout(LONG, dispatcher.worked_off()).await.unwrap();
    assert_eq!(told, Err(Closed));
}

#[tokio::test]
async fn a_panic_in_a_lane_is_told() {
    let mut lanes = Lanes::start(&OPTIONS, vec![Clumsy], &Gate::default()).unwrap();
    dispatch(&lanes, [batch(1, 1)]).await;
    assert_eq!(lanes.drain().await, Err(Panicked));
}

#[tokio::test]
async fn a_lane_that_stops_is_seen_by_who_waits_for_room() {
    let mut lane = one_lane(Asked {
        stop_at: Some(1),
        ..Asked::default()
    });
    let mut dispatcher = lane.lanes.dispatcher();
    let dispatched = async {
        // More than there is room for.
        loop {
            if dispatcher
                .dispatch(&batch(1, 1), 0..1, TICKET)
                .await
                .is_err()
            {
                return;
            }
        }
    };
    let (ended, ()) = tokio::join!(timeout(LONG, dispatched), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(lane.go);
    });
    ended.unwrap();
    drop(dispatcher);
    lane.lanes.drain().await.unwrap();
}
