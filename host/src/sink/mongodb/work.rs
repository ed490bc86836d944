//! What is left to write of a batch.

use std::collections::{HashSet, VecDeque};

use bson::{Document, RawDocumentBuf};
use mongodb::ClientSession;

use super::{
    command::{
        Choice, Number, Sequence, Verdict, assemble, concern_failure, failed_statements, fitting,
    },
    stages::Group,
    statement::{Statement, Verb, Within},
};
use crate::sink::Rejection;

/// What is left to write of a batch, and how far its writing has come. It outlives an attempt that
/// fails, or that is cut off while it waits for an answer.
#[derive(Debug)]
pub(super) struct Work {
    /// The group that is being written is the first.
    groups: VecDeque<Group>,
    /// How many of that group's statements are done with.
    done: usize,
    sequence: Sequence,
    /// How many statements the next command has at most.
    count_max: usize,
    /// The command that was sent last, while it is not known what became of it.
    sent: Option<Sent>,
    /// The session that commands are numbered in; there from the first one on.
    pub(super) session: Option<ClientSession>,
    rejections: Vec<Rejection>,
}

/// A command by what makes it the same again.
#[derive(Debug, Clone, Copy)]
struct Sent {
    count: usize,
    number: Option<Number>,
    /// It was sent before, and nobody knows what became of that.
    is_repeated: bool,
}

impl Sent {
    /// The same behind its first statements; none where nothing is left, or nobody would know it again.
    fn rest(self, from: usize) -> Option<Self> {
        let mut number = self.number?;
        number.first += from;
        let count = self.count.checked_sub(from).filter(|count| *count > 0)?;
        Some(Self {
            count,
            number: Some(number),
            ..self
        })
    }
}

/// A command, to be sent.
#[derive(Debug)]
pub(super) struct Command<'a> {
    pub(super) namespace: &'a str,
    pub(super) bytes: RawDocumentBuf,
    /// Its number in the session, where it has one.
    pub(super) number: Option<Number>,
    pub(super) session: &'a mut Option<ClientSession>,
}

impl Work {
    pub(super) fn new(groups: Vec<Group>, rejections: Vec<Rejection>) -> Self {
        Self {
            groups: groups.into(),
            done: 0,
            sequence: Sequence::Ordered,
            count_max: usize::MAX,
            sent: None,
            session: None,
            rejections,
        }
    }

    /// Goes to the group that the next command belongs to; `None` when all is written.
    fn group(&mut self) -> Option<&Group> {
        while let Some(group) = self.groups.front()
            && self.done == group.statements.len()
        {
            self.groups.pop_front();
            self.done = 0;
            self.sequence = Sequence::Ordered;
            self.count_max = usize::MAX;
        }
        self.groups.front()
    }

