//! A list of workers in a file, which is looked at again and again.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use super::{Known, ShareError, ShareOptions, chain};
use crate::{
    flow::workers::{FileList, Membership},
    op::Timestamp,
};

/// How often the file is looked at. It is small, and a look costs less than being told of changes of
/// whatever file system it lies on.
const EVERY: Duration = Duration::from_secs(1);

/// The end of time: a file has said all that there is to say.
const EVER: Timestamp = Timestamp::new(u32::MAX, u32::MAX);

/// Looks at a file.
#[derive(Debug)]
pub(super) struct FileWatch {
    path: PathBuf,
    last: Result<FileList, String>,
    membership: Arc<Membership>,
    told: Arc<Mutex<Timestamp>>,
}

/// Reads a file, and who is in it.
pub(super) fn load(
    path: &Path,
    options: &ShareOptions,
) -> Result<(FileList, Membership), ShareError> {
    let list = FileList::load(path).map_err(|source| ShareError::File {
        place: path.display().to_string(),
        source,
    })?;
    let (worker, ring) = (&options.worker, options.ring);
    let membership = match &list.before {
        None => Membership::new(worker, ring, list.workers.clone()),
        Some((before, since)) => {
            let mut membership = Membership::new(worker, ring, before.clone());
            membership.add(*since, list.workers.clone());
            membership
        }
    };
    Ok((list, membership))
}

impl FileWatch {
    pub(super) fn open(
        path: &Path,
        options: &ShareOptions,
        told: Arc<Mutex<Timestamp>>,
    ) -> Result<(Self, Known), ShareError> {
        let (list, membership) = load(path, options)?;
        let membership = Arc::new(membership);
        let known = Known {
            membership: membership.clone(),
            until: EVER,
        };
        let watch = Self {
            path: path.to_owned(),
            last: Ok(list),
            membership,
            told,
        };
        Ok((watch, known))
    }

    pub(super) async fn run(mut self, known: watch::Sender<Known>) {
        loop {
            sleep(EVERY).await;
            if self.look() {
                let membership = self.membership.clone();
                known.send_replace(Known {
                    membership,
                    until: EVER,
                });
            }
        }
    }

    /// Reads the file, and tells whether another list is to hold.
    fn look(&mut self) -> bool {
        let found = FileList::load(&self.path).map_err(|error| chain(&error));
        if found == self.last {
            return false;
        }
        self.last = found;
        let path = self.path.display();
        let list = match &self.last {
            Ok(list) => list,
            Err(error) => {
                warn!(%path, error, "the list of workers cannot be read; the one before goes on to hold");
                return false;
            }
        };
        let present = self.membership.newest();
        let Some((_, since)) = &list.before else {
            if list.workers != *present.list() {
                warn!(%path, "the list of workers has changed, but does not say since when: the one before goes on \
                    to hold; write `since` and `before` into it");
            }
            return false;
        };
        let since = *since;
        if list.workers == *present.list() && since == present.since {
            return false;
        }
        if since <= present.since {
            warn!(%path, %since, holds_since = %present.since,
                "the list of workers is older than the one that holds, which goes on to hold");
            return false;
        }
        let told = *self.told.lock().expect("no holder of this lock panics");
        if since < told {
            warn!(%path, %since, reached = %told,
                "the list of workers says too late that it holds: what came since then was given out by the one \
                 before; `oplet seek --since {since}` reads it again, in each of the workers");
        }
        info!(%path, %since, workers = ?list.workers.names(), "another list of workers holds");
        let mut membership = Membership::clone(&self.membership);
        membership.add(since, list.workers.clone());
        self.membership = Arc::new(membership);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::workers::RingKind;

    #[test]
    fn a_changed_list_holds_when_it_says_since_when() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("workers.toml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("workers = ['a', 'b']");
        let options = ShareOptions {
            worker: "a".into(),
            list: super::super::ListPlace::File(path.clone()),
            ring: RingKind::Oplet,
        };
        let told = Arc::new(Mutex::new(Timestamp::new(50, 1)));
        let (mut watch, known) = FileWatch::open(&path, &options, told).unwrap();
        assert_eq!(known.membership.spells().len(), 1);
        for (text, expected) in [
            ("workers = ['a', 'b']", None),
            ("workers = ['a', 'b", None),
            ("workers = ['a', 'b', 'c']", None),
            (
                "workers = ['a', 'b', 'c']\nbefore = ['a', 'b']\nsince = '60:0'",
                Some((60, 3)),
            ),
            (
                "# again\nworkers = ['a', 'b', 'c']\nbefore = ['a', 'b']\nsince = '60:0'",
                None,
            ),
            ("workers = ['a']\nbefore = ['a', 'b']\nsince = '55:0'", None),
            (
                "workers = ['a']\nbefore = ['a', 'b', 'c']\nsince = '70:0'",
                Some((70, 1)),
            ),
        ] {
            write(text);
            let newest = watch.look().then(|| {
                let newest = watch.membership.newest();
                (newest.since.seconds, newest.list().names().len())
            });
            assert_eq!(newest, expected, "{text}");
        }
    }
}
