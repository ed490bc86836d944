//! A checkpoint in files, for one name.
//!
//! `PATH.a` and `PATH.b` are written by turns, each with a number that grows, a checksum, and in one
//! step (see `slot.rs`): the newer of those that are whole counts. `PATH.lease` says who holds the
//! name; versions of modules lie in `PATH.modules` (see `kept_files.rs`). Whoever writes any of them locks `PATH.lock` for that moment, which the system lets go of
//! when a process dies. Times are the host's.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use bson::Document;

use super::{
    head::{Head, held, of_epoch},
    slot::{Durability, Slot, remove, sync_directory, with_ending, write},
};
use crate::{
    checkpoint::{Checkpoint, Error, Gap, Holder, Holding, Lease, holder::now_ms},
    mongo::Remains,
};

/// How long to wait for the lock: who holds it only writes a small file, unless it was suspended.
const LOCK_TIME_MAX: Duration = Duration::from_secs(5);

/// Pause between two tries of the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The files of one path. Its functions block.
#[derive(Debug, Clone)]
pub(super) struct FileStore {
    path: PathBuf,
}

/// Both slots, and which holds what counts.
struct Slots {
    slots: [Slot; 2],
}

const ENDINGS: [&str; 2] = [".a", ".b"];

impl FileStore {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn place(&self) -> String {
        format!("file:{}", self.path.display())
    }

    pub(super) fn file(&self, ending: &str) -> PathBuf {
        with_ending(&self.path, ending)
    }

    pub(super) fn what(&self, what: &str) -> String {
        format!("{what} in {}", self.place())
    }

    pub(super) fn failed(&self, what: &str) -> impl Fn(io::Error) -> Error {
        let what = self.what(what);
        move |error| Error::of_file(what.clone(), error)
    }

    fn garbage(&self, name: &str, reason: String) -> Error {
        Error::Garbage {
            name: name.to_owned(),
            store: self.place(),
            reason,
        }
    }

