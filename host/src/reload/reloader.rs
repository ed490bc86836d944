//! Looks at the files, and hands over what is new.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    ModuleFile, Options, Outcome,
    file::{Look, Tracked},
    watcher::Watcher,
};
use crate::control::{Absent, Handle, Origin, Rollout, Swap, SwapError};

/// How soon a file is looked at again that was changed a moment ago.
const LOOK_PAUSE: Duration = Duration::from_millis(40);

/// How often files are looked at when the system says nothing.
const POLL_PAUSE: Duration = Duration::from_secs(1);

/// How long a file that was asked for may take to come to rest.
const REST_TIME_MAX: Duration = Duration::from_secs(10);

/// How long to wait at most before what could not be done is tried again.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(300);

/// Swaps modules whose files change, until `shutdown` is cancelled or the run ends. `asked` has every
/// file looked at, also when they are not watched. `on_outcome` is told of all that comes of it.
pub async fn run(
    options: Options,
    handle: Handle,
    asked: Arc<Notify>,
    shutdown: CancellationToken,
    on_outcome: impl FnMut(&Outcome) + Send,
) {
    let reloader = Reloader::new(options, handle, on_outcome);
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = reloader.work(&asked) => {}
    }
}

struct Reloader<F> {
    options: Options,
    handle: Handle,
    files: Vec<Followed>,
    on_outcome: F,
}

/// A file, and what is to be done about it.
#[derive(Debug)]
struct Followed {
    file: ModuleFile,
    /// Shared with the thread that reads it.
    tracked: Arc<Mutex<Tracked>>,
    /// The digest of what was handed to the run last, and is not tried again.
    offered: String,
    /// What could not be done when it was tried, and is tried again.
    retry: Option<Retry>,
    /// Whether it was told that the file cannot be read.
    is_unreadable: bool,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Instant,
    pause: Duration,
    /// Whether the looks that lead to it have begun.
    is_due: bool,
}

/// The run has ended.
struct Ended;

impl<F: FnMut(&Outcome) + Send> Reloader<F> {
    fn new(options: Options, handle: Handle, on_outcome: F) -> Self {
        let followed = |file: &ModuleFile| Followed {
            tracked: Arc::new(Mutex::new(Tracked::new(
                file.path.clone(),
                options.settle,
                options.bytes_max,
            ))),
            file: file.clone(),
            offered: file.digest.clone(),
            retry: None,
            is_unreadable: false,
        };
        Self {
            handle,
            files: options.files.iter().map(followed).collect(),
            options,
            on_outcome,
        }
    }

    async fn work(mut self, asked: &Notify) {
        let paths = self
            .files
            .iter()
            .map(|followed| followed.file.path.as_path());
        let mut watcher = self.options.watch.then(|| Watcher::new(paths));
        let mut is_unsettled = false;
        loop {
            let pause = match is_unsettled {
                true => LOOK_PAUSE,
                false => POLL_PAUSE,
            };
            let changed = async {
                match &watcher {
                    // While it changes, it is looked at soon anyway.
                    Some(watcher) if !is_unsettled => watcher.changed().await,
                    _ => std::future::pending().await,
                }
            };
            let is_asked = tokio::select! {
                () = asked.notified() => true,
                () = changed => false,
                () = tokio::time::sleep(pause), if self.options.watch => false,
            };
            let done = match (is_asked, &mut watcher) {
                (true, _) => self.take_all().await.map(|()| true),
                (false, Some(watcher)) => {
                    watcher.renew();
                    self.look_at_all().await
                }
                (false, None) => Ok(false),
            };
            match done {
                Ok(is_on_the_way) => is_unsettled = is_on_the_way,
                Err(Ended) => return,
            }
        }
    }

    /// Looks at every file, and takes those that are new and at rest; tells whether some are not yet.
    async fn look_at_all(&mut self) -> Result<bool, Ended> {
        let mut is_unsettled = false;
        for index in 0..self.files.len() {
            let now = Instant::now();
            self.files[index].begin_retry(now);
            match self.files[index].look(now).await {
                Ok(Look::Unsettled) => is_unsettled = true,
                Ok(Look::Absent | Look::Quiet) => {}
                Ok(Look::Settled { wasm, digest }) => {
                    self.files[index].is_unreadable = false;
                    match self.files[index].offered == digest {
                        true => self.files[index].retry = None,
                        false => self.take(index, wasm, digest, false).await?,
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.files[index].is_unreadable, true) {
                        self.tell_unreadable(index, error);
                    }
                }
            }
        }
        Ok(is_unsettled)
    }

