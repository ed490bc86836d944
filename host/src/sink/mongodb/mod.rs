//! The sink that writes to MongoDB: to the run's own deployment, or to any other.
//!
//! Enters: BSON documents. Leaves: inserts, replacements, updates and deletes, acknowledged by a
//! majority. Promised: statements about one document keep their order; giving a batch again leaves
//! the collections as they are, since every write names its document by a key (by default `_id`, for
//! which a document without one gets its output key). Two things are as idempotent as the handler
//! makes them: update operators such as `$inc`, and documents that somebody else changes meanwhile.
//!
//! A document that the server refuses for its own sake (validation, another unique index, too large)
//! is rejected. A server that is away, has no primary, no majority, no room, or that does not allow
//! the write, holds the documents back: that can be mended.

mod command;
mod document;
mod options;
mod stages;
mod statement;
mod target;

use std::collections::HashSet;

use futures_util::future::BoxFuture;
use mongodb::{Client, ClientSession, error::Error};

pub use options::{Deployment, Mode, Options};

use self::{
    command::{
        Choice, Sequence, Verdict, assemble, concern_failure, failed_statements, fitting, refusal,
        unreadable,
    },
    stages::{Group, stages},
    statement::{Statement, Verb, Within},
};
use super::{DeliverError, OutputBatch, Rejection, Sink};
use crate::{mongo, op::split_namespace};

/// Writes documents to MongoDB. It takes [`Encoding::Bson`](super::Encoding::Bson).
#[derive(Debug)]
pub struct MongodbSink {
    client: Client,
    options: Options,
}

impl MongodbSink {
    /// Opens the sink, and sees that the server answers.
    ///
    /// # Errors
    /// [`DeliverError::Passing`] while it does not, or refuses the credentials;
    /// [`DeliverError::Ended`] when the connection string can never work.
    pub async fn open(options: &Options, own: &Client) -> Result<Self, DeliverError> {
        let client = match &options.deployment {
            Deployment::Own => own.clone(),
            Deployment::Uri(uri) => match mongo::connect_client(uri).await {
                Ok(client) => client,
                Err(mongo::Error::Refused { hosts, source }) => {
                    return Err(passing(format!(
                        "cannot connect to {hosts}: {}",
                        mongo::describe(&source)
                    )));
                }
                Err(error) => {
                    return Err(DeliverError::Ended {
                        message: error.to_string(),
                        is_closed: false,
                    });
                }
            },
        };
        let sink = Self {
            client,
            options: options.clone(),
        };
        sink.check().await?;
        Ok(sink)
    }

    /// Whether the server answers.
    ///
    /// # Errors
    /// [`DeliverError::Passing`].
    pub async fn check(&self) -> Result<(), DeliverError> {
        let admin = self.client.database("admin");
        match admin.run_command(bson::doc! { "ping": 1 }).await {
            Ok(_) => Ok(()),
            Err(error) => Err(passing(format!(
                "the server cannot be used: {}",
                mongo::describe(&error)
            ))),
        }
    }

