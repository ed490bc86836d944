//! The task of a tail: reads, takes commands, and ends in a bounded time.

use std::{
    future::pending,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{sync::mpsc, time::timeout};

use super::{
    Error, Event,
    handle::{Goto, Shared},
    session::Session,
    start::Kept,
    stream::{Content, Item},
};
use crate::control::saver::Saver;

/// How long the last save may take.
const SAVE_TIME: Duration = Duration::from_secs(5);

/// How long giving back the lease may take: without that it runs out.
pub(super) const RELEASE_TIME: Duration = Duration::from_secs(2);

/// What the task owns.
pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) items: mpsc::Sender<Item>,
    pub(super) commands: mpsc::Receiver<Goto>,
    pub(super) kept: Option<Kept>,
    /// Nobody else has the client.
    pub(super) owns_client: bool,
}

/// What is to be done next, until a command comes.
enum Work {
    Read,
    Tell(Error),
    End,
    Rest,
}

impl Task {
    /// Works until the tail is stopped.
    pub(super) async fn run(mut self, mut session: Session) {
        let shared = self.shared.clone();
        // Whatever happens, nobody waits for this task in vain.
        let _ended = shared.ended.clone().drop_guard();
        let mut failed = pin!(failed(shared.saver.clone()).fuse());
        let mut work = Work::Read;
        loop {
            let now = std::mem::replace(&mut work, Work::Rest);
            tokio::select! {
                biased;
                () = shared.stop.cancelled() => break,
                error = &mut failed => {
                    // What was read is another's to handle now.
                    session.generation = shared.begin_generation();
                    session.stop_reading().await;
                    work = Work::Tell(error);
                }
                Some(Goto { begin, answer }) = self.commands.recv() => {
                    let to = begin.start.position();
                    session.go_to(begin).await;
                    // What was covered by documents that were read is asked for again.
                    shared.reads.forget();
                    shared.tell(Event::Moved { to });
                    // Who asked may have stopped waiting.
                    let _ = answer.send(());
                    shared.waker.wake();
                    work = Work::Read;
                }
                next = step(now, &mut session, &self.items) => work = next,
            }
        }
        session.stop_reading().await;
        // A cursor is closed with its reader.
        drop(session);
        self.finish().await;
    }

    async fn finish(self) {
        let shared = self.shared;
        if let Some(saver) = &shared.saver {
            let saved = timeout(SAVE_TIME, saver.save_now()).await;
            shared.is_unsaved.store(saved != Ok(true), SeqCst);
            saver.end().await;
        }
        if let Some(Kept { store, lease, .. }) = &self.kept {
            // Who was fenced has nothing to give back.
            let released = timeout(RELEASE_TIME, store.release(lease)).await;
            if !matches!(released, Ok(Ok(()))) {
                tracing::debug!("the lease is not given back, and runs out");
            }
        }
        if self.owns_client {
            shared.server.clone().shutdown().await;
        }
        shared.tell_of_reads();
        shared.tell(Event::Stopped);
    }
}

/// Why positions cannot be kept any more.
async fn failed(saver: Option<Arc<Saver>>) -> Error {
    let Some(saver) = saver else {
        return pending().await;
    };
    saver.failed().await;
    let error = saver.end().await;
    error.map_or(Error::Panicked("the saver"), Error::from)
}

/// Does some work, and tells what comes next. Whatever it is about can be given up at any point.
async fn step(work: Work, session: &mut Session, items: &mpsc::Sender<Item>) -> Work {
    let tell = |generation, content| {
        items.send(Item {
            generation,
            content,
        })
    };
    match work {
        Work::Read => match AssertUnwindSafe(session.read()).catch_unwind().await {
            Ok(Ok(())) => Work::End,
            Ok(Err(error)) => Work::Tell(error),
            Err(_) => Work::Tell(Error::Panicked("a filter, or the reader,")),
        },
        Work::Tell(error) => {
            let _ = tell(session.generation, Content::Failed(error)).await;
            Work::End
        }
        Work::End => {
            let _ = tell(session.generation, Content::End).await;
            Work::Rest
        }
        Work::Rest => pending().await,
    }
}
