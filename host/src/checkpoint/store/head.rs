//! Who holds a name, as both stores write it.
//!
//! ```json
//! {format: 1, epoch: 3, holder: {id: "5f...", host: "h", pid: 7, ..., since: ISODate("..."), ttlMs: 7000},
//!  renewedAt: ISODate("...")}
//! ```
//! `holder` and `renewedAt` are absent while nobody holds it.

use std::time::Duration;

use bson::{DateTime, Document, doc};

use crate::checkpoint::{
    Checkpoint, Error, Holder, Holding,
    holder::whole,
    record::{FORMAT, check_format},
};

/// Who holds a name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Head {
    pub(super) epoch: u64,
    pub(super) holding: Option<Holding>,
}

impl Head {
    /// Reads a stored head; `now_ms` is the time by the clock that `renewedAt` was written by.
    pub(super) fn read(
        name: &str,
        store: &str,
        document: &Document,
        now_ms: i64,
    ) -> Result<Self, Error> {
        check_format(name, store, document)?;
        Self::read_any(document, now_ms).map_err(|reason| Error::Garbage {
            name: name.to_owned(),
            store: store.to_owned(),
            reason,
        })
    }

    /// Reads one of whatever format, as far as that goes.
    pub(super) fn read_any(document: &Document, now_ms: i64) -> Result<Self, String> {
        let wrong = |field: &str| format!("`{field}` is missing or of the wrong type");
        let epoch = whole(document, "epoch").and_then(|epoch| u64::try_from(epoch).ok());
        let epoch = epoch.ok_or_else(|| wrong("epoch"))?;
        let stored = match document.get("holder") {
            None | Some(bson::Bson::Null) => {
                return Ok(Self {
                    epoch,
                    holding: None,
                });
            }
            Some(holder) => holder.as_document().ok_or_else(|| wrong("holder"))?,
        };
        let date = |document: &Document, field: &str, name: &str| {
            let date = document.get_datetime(field).map_err(|_| wrong(name));
            date.map(|date| date.timestamp_millis())
        };
        let renewed_at_ms = date(document, "renewedAt", "renewedAt")?;
        let ttl_ms = whole(stored, "ttlMs").and_then(|ms| u64::try_from(ms).ok());
        let ago_ms = u64::try_from(now_ms.saturating_sub(renewed_at_ms)).unwrap_or_default();
        Ok(Self {
            epoch,
            holding: Some(Holding {
                holder: Holder::from_document(stored)?,
                epoch,
                since_ms: date(stored, "since", "holder.since")?,
                renewed_at_ms,
                renewed_ago: Duration::from_millis(ago_ms),
                ttl: Duration::from_millis(ttl_ms.ok_or_else(|| wrong("holder.ttlMs"))?),
            }),
        })
    }

    /// Who keeps that holder from taking the name; nobody may be told to be kept by themselves.
    pub(super) fn held_against(&self, id: &str) -> Option<&Holding> {
        self.holding
            .as_ref()
            .filter(|holding| holding.holder.id != id && holding.is_live())
    }

    /// The holder as the one who takes the name after this: what is left of the one before is theirs.
    pub(super) fn successor(&self, holder: &Holder) -> Holder {
        let before = self.holding.as_ref();
        let remains = before.map(|holding| holding.holder.remains());
        Holder {
            inherited: remains.unwrap_or_default(),
            ..holder.clone()
        }
    }

    /// Whether that lease is the one that stands here.
    pub(super) fn is_of(&self, epoch: u64, id: &str) -> bool {
        let holder = self.holding.as_ref().map(|holding| &holding.holder);
        self.epoch == epoch && holder.is_some_and(|holder| holder.id == id)
    }

    /// As it is written by a store whose clock is this host's.
    pub(super) fn to_document(&self) -> Document {
        let mut document = doc! {"format": FORMAT, "epoch": self.epoch as i64};
        if let Some(holding) = &self.holding {
            let mut holder = holder_fields(&holding.holder, holding.ttl);
            holder.insert("since", DateTime::from_millis(holding.since_ms));
            document.insert("holder", holder);
            document.insert("renewedAt", DateTime::from_millis(holding.renewed_at_ms));
        }
        document
    }
}

/// The holder, but for the time since when, which the store tells.
pub(super) fn holder_fields(holder: &Holder, ttl: Duration) -> Document {
    let mut document = holder.to_document();
    document.insert("ttlMs", i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
    document
}

/// Why the name cannot be taken.
pub(super) fn held(name: &str, by: &Holding) -> Error {
    Error::Held {
        name: name.to_owned(),
        by: Box::new(by.clone()),
    }
}

/// A checkpoint as it is stored: under this name, in this epoch.
pub(super) fn of_epoch(name: &str, epoch: u64, checkpoint: &Checkpoint) -> Document {
    let mut document = checkpoint.to_document();
    document.insert("name", name);
    document.insert("epoch", epoch as i64);
    document
}
