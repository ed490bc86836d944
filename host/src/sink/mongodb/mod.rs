//! The sink that writes to MongoDB: to the run's own deployment, or to any other.
//!
//! Enters: BSON documents. Leaves: inserts, replacements, updates and deletes, acknowledged by a
//! majority. Promised: statements about one document keep their order, and an attempt goes on where
//! the one before it stood. A command whose answer was lost is sent again under its
//! number, by which a server knows what it has done of it already. So what an attempt wrote
//! is not written again by the next one, but by a restart of the run; where the deployment is no
//! replica set or cluster, also by a lost answer.
//!
//! Writing what is there already leaves the collections as they are in the end, since every write names
//! its document by a key (by default `_id`, for which a document without one gets its output key). Two
//! things are as idempotent as the handler makes them: update operators such as `$inc`, and documents
//! that somebody else changes meanwhile.
//!
//! A document that the server refuses for its own sake (validation, another unique index, too large)
//! is rejected. A server that is away, has no primary, no majority, no room, or that does not allow
//! the write, holds the documents back: that can be mended.

mod command;
mod document;
mod numbers;
mod options;
mod progress;
mod stages;
mod statement;
mod target;
mod work;

use bson::Uuid;
use futures_util::future::BoxFuture;
use mongodb::{Client, ClientSession, error::Error};
use tracing::warn;

pub use options::{Deployment, Mode, Options};

use self::{
    command::{
        Choice, Sequence, Verdict, assemble, failed_statements, fitting, refusal, unreadable,
    },
    numbers::{Numbers, Trouble},
    progress::Progress,
    stages::stages,
    statement::{Statement, Within},
    work::{TOO_LARGE, Work, rejection},
};
use super::{Context, DeliverError, OutputBatch, Rejection, Sink};
use crate::{
    mongo::{self, Remains},
    op::split_namespace,
};

/// Writes documents to MongoDB. It takes [`Encoding::Bson`](super::Encoding::Bson).
#[derive(Debug)]
pub struct MongodbSink {
    client: Client,
    options: Options,
    numbers: Numbers,
    progress: Progress,
}

impl MongodbSink {
    /// Opens the sink, and sees that the server answers.
    ///
    /// The context's client is of the run's own deployment, and one that nobody else writes by: the sink
    /// numbers the writes of its sessions by itself, so that the driver, which takes sessions up again,
    /// would number its own wrongly.
    ///
    /// # Errors
    /// [`DeliverError::Passing`] while it does not, or refuses the credentials;
    /// [`DeliverError::Ended`] when the connection string can never work.
    pub async fn open(options: &Options, context: &Context) -> Result<Self, DeliverError> {
        let client = match &options.deployment {
            Deployment::Own => context.client.clone(),
            Deployment::Uri(uri) => {
                match mongo::connect_client(uri, context.writer.as_deref()).await {
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
                }
            }
        };
        let sink = Self {
            numbers: Numbers::new(client.clone()),
            progress: Progress::default(),
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
            let choice = self.choice(&group.namespace);
            let mut rest = &group.statements[..];
            while let Some(first) = rest.first() {
                let count = fitting(rest);
                if count == 0 {
                    return Ok(vec![rejection(first, TOO_LARGE.into())]);
                }
                let (now, later) = rest.split_at(count);
                let command = assemble(&group, now, Sequence::Ordered, Within::Transaction, None);
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

    fn choice(&self, namespace: &str) -> Choice {
        Choice {
            of_key_by_id: self.options.is_keyed_by_id(),
            of_namespace_by_document: self.options.namespace.as_deref() != Some(namespace),
        }
    }

    async fn write(&self, batch: &OutputBatch) -> Result<Vec<Rejection>, DeliverError> {
        let work = self.progress.of(batch, || {
            let (statements, rejections) = self.statements(batch, Within::Command);
            Work::new(stages(statements), rejections)
        });
        let mut work = work.lock().await;
        while self.write_some(&mut work).await.map_err(passing)? {}
        let rejections = work.finish();
        if let Some(session) = work.session.take() {
            self.numbers.put_back(session);
        }
        self.progress.forget(batch);
        Ok(rejections)
    }

    /// Sends the next command; `false` when there is none. The error says what holds it back, for
    /// people.
    async fn write_some(&self, work: &mut Work) -> Result<bool, String> {
        let Some(command) = work.command(|namespace| self.numbers.next(namespace)) else {
            return Ok(false);
        };
        let choice = self.choice(command.namespace);
        let (database, _) = split_namespace(command.namespace);
        let database = self.client.database(database);
        let sent = database.run_raw_command(command.bytes);
        let held_back = |error: &Error| refusal(command.namespace, error);
        let answer = match (command.number, &mut *command.session) {
            (None, _) => sent.await,
            (Some(_), Some(session)) => sent.session(session).await,
            (Some(_), none) => {
                let session = self.numbers.session().await;
                let session = session.map_err(|error| held_back(&error))?;
                sent.session(none.insert(session)).await
            }
        };
        let error = match answer {
            Ok(reply) => return work.learn(&reply, choice).map(|()| true),
            Err(error) => error,
        };
        let trouble = command.number.and_then(|_| Trouble::of(&error));
        match (trouble, unreadable(&error, choice)) {
            (Some(Trouble::Unnumbered), _) => {
                self.numbers.give_up(&error);
                work.renumber(None);
            }
            (Some(Trouble::Forgotten), _) => {
                let session = self.numbers.new_session().await;
                let session = session.map_err(|error| held_back(&error))?;
                warn!(
                    reason = mongo::describe(&error),
                    "a write whose answer was lost is done again: the server no longer knows of it"
                );
                let number = self.numbers.next(command.namespace);
                work.session = Some(session);
                work.renumber(number);
            }
            (None, Some(reason)) => work.unreadable(reason),
            (None, None) => return Err(held_back(&error)),
        }
        Ok(true)
    }
}

impl Sink for MongodbSink {
    fn deliver<'a>(
        &'a self,
        batch: &'a OutputBatch,
    ) -> BoxFuture<'a, Result<Vec<Rejection>, DeliverError>> {
        Box::pin(self.write(batch))
    }

    fn sessions(&self, workers: usize) -> BoxFuture<'_, Vec<Uuid>> {
        Box::pin(self.numbers.reserve(workers))
    }

    fn end<'a>(&'a self, remains: &'a Remains) -> BoxFuture<'a, ()> {
        Box::pin(remains.end(&self.client))
    }
}

fn passing(message: String) -> DeliverError {
    DeliverError::Passing {
        message,
        retry_after: None,
    }
}
