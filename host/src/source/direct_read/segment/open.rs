//! Opening a segment's cursor, and what becomes of it when that breaks off.

use bson::doc;

use super::{Cut, Ended, SegmentReader};
use crate::{
    mongo::{Reply, answer_in_time, code, has_code},
    source::direct_read::{
        Error,
        command::AsOf,
        cursor::{Mode, Opening},
        error::wait_or_fail,
        target::is_there,
    },
};

/// The server no longer has the time of a snapshot.
const SNAPSHOT_LOST: [i32; 2] = [code::SNAPSHOT_TOO_OLD, code::SNAPSHOT_UNAVAILABLE];

/// The collection may be another one by now, or none.
const PERHAPS_GONE: [i32; 3] = [
    code::NAMESPACE_NOT_FOUND,
    code::QUERY_PLAN_KILLED,
    code::COLLECTION_UUID_MISMATCH,
];

/// Said where documents come twice.
const BEGINS_AGAIN: &str = "reading begins again, and gives documents again";

impl SegmentReader {
    pub(super) async fn try_open(&mut self, mut as_of: AsOf) -> mongodb::error::Result<()> {
        let mut range = self.rest.clone();
        let mut opening = Opening {
            server: &self.server,
            target: &self.target,
            options: &self.options,
            mode: self.mode,
            range: &self.rest,
            as_of,
            skip: self.given.0,
            // One more shows where the next segment begins.
            limit: self
                .options
                .documents_max
                .saturating_sub(self.given.0)
                .max(1)
                + 1,
        };
        if self.mode == Mode::Staged {
            if self.boundary.is_none() && self.given.0 == 0 {
                opening.limit = self.options.documents_max.max(1);
                let (boundary, at) = opening.find_boundary().await?;
                if let (AsOf::After(_), Some(at)) = (as_of, at) {
                    as_of = AsOf::At(at);
                }
                self.boundary = boundary;
            }
            range.to = self.boundary.clone().or(range.to);
        }
        opening.range = &range;
        opening.as_of = as_of;
        let cursor = opening.open().await?;
        let told = cursor.first().map(Reply::at_cluster_time).transpose();
        let told = told.map_err(mongodb::error::Error::custom)?.flatten();
        self.at = match as_of {
            AsOf::At(at) | AsOf::Current(at) => at,
            AsOf::After(after) => match told {
                Some(at) => at,
                None => {
                    let text = format!("the server read no snapshot after {after}");
                    return Err(mongodb::error::Error::custom(text));
                }
            },
        };
        self.cursor = Some(cursor);
        Ok(())
    }

    /// Servers before 6.0 read whatever has the name now.
    pub(super) async fn check_identity(&self) -> Result<(), Error> {
        let is_told = self.target.checks_uuid || self.target.uuid.is_none();
        match is_told || is_there(&self.server, &self.target).await? {
            true => Ok(()),
            false => Err(self.gone()),
        }
    }

    /// Opens a cursor over what is left, at the same time.
    pub(super) async fn reopen(&mut self) -> Result<(), Error> {
        let as_of = match self.target.inexact() {
            None => AsOf::At(self.at),
            Some(_) => AsOf::Current(self.at),
        };
        match self.try_open(as_of).await {
            Ok(()) => self.check_identity().await?,
            Err(error) => return self.break_off(error).await,
        }
        if self.mode == Mode::Scan && self.given.0 > 0 && !self.is_same_member().await {
            // What comes first there is not what came first here.
            tracing::warn!(what = self.what, "{BEGINS_AGAIN}");
            self.given.0 = 0;
            self.cursor = None;
        }
        Ok(())
    }

    async fn is_same_member(&mut self) -> bool {
        let now = self.primary().await;
        let before = std::mem::replace(&mut self.member, now);
        before.is_some() && before == self.member
    }

    /// Which member is the primary now.
    pub(super) async fn primary(&self) -> Option<String> {
        let admin = self.server.client.database("admin");
        let hello = answer_in_time(admin.run_command(doc! { "hello": 1 })).await;
        hello.ok()?.get_str("me").ok().map(str::to_owned)
    }

    /// Decides what becomes of a segment whose cursor is gone.
    pub(super) async fn break_off(&mut self, error: mongodb::error::Error) -> Result<(), Error> {
        self.cursor = None;
        self.stats.count_reopened();
        if let Some(held) = self.held.take() {
            self.rest.from = Some(held.key);
        } else if matches!(self.mode, Mode::Staged | Mode::Whole) && self.given.0 > 0 {
            tracing::warn!(what = self.what, "{BEGINS_AGAIN}");
        }
        if has_code(&error, &SNAPSHOT_LOST) && self.target.inexact().is_none() {
            // Before the first document was given, nothing shows how far it has come.
            let is_begun = self.holds() && self.given.0 > 0;
            let at = self.rest.from.clone().filter(|_| is_begun);
            self.ended = Some(Ended::Cut(Cut::SnapshotLost(at)));
            return Ok(());
        }
        self.judge(error).await
    }

    /// Waits after a passing fault; everything else is the end.
    pub(super) async fn judge(&mut self, error: mongodb::error::Error) -> Result<(), Error> {
        if has_code(&error, &PERHAPS_GONE) && !is_there(&self.server, &self.target).await? {
            return Err(self.gone());
        }
        wait_or_fail(error, &self.what, &mut self.backoff).await
    }

    fn gone(&self) -> Error {
        Error::Gone {
            namespace: self.target.namespace.clone(),
        }
    }
}