    /// The next command. As long as it is not known what became of the last one, that is the very
    /// same; otherwise it gets a number from `next_number`. `None` when there is nothing to send.
    pub(super) fn command(
        &mut self,
        next_number: impl FnOnce(&str) -> Option<i64>,
    ) -> Option<Command<'_>> {
        if self.sent.is_none() {
            let count = loop {
                self.group()?;
                match fitting(self.rest()) {
                    0 => self.reject_next(TOO_LARGE.into()),
                    count => break count.min(self.count_max),
                }
            };
            let number = next_number(&self.groups.front()?.namespace);
            self.sent = Some(Sent {
                count,
                number: number.map(Number::of),
                is_repeated: false,
            });
        } else if let Some(sent) = &mut self.sent {
            sent.is_repeated = true;
        }
        let Sent { count, number, .. } = self.sent?;
        let group = self.groups.front()?;
        let now = &group.statements[self.done..][..count];
        Some(Command {
            namespace: &group.namespace,
            bytes: assemble(group, now, self.sequence, Within::Command, number),
            number,
            session: &mut self.session,
        })
    }

    /// The command was carried out, as the server's reply says.
    ///
    /// The error says, for people, what keeps some of it from being written now.
    pub(super) fn learn(&mut self, reply: &Document, choice: Choice) -> Result<(), String> {
        if let Some(message) = concern_failure(reply) {
            // The same command again waits for the majority once more.
            return Err(message);
        }
        let (Some(sent), Some(group)) = (self.sent.take(), self.groups.front_mut()) else {
            return Ok(());
        };
        let failed = failed_statements(reply, group.verb, choice);
        let tried = match (self.sequence, failed.first()) {
            (Sequence::Ordered, Some((place, _))) => sent.count.min(place + 1),
            _ => sent.count,
        };
        let has_failed = !failed.is_empty();
        let mut waits = None;
        let mut end = self.done + tried;
        for (place, verdict) in failed.into_iter().rev() {
            let at = self.done + place;
            match verdict {
                Verdict::Delivered => {}
                Verdict::Rejected(reason) if at < end => {
                    let guilty = &mut group.statements[at];
                    self.rejections.push(rejection(guilty, reason));
                    if guilty.give_way() {
                        end -= 1;
                        group.statements.swap(at, end);
                    }
                }
                Verdict::Passing(reason) if at < end => {
                    // It changes places with the last one: where more than one was tried behind the
                    // first that failed, their order does not matter.
                    end -= 1;
                    group.statements.swap(at, end);
                    waits = Some(reason);
                }
                // A server that answers for what was not asked.
                Verdict::Rejected(reason) | Verdict::Passing(reason) => waits = Some(reason),
            }
        }
        let learned = end - self.done;
        self.done = end;
        if self.sequence == Sequence::Ordered && has_failed && sent.is_repeated {
            // What stands behind the one that failed may have been carried out before: it keeps its number.
            self.sent = sent.rest(learned);
        }
        if has_failed && is_order_free(group.verb, &group.statements[end..]) {
            // Where one failed, more may, and each would cost a round trip. No order is lost.
            self.sequence = Sequence::Unordered;
        }
        waits.map_or(Ok(()), Err)
    }

    /// The server could not even read the command, because of one of its statements: it is rejected,
    /// or searched for by sending half of them.
    pub(super) fn unreadable(&mut self, reason: String) {
        match self.sent.take() {
            Some(Sent { count: 1, .. }) => {
                self.reject_next(reason);
                self.count_max = usize::MAX;
            }
            Some(sent) => self.count_max = sent.count / 2,
            None => {}
        }
    }

    /// The command is to be sent again under another number, or none.
    pub(super) fn renumber(&mut self, number: Option<i64>) {
        if let Some(sent) = &mut self.sent {
            sent.number = number.map(Number::of);
        }
    }

    /// All is written but for these, by their number in the batch.
    pub(super) fn finish(&mut self) -> Vec<Rejection> {
        let mut rejections = std::mem::take(&mut self.rejections);
        rejections.sort_by_key(|rejection| rejection.index);
        rejections
    }

    /// The statements of the group that are left.
    fn rest(&self) -> &[Statement] {
        let group = self.groups.front();
        group.map_or(&[], |group| &group.statements[self.done..])
    }

    fn reject_next(&mut self, reason: String) {
        let group = self.groups.front_mut();
        if let Some(guilty) = group.and_then(|group| group.statements.get_mut(self.done)) {
            self.rejections.push(rejection(guilty, reason));
            if !guilty.give_way() {
                self.done += 1;
            }
        }
    }
}

/// Why a statement that no command takes is rejected.
pub(super) const TOO_LARGE: &str =
    "the document is too large to be written with what its mode adds to it";

pub(super) fn rejection(statement: &Statement, reason: String) -> Rejection {
    Rejection {
        index: statement.index,
        reason,
    }
}

/// Whether the order of the statements does not matter: no document is meant twice, or it is deleted
/// either way.
fn is_order_free(verb: Verb, statements: &[Statement]) -> bool {
    let mut seen = HashSet::with_capacity(statements.len());
    verb == Verb::Delete
        || statements
            .iter()
            .all(|statement| seen.insert(&statement.target))
}

#[cfg(test)]
mod tests;
