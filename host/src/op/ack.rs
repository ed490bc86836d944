//! The word that ops are done.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

/// Names a batch while its ops are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchTicket {
    /// Which of the run's streams the batch came from.
    pub stream: usize,
    /// Counts the batches of the stream, from 0.
    pub sequence: u64,
}

/// Who wants to know which ops are done.
pub trait Acknowledge: Send + Sync + std::fmt::Debug {
    /// The ops of these places of the batch are done, each told once, in any order.
    fn acknowledge(&self, ticket: BatchTicket, places: &[u32]);
}

/// The duty to tell that some ops of a batch are done.
///
/// Whoever takes on a part of the work (a sink, the dead letters) gets a part of its own by
/// [`split`](Self::split); the word is passed on when every part was [`done`](Self::done). A part
/// that is dropped without that is never done, so that work which was cut off is not taken for
/// finished, and comes again after a restart.
#[derive(Debug)]
pub struct Ack(Arc<Duty>);

#[derive(Debug)]
struct Duty {
    to: Arc<dyn Acknowledge>,
    ticket: BatchTicket,
    places: Vec<u32>,
    /// Parts of other duties that are done with this one.
    then: Mutex<Vec<Ack>>,
    parts_left: AtomicU32,
}

impl Ack {
    /// A duty of one part.
    #[must_use]
    pub fn new(to: Arc<dyn Acknowledge>, ticket: BatchTicket, places: Vec<u32>) -> Self {
        Self(Arc::new(Duty {
            to,
            ticket,
            places,
            then: Mutex::default(),
            parts_left: AtomicU32::new(1),
        }))
    }

    /// A duty towards nobody, for the place of one that was taken out.
    #[must_use]
    pub fn to_nobody() -> Self {
        let ticket = BatchTicket {
            stream: 0,
            sequence: 0,
        };
        Self::new(Arc::new(Nobody), ticket, Vec::new())
    }

    /// Lets a part of another duty be done when this duty is: an op that also waits for something
    /// else is not in this duty's places, but its outputs may be delivered with it.
    pub fn then(&self, other: Self) {
        self.then_list().push(other);
    }

    fn then_list(&self) -> std::sync::MutexGuard<'_, Vec<Self>> {
        self.0.then.lock().expect("no holder of this lock panics")
    }

    /// The batch whose ops it is about.
    #[must_use]
    pub fn ticket(&self) -> BatchTicket {
        self.0.ticket
    }

    /// One more part of the same duty.
    #[must_use]
    pub fn split(&self) -> Self {
        self.0.parts_left.fetch_add(1, Ordering::Relaxed);
        Self(self.0.clone())
    }

    /// This part is done.
    pub fn done(self) {
        // What was done for any part is to be seen by who hears of the whole.
        if self.0.parts_left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.to.acknowledge(self.0.ticket, &self.0.places);
            let then = std::mem::take(&mut *self.then_list());
            then.into_iter().for_each(Self::done);
        }
    }
}

#[derive(Debug)]
struct Nobody;

impl Acknowledge for Nobody {
    fn acknowledge(&self, _: BatchTicket, _: &[u32]) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<u32>>);

    impl Acknowledge for Heard {
        fn acknowledge(&self, _: BatchTicket, places: &[u32]) {
            self.0.lock().unwrap().extend(places);
        }
    }

    const TICKET: BatchTicket = BatchTicket {
        stream: 0,
        sequence: 0,
    };

    #[test]
    fn the_word_is_passed_on_when_the_last_part_is_done() {
        let heard = Arc::new(Heard::default());
        let ack = Ack::new(heard.clone(), TICKET, vec![3, 5]);
        let part = ack.split();
        ack.done();
        assert!(heard.0.lock().unwrap().is_empty());
        part.done();
        assert_eq!(*heard.0.lock().unwrap(), [3, 5]);
    }

    #[test]
    fn a_duty_can_wait_for_another() {
        let heard = Arc::new(Heard::default());
        let waiting = Ack::new(heard.clone(), TICKET, vec![7]);
        let first = Ack::new(heard.clone(), TICKET, vec![3]);
        first.then(waiting.split());
        waiting.done();
        assert!(heard.0.lock().unwrap().is_empty());
        first.done();
        assert_eq!(*heard.0.lock().unwrap(), [3, 7]);
    }

    #[test]
    fn a_part_that_is_dropped_is_never_done() {
        let heard = Arc::new(Heard::default());
        let ack = Ack::new(heard.clone(), TICKET, vec![3]);
        drop(ack.split());
        ack.done();
        assert!(heard.0.lock().unwrap().is_empty());
    }
}