    /// Waits for every file to be at rest, and takes those that differ from what works.
    async fn take_all(&mut self) -> Result<(), Ended> {
        for index in 0..self.files.len() {
            self.files[index].tracked().forget();
            let begin = Instant::now();
            let read = loop {
                let now = Instant::now();
                match self.files[index].look(now).await {
                    Ok(Look::Settled { wasm, digest }) => break Ok((wasm, digest)),
                    Ok(Look::Absent) => break Err(io::ErrorKind::NotFound.into()),
                    Ok(Look::Unsettled | Look::Quiet) if begin.elapsed() > REST_TIME_MAX => {
                        break Err(io::Error::other("it does not come to rest"));
                    }
                    Ok(Look::Unsettled | Look::Quiet) => tokio::time::sleep(LOOK_PAUSE).await,
                    Err(error) => break Err(error),
                }
            };
            match read {
                Ok((wasm, digest)) => self.take(index, wasm, digest, true).await?,
                Err(error) => self.tell_unreadable(index, error),
            }
        }
        Ok(())
    }

    /// Hands a version to the run, unless it is the one that works.
    async fn take(
        &mut self,
        index: usize,
        wasm: Arc<[u8]>,
        digest: String,
        is_asked: bool,
    ) -> Result<(), Ended> {
        let followed = &mut self.files[index];
        let ModuleFile { module, path, .. } = followed.file.clone();
        let status = self.handle.status().await.map_err(|_| Ended)?;
        let mut present = status.modules.iter();
        if present.any(|present| present.name == module && present.digest == digest) {
            followed.offered.clone_from(&digest);
            followed.retry = None;
            if is_asked {
                (self.on_outcome)(&Outcome::Same { module, digest });
            }
            return Ok(());
        }
        let swap = Swap {
            module: module.clone(),
            wasm,
            origin: Origin::File,
            absent: Absent::Refuse,
            rollout: Rollout::AtOnce,
        };
        let error = match self.handle.swap(swap).await {
            Ok(swapped) => {
                followed.offered = digest;
                followed.retry = None;
                (self.on_outcome)(&Outcome::Swapped { path, swapped });
                return Ok(());
            }
            Err(SwapError::Ended) => return Err(Ended),
            Err(error) => error,
        };
        let was_told = followed.retry.is_some() && !is_asked;
        let passes = matches!(error, SwapError::Late { .. } | SwapError::Refused(_));
        match passes {
            true => followed.retry = Some(Retry::after(followed.retry, self.options.retry)),
            false => {
                followed.retry = None;
                followed.offered.clone_from(&digest);
            }
        }
        if !(was_told && passes) {
            (self.on_outcome)(&Outcome::Refused {
                module,
                path,
                digest,
                error,
                is_tried_again: passes && self.options.watch,
            });
        }
        Ok(())
    }

    fn tell_unreadable(&mut self, index: usize, error: io::Error) {
        let file = &self.files[index].file;
        (self.on_outcome)(&Outcome::Unreadable {
            module: file.module.clone(),
            path: file.path.clone(),
            error,
        });
    }
}

impl Followed {
    fn tracked(&self) -> MutexGuard<'_, Tracked> {
        self.tracked.lock().expect("no holder of this lock panics")
    }

    /// Looks at the file, where reading and hashing may take their time.
    async fn look(&self, now: Instant) -> io::Result<Look> {
        let tracked = self.tracked.clone();
        let look = tokio::task::spawn_blocking(move || {
            let mut tracked = tracked.lock().expect("no holder of this lock panics");
            tracked.look(now)
        });
        look.await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Has the file looked at again when it is time to.
    fn begin_retry(&mut self, now: Instant) {
        if let Some(retry) = &mut self.retry
            && !retry.is_due
            && retry.at <= now
        {
            retry.is_due = true;
            self.tracked().forget();
        }
    }
}

impl Retry {
    fn after(before: Option<Self>, first: Duration) -> Self {
        let pause = before.map_or(first, |before| (before.pause * 2).min(RETRY_PAUSE_MAX));
        Self {
            at: Instant::now() + pause,
            pause,
            is_due: false,
        }
    }
}
