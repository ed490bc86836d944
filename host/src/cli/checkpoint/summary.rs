//! What is stored under a name, in short.

use bson::Document;
use oplet::{
    checkpoint::{Checkpoint, Error, Holding, Store},
    control::{ShownPosition, rfc3339},
    op::Position,
};
use serde_json::{Value, json};

use crate::cli::status::clean;

/// What is stored under a name.
pub(super) struct Summary {
    pub(super) name: String,
    /// As it is stored.
    pub(super) stored: Document,
    /// What it says, or why that cannot be read; none where a lease is all there is.
    pub(super) checkpoint: Result<Option<Checkpoint>, Error>,
    /// Who is at work, or was last; none where that cannot be read either.
    pub(super) holding: Option<Holding>,
}

impl Summary {
    /// Reads it; none when there is nothing.
    ///
    /// # Errors
    /// When the store does not answer, or has no document to show.
    pub(super) async fn of(name: &str, store: &Store) -> Result<Option<Self>, Error> {
        let Some(stored) = store.raw(name).await? else {
            return Ok(None);
        };
        let checkpoint = match store.load(name).await {
            Err(error @ (Error::Garbage { .. } | Error::NewerFormat { .. })) => Err(error),
            loaded => Ok(loaded?),
        };
        let holding = match store.holder(name).await {
            Err(Error::Garbage { .. } | Error::NewerFormat { .. }) => None,
            holding => holding?,
        };
        Ok(Some(Self {
            name: name.to_owned(),
            stored,
            checkpoint,
            holding,
        }))
    }

    /// What it says, where it can be read.
    pub(super) fn readable(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref().ok()?.as_ref()
    }

    /// The position that all streams have reached; none where there is none.
    pub(super) fn position(&self) -> Option<&Position> {
        let streams = &self.readable()?.streams;
        let positions = streams.iter().map(|stream| &stream.frontier.position);
        // One that cannot be told as a time goes before all others.
        positions.min_by_key(|position| position.timestamp())
    }

    /// Where it stood, for people who change that.
    pub(super) fn stood(&self) -> String {
        match &self.checkpoint {
            Ok(Some(checkpoint)) => format!(
                "it stood at {}, saved {}",
                shown_position(self.position()),
                rfc3339(checkpoint.saved_ms)
            ),
            Ok(None) => "it had no position yet".to_owned(),
            Err(_) => "it could not be read".to_owned(),
        }
    }

    /// Who holds the name, for people.
    pub(super) fn held_by(&self) -> Option<String> {
        let holding = self.holding.as_ref()?;
        let gone = if holding.is_live() { "" } else { " (gone)" };
        Some(clean(&format!("{}{gone}", holding.holder)))
    }

    /// One document for programs.
    pub(super) fn as_json(&self) -> Value {
        let mut json = json!({
            "name": self.name,
            "source": self.readable().map(|checkpoint| checkpoint.source.as_str()),
            "position": self.position().map(ShownPosition::of),
            "savedAt": self.readable().map(|checkpoint| rfc3339(checkpoint.saved_ms)),
            "holder": self.holding.as_ref().map(|holding| json!({
                "host": holding.holder.host,
                "pid": holding.holder.pid,
                "epoch": holding.epoch,
                "since": rfc3339(holding.since_ms),
                "renewedSecondsAgo": holding.renewed_ago.as_secs_f64(),
                "live": holding.is_live(),
            })),
        });
        if let Err(error) = &self.checkpoint {
            json["error"] = error.to_string().into();
        }
        json
    }
}

/// A position for people, in both forms that they know.
pub(super) fn shown_position(position: Option<&Position>) -> String {
    let Some(position) = position else {
        return "no position".to_owned();
    };
    let shown = ShownPosition::of(position);
    match (shown.cluster_time, shown.time) {
        (Some(cluster_time), Some(time)) => format!("{cluster_time} ({time})"),
        _ => position.to_string(),
    }
}