    /// The client of the deployment that is written to, for a session of a transaction.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the documents and the checkpoint are to be written in one transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.options.transactional
    }

    /// Writes a batch as a part of the transaction that the session is in.
    ///
    /// No rejection means that all is written, and takes effect when the transaction is committed.
    /// Rejections mean that the transaction cannot be committed: it is to be aborted, and tried again
    /// without these documents. There may be more to reject then: the server ends a transaction with
    /// the first that it refuses.
    ///
    /// An insert that finds its document there leaves it as it is.
    ///
    /// # Errors
    /// The driver's, with its label `TransientTransactionError` where the whole transaction may be
    /// tried again.
    pub async fn deliver_in(
        &self,
        session: &mut ClientSession,
        batch: &OutputBatch,
    ) -> Result<Vec<Rejection>, Error> {
        let (statements, rejections) = self.statements(batch, Within::Transaction);
        if !rejections.is_empty() {
            return Ok(rejections);
        }
        for group in stages(statements) {
            let choice = self.choice(&group);
            let mut rest = &group.statements[..];
            while let Some(first) = rest.first() {
                let count = fitting(rest);
                if count == 0 {
                    return Ok(vec![too_large(first)]);
                }
                let (now, later) = rest.split_at(count);
                let command = assemble(&group, now, Sequence::Ordered, Within::Transaction);
                let (database, _) = split_namespace(&group.namespace);
                let database = self.client.database(database);
                let sent = database.run_raw_command(command).session(&mut *session);
                let reply = match sent.await {
                    Ok(reply) => reply,
                    Err(error) => match (unreadable(&error, choice), now) {
                        (Some(reason), [only]) => return Ok(vec![rejection(only, reason)]),
                        _ => return Err(error),
                    },
                };
                for (place, verdict) in failed_statements(&reply, group.verb, choice) {
                    return match verdict {
                        Verdict::Rejected(reason) => {
                            let guilty = now.get(place).unwrap_or(first);
                            Ok(vec![rejection(guilty, reason)])
                        }
                        Verdict::Passing(reason) => Err(Error::custom(reason)),
                        // Not asked for: inserts are updates here.
                        Verdict::Delivered => continue,
                    };
                }
                rest = later;
            }
        }
        Ok(Vec::new())
    }

    /// The statements of a batch, and the documents that none can be made of.
    fn statements(&self, batch: &OutputBatch, within: Within) -> (Vec<Statement>, Vec<Rejection>) {
        let mut statements = Vec::with_capacity(batch.len());
        let mut rejections = Vec::new();
        for index in 0..batch.len() {
            let (document, key) = (batch.document(index), batch.key(index));
            match Statement::build(index, document, &key, &self.options, within) {
                Ok(statement) => statements.push(statement),
                Err(reason) => rejections.push(Rejection { index, reason }),
            }
        }
        (statements, rejections)
    }

    fn choice(&self, group: &Group) -> Choice {
        Choice {
            of_key_by_id: self.options.is_keyed_by_id(),
            of_namespace_by_document: self.options.namespace.as_ref() != Some(&group.namespace),
        }
    }

    async fn write(&self, batch: &OutputBatch) -> Result<Vec<Rejection>, DeliverError> {
        let (statements, mut rejections) = self.statements(batch, Within::Command);
        for group in stages(statements) {
            self.write_group(&group, &mut rejections).await?;
        }
        rejections.sort_by_key(|rejection| rejection.index);
        Ok(rejections)
    }

    async fn write_group(
        &self,
        group: &Group,
        rejections: &mut Vec<Rejection>,
    ) -> Result<(), DeliverError> {
        let (database, _) = split_namespace(&group.namespace);
        let database = self.client.database(database);
        let choice = self.choice(group);
        let mut rest = &group.statements[..];
        let mut sequence = Sequence::Ordered;
        let mut count_max = usize::MAX;
        while let Some(first) = rest.first() {
            let count = fitting(rest).min(count_max);
            if count == 0 {
                rejections.push(too_large(first));
                rest = &rest[1..];
                continue;
            }
            let now = &rest[..count];
            let command = assemble(group, now, sequence, Within::Command);
            let reply = match database.run_raw_command(command).await {
                Ok(reply) => reply,
                Err(error) => match (unreadable(&error, choice), now) {
                    (Some(reason), [only]) => {
                        rejections.push(rejection(only, reason));
                        rest = &rest[1..];
                        count_max = usize::MAX;
                        continue;
                    }
                    // One of them is to blame; which one shows when they are sent by halves.
                    (Some(_), _) => {
                        count_max = count / 2;
                        continue;
                    }
                    (None, _) => return Err(passing(refusal(group, &error))),
                },
            };
            if let Some(message) = concern_failure(&reply) {
                return Err(passing(message));
            }
            let failed = failed_statements(&reply, group.verb, choice);
            let tried = match (sequence, failed.first()) {
                (Sequence::Ordered, Some((place, _))) => count.min(place + 1),
                _ => count,
            };
            if !failed.is_empty() && is_order_free(group.verb, &rest[tried..]) {
                // Where one failed, more may, and each would cost a round trip. No order is lost.
                sequence = Sequence::Unordered;
            }
            for (place, verdict) in failed {
                match verdict {
                    Verdict::Delivered => {}
                    Verdict::Rejected(reason) => {
                        rejections.extend(now.get(place).map(|at| rejection(at, reason)));
                    }
                    Verdict::Passing(reason) => return Err(passing(reason)),
                }
            }
            rest = &rest[tried..];
        }
        Ok(())
    }
}

impl Sink for MongodbSink {
    fn deliver<'a>(
        &'a self,
        batch: &'a OutputBatch,
    ) -> BoxFuture<'a, Result<Vec<Rejection>, DeliverError>> {
        Box::pin(self.write(batch))
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

fn passing(message: String) -> DeliverError {
    DeliverError::Passing {
        message,
        retry_after: None,
    }
}

fn rejection(statement: &Statement, reason: String) -> Rejection {
    Rejection {
        index: statement.index,
        reason,
    }
}

fn too_large(statement: &Statement) -> Rejection {
    let reason = "the document is too large to be written with what its mode adds to it";
    rejection(statement, reason.into())
}
