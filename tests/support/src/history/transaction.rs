//! Transactions over two collections.

use anyhow::{Error, Result, ensure};
use bson::{Document, doc};
use mongodb::error::TRANSIENT_TRANSACTION_ERROR;
use mongodb::{Client, ClientSession};

use super::command::{Verb, send};
use super::{History, Report, documents};

/// A drop or a rename just before makes the server refuse a transaction for a
/// moment; so often we begin it again.
const ATTEMPTS: usize = 50;

impl History {
    /// A transaction; one in five is aborted, and nothing of it counts.
    pub(super) async fn transaction(&mut self, client: &Client, count: usize) -> Result<()> {
        let (rng, next_id) = (self.rng.clone(), self.next_id);
        let (collections, report) = (self.collections.clone(), self.report.clone());
        let mut attempt = 1;
        loop {
            let mut session = client.start_session().await?;
            session.start_transaction().await?;
            match self.write(client, &mut session, count).await {
                Ok(()) if self.rng.usize(..5) > 0 => {
                    session.commit_transaction().await?;
                    self.report.transactions += 1;
                    return Ok(());
                }
                Ok(()) => {
                    session.abort_transaction().await?;
                    self.collections = collections;
                    self.report = Report {
                        aborted: report.aborted + 1,
                        ..report
                    };
                    return Ok(());
                }
                // From the same state, so that the seed alone decides what is written.
                Err(error) if is_transient(&error) && attempt < ATTEMPTS => {
                    attempt += 1;
                    (self.rng, self.next_id) = (rng.clone(), next_id);
                    (self.collections, self.report) = (collections.clone(), report.clone());
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn write(
        &mut self,
        client: &Client,
        session: &mut ClientSession,
        count: usize,
    ) -> Result<()> {
        let first = self.rng.usize(..self.collections.len());
        for part in 0..2 {
            let at = (first + part) % self.collections.len();
            let inserts: Vec<Document> = (0..count.div_ceil(2))
                .map(|_| self.new_document(at))
                .collect();
            // Nothing that a document could refuse: that would abort the transaction.
            let value = documents::value(&mut self.rng, 2);
            let update =
                doc! { "q": { "_id": self.pick_id(at) }, "u": { "$set": { "last": value } } };
            let id = self
                .take_id(at)
                .expect("there is at least what was just inserted");
            let delete = doc! { "q": { "_id": id }, "limit": 1 };
            self.report.inserts += self
                .send_in(client, session, Verb::Insert, at, inserts)
                .await?;
            self.report.updates += self
                .send_in(client, session, Verb::Update, at, vec![update])
                .await?;
            self.report.deletes += self
                .send_in(client, session, Verb::Delete, at, vec![delete])
                .await?;
        }
        Ok(())
    }

    async fn send_in(
        &self,
        client: &Client,
        session: &mut ClientSession,
        verb: Verb,
        at: usize,
        statements: Vec<Document>,
    ) -> Result<usize> {
        let database = client.database(&self.database);
        let reply = send(
            &database,
            Some(session),
            verb,
            self.collections[at].name,
            statements,
        )
        .await?;
        ensure!(
            reply.refused.is_empty(),
            "the server refused a statement of a transaction"
        );
        Ok(reply.accepted)
    }
}

fn is_transient(error: &Error) -> bool {
    let mut causes = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<mongodb::error::Error>());
    causes.any(|cause| cause.contains_label(TRANSIENT_TRANSACTION_ERROR))
}