    /// Holds the lock until the file is dropped.
    pub(super) fn lock(&self) -> Result<File, Error> {
        let failed = self.failed("lock the checkpoint");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.file(".lock"))
            .map_err(&failed)?;
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if begin.elapsed() < LOCK_TIME_MAX => {
                    thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::too_late(
                        self.what("lock the checkpoint"),
                        LOCK_TIME_MAX,
                    ));
                }
            }
        }
    }

    fn slots(&self) -> Result<Slots, Error> {
        let failed = self.failed("read the checkpoint");
        let [a, b] = ENDINGS.map(|ending| Slot::read(&self.file(ending)));
        Ok(Slots {
            slots: [a.map_err(&failed)?, b.map_err(&failed)?],
        })
    }

    /// The document that counts.
    fn current(&self, name: &str) -> Result<Option<Document>, Error> {
        let mut slots = self.slots()?.slots;
        slots.sort_by_key(|slot| std::cmp::Reverse(slot.sequence()));
        let corrupt = slots.iter().find_map(|slot| match slot {
            Slot::Corrupt(reason) => Some(reason.clone()),
            _ => None,
        });
        let [newest, _] = slots;
        match (newest, corrupt) {
            (Slot::Whole(sequence, document), corrupt) => {
                if let Some(reason) = corrupt {
                    tracing::warn!(
                        store = self.place(),
                        sequence,
                        reason,
                        "one of two checkpoint files cannot be read; the other one counts"
                    );
                }
                Ok(Some(document))
            }
            (_, Some(reason)) => Err(self.garbage(name, reason)),
            (_, None) => Ok(None),
        }
    }

    pub(super) fn load(&self, name: &str) -> Result<Option<Checkpoint>, Error> {
        let Some(document) = self.current(name)? else {
            return Ok(None);
        };
        let checkpoint = Checkpoint::from_document(name, &self.place(), &document)?;
        self.check_name(name, &checkpoint.name)?;
        Ok(Some(checkpoint))
    }

    pub(super) fn raw(&self, name: &str) -> Result<Option<Document>, Error> {
        self.current(name)
    }

    fn check_name(&self, name: &str, found: &str) -> Result<(), Error> {
        if name == found {
            return Ok(());
        }
        Err(Error::OtherName {
            name: name.to_owned(),
            store: self.place(),
            found: found.to_owned(),
        })
    }

    /// Who holds the name. A lease that cannot be read is nobody's, with the epoch of the checkpoint:
    /// its holder cannot save any more, so that nothing can go wrong.
    fn head(&self, name: &str) -> Result<Head, Error> {
        let lease = Slot::read(&self.file(".lease"));
        match lease.map_err(self.failed("read the lease"))? {
            Slot::Whole(_, document) => {
                let head = Head::read(name, &self.place(), &document, now_ms())?;
                let found = document.get_str("name").unwrap_or_default();
                // One that nobody holds is free for any name, as long as there is no checkpoint.
                if head.holding.is_some() {
                    self.check_name(name, found)?;
                }
                Ok(head)
            }
            Slot::Absent | Slot::Corrupt(_) => {
                let slots = self.slots()?.slots;
                let epochs = slots.iter().filter_map(|slot| match slot {
                    Slot::Whole(_, document) => document.get_i64("epoch").ok(),
                    _ => None,
                });
                let epoch = epochs.max().unwrap_or_default();
                Ok(Head {
                    epoch: epoch.try_into().unwrap_or_default(),
                    holding: None,
                })
            }
        }
    }

    fn write_head(&self, name: &str, head: &Head, durability: Durability) -> Result<(), Error> {
        let mut document = head.to_document();
        document.insert("name", name);
        write(&self.file(".lease"), head.epoch, &document, durability)
            .map_err(self.failed("write the lease"))
    }

    pub(super) fn holder(&self, name: &str) -> Result<Option<Holding>, Error> {
        Ok(self.head(name)?.holding)
    }

    pub(super) fn names(&self) -> Result<Vec<String>, Error> {
        let document = self.current("*")?;
        let name = document.and_then(|document| document.get_str("name").map(str::to_owned).ok());
        Ok(name.into_iter().collect())
    }

    pub(super) fn acquire(
        &self,
        name: &str,
        holder: &Holder,
        ttl: Duration,
    ) -> Result<Lease, Error> {
        let _lock = self.lock()?;
        let head = self.head(name)?;
        if let Some(by) = head.held_against(&holder.id) {
            return Err(held(name, by));
        }
        if let Some(document) = self.current(name)?
            && let Ok(found) = document.get_str("name")
        {
            self.check_name(name, found)?;
        }
        let epoch = head.epoch + 1;
        let holder = head.successor(holder);
        let now_ms = now_ms();
        let holding = Holding {
            holder: holder.clone(),
            epoch,
            since_ms: now_ms,
            renewed_at_ms: now_ms,
            renewed_ago: Duration::ZERO,
            ttl,
        };
        let head = Head {
            epoch,
            holding: Some(holding),
        };
        self.write_head(name, &head, Durability::Disk)?;
        Ok(Lease {
            name: name.to_owned(),
            epoch,
            replaced: holder.inherited.clone(),
            holder,
            ttl,
        })
    }

    /// The head, if that lease still stands there; under the lock.
    fn fenced(&self, lease: &Lease) -> Result<Head, Error> {
        let head = match self.head(&lease.name) {
            Ok(head) => head,
            // Another name has taken the file: as good as taken over.
            Err(Error::OtherName { .. }) => Head::default(),
            Err(error) => return Err(error),
        };
        if head.is_of(lease.epoch, &lease.holder.id) {
            return Ok(head);
        }
        Err(Error::Fenced {
            name: lease.name.clone(),
            epoch: lease.epoch,
            by: head.holding.map(|holding| Box::new(holding.holder)),
        })
    }

    pub(super) fn renew(&self, lease: &Lease) -> Result<(), Error> {
        let _lock = self.lock()?;
        let mut head = self.fenced(lease)?;
        if let Some(holding) = &mut head.holding {
            holding.renewed_at_ms = now_ms();
        }
        self.write_head(&lease.name, &head, Durability::System)
    }

    pub(super) fn settle(&self, lease: &Lease) -> Result<(), Error> {
        let _lock = self.lock()?;
        let mut head = self.fenced(lease)?;
        if let Some(holding) = &mut head.holding {
            holding.holder.inherited = Remains::default();
        }
        self.write_head(&lease.name, &head, Durability::System)
    }

    pub(super) fn release(&self, lease: &Lease) -> Result<(), Error> {
        let _lock = self.lock()?;
        match self.fenced(lease) {
            Ok(head) => {
                let free = Head {
                    holding: None,
                    ..head
                };
                self.write_head(&lease.name, &free, Durability::Disk)
            }
            Err(Error::Fenced { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn save(&self, lease: &Lease, checkpoint: &Checkpoint) -> Result<(), Error> {
        let _lock = self.lock()?;
        self.fenced(lease)?;
        self.write_slot(&of_epoch(&lease.name, lease.epoch, checkpoint))
    }

    /// Over the older of the two, or the one that is not whole.
    fn write_slot(&self, document: &Document) -> Result<(), Error> {
        let [a, b] = self.slots()?.slots.map(|slot| slot.sequence());
        let ending = match a > b {
            true => ENDINGS[1],
            false => ENDINGS[0],
        };
        let sequence = a.max(b).map_or(0, |sequence| sequence + 1);
        write(&self.file(ending), sequence, document, Durability::Disk)
            .map_err(self.failed("save the checkpoint"))
    }

    pub(super) fn set(&self, name: &str, checkpoint: &Checkpoint) -> Result<(), Error> {
        let _lock = self.lock()?;
        let head = self.head(name)?;
        if let Some(by) = head.held_against("") {
            return Err(held(name, by));
        }
        if let Ok(Some(document)) = self.current(name)
            && let Ok(found) = document.get_str("name")
        {
            self.check_name(name, found)?;
        }
        // A new epoch: a holder that is only suspended must not save over this.
        let head = Head {
            epoch: head.epoch + 1,
            holding: None,
        };
        self.write_head(name, &head, Durability::Disk)?;
        self.write_slot(&of_epoch(name, head.epoch, checkpoint))
    }

    pub(super) fn clear(&self, name: &str) -> Result<bool, Error> {
        let _lock = self.lock()?;
        let failed = self.failed("clear the checkpoint");
        let lease = self.file(".lease");
        // Whatever lies there can be cleared, but a live lease is heeded if it can be read.
        if let Slot::Whole(_, document) = Slot::read(&lease).map_err(&failed)?
            && let Ok(head) = Head::read_any(&document, now_ms())
            && let Some(by) = head.held_against("")
        {
            return Err(held(document.get_str("name").unwrap_or(name), by));
        }
        if let Ok(Some(document)) = self.current(name)
            && let Ok(found) = document.get_str("name")
        {
            self.check_name(name, found)?;
        }
        let mut was_there = false;
        for ending in ENDINGS {
            was_there |= remove(&self.file(ending)).map_err(&failed)?;
        }
        remove(&lease).map_err(&failed)?;
        self.clear_versions()?;
        sync_directory(&lease).map_err(&failed)?;
        Ok(was_there)
    }

    pub(super) fn record_gap(&self, gap: &Gap) -> Result<(), Error> {
        let failed = self.failed("record a gap");
        let _lock = self.lock()?;
        let path = self.file(".gaps.jsonl");
        let mut document = gap.to_document();
        let line = bson::Bson::Document(document.clone()).into_relaxed_extjson();
        let recorded = match fs::read_to_string(&path) {
            Ok(recorded) => recorded,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        // Found again, it is told again only when there is something new to tell.
        document.remove("at");
        let known = bson::Bson::Document(document).into_relaxed_extjson();
        let is_known = |line: &str| {
            let mut line = serde_json::from_str(line).unwrap_or(serde_json::Value::Null);
            if let Some(fields) = line.as_object_mut() {
                fields.remove("at");
            }
            line == known
        };
        if recorded.lines().any(is_known) {
            return Ok(());
        }
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(&failed)?;
        file.write_all(format!("{line}\n").as_bytes())
            .map_err(&failed)?;
        file.sync_all().map_err(&failed)
    }
}
