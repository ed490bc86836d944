//! Which positions a source can go to.

use std::fmt;

use super::{
    Error, Start,
    start::{EndEntry, oldest_entry, resolve},
};
use crate::{
    mongo::{Server, Topology},
    op::{Since, SourceKind, Timestamp},
};

/// What of its history a deployment still has.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    oldest: Option<EndEntry>,
    newest: Option<Timestamp>,
}

impl Window {
    /// Asks the server. Where it begins is not known of a sharded cluster, whose shards have an oplog
    /// each, nor to a user who may read change streams alone.
    ///
    /// # Errors
    /// [`Error`] when the oplog had to be read and could not.
    pub async fn ask(
        kind: SourceKind,
        server: &Server,
        oplog_namespace: &(String, String),
    ) -> Result<Self, Error> {
        let oldest = match (kind, server.topology == Topology::Sharded) {
            (SourceKind::ChangeStream, true) => None,
            (SourceKind::ChangeStream, false) => {
                match oldest_entry(&server.client, oplog_namespace).await {
                    Err(Error::Unauthorized { .. }) => None,
                    oldest => oldest?,
                }
            }
            (SourceKind::Oplog, _) => oldest_entry(&server.client, oplog_namespace).await?,
        };
        let newest = resolve(&Since::Now, kind, server, oplog_namespace).await?;
        Ok(Self {
            oldest,
            newest: newest.position().timestamp(),
        })
    }

    /// The oldest cluster time that is left, where that is known.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.oldest.map(|oldest| oldest.timestamp)
    }

    /// The newest cluster time.
    #[must_use]
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// Whether everything from there on is left, and that is no time to come. What is not known
    /// refuses nothing.
    #[must_use]
    pub fn contains(&self, start: &Start) -> bool {
        let Some(at) = start.behind().timestamp() else {
            return true;
        };
        // Before the first entry of all nothing is missing.
        let is_too_old = self
            .oldest
            .is_some_and(|oldest| !oldest.is_beginning && at < oldest.timestamp.before());
        let is_too_new = self.newest.is_some_and(|newest| at > newest);
        !is_too_old && !is_too_new
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |timestamp: Option<Timestamp>| {
            timestamp.map_or_else(|| "?".to_owned(), |timestamp| timestamp.to_string())
        };
        write!(f, "from {} to {}", show(self.oldest()), show(self.newest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Position;

    fn check(window: &Window, increment: u32, expected: bool) {
        let at = Timestamp::new(100, increment);
        let start = Start::After(Position::Time(at));
        assert_eq!(window.contains(&start), expected, "{at} {window}");
    }

    #[test]
    fn a_position_lies_before_the_first_op_that_is_left_and_not_in_the_future() {
        let oldest = EndEntry {
            timestamp: Timestamp::new(100, 5),
            is_beginning: false,
        };
        let mut window = Window {
            oldest: Some(oldest),
            newest: Some(Timestamp::new(100, 9)),
        };
        for (increment, expected) in [(3, false), (4, true), (9, true), (10, false)] {
            check(&window, increment, expected);
        }
        assert!(window.contains(&Start::Oldest(oldest.timestamp)));
        assert_eq!(window.to_string(), "from 100:5 to 100:9");
        // Nothing was ever there before.
        window.oldest = Some(EndEntry {
            is_beginning: true,
            ..oldest
        });
        check(&window, 0, true);
        window.oldest = None;
        check(&window, 0, true);
        check(&window, 10, false);
    }
}
