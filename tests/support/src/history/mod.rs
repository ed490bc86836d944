//! Seeded random histories: every kind of write that a tail can meet, the same
//! ones for the same seed.
//!
//! The writes go out in raw commands of up to 100 statements, so
//! that 10,000 of them take seconds. Statements are unordered, which a mongod
//! still runs one after the other, but goes on after one it refuses: a random
//! `$inc` now and then meets a string, and nobody has to model the documents to
//! avoid that. Refused statements are counted in the [`Report`].
//!
//! - `documents`: random values and documents
//! - `updates`: random updates of them
//! - `transaction`: transactions over two collections
//! - `command`: sending statements, counting what the server refuses
//! - `ddl`: what is done to collections

mod command;
mod ddl;
mod documents;
mod transaction;
mod updates;

use std::env;

use anyhow::Result;
use bson::{Bson, Document, doc};
use fastrand::Rng;
use mongodb::{Client, options::ReturnDocument};

use command::{Verb, send};

/// Statements in one command, at most.
const COMMAND_OPS: usize = 100;
/// Documents that a collection has at least before anything is updated in it.
const DOCUMENTS_MIN: usize = 20;

/// A generator of writes into three collections of one database.
#[derive(Debug)]
pub struct History {
    rng: Rng,
    database: String,
    collections: Vec<Collection>,
    ddl: Ddl,
    next_id: i64,
    /// How many collections have been renamed away, for their new names.
    renamed: usize,
    report: Report,
}

/// What has been written, counted in statements that the server took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Documents inserted, those of upserts and transactions included.
    pub inserts: usize,
    /// Update statements, those that changed nothing included.
    pub updates: usize,
    /// Replacements of whole documents.
    pub replaces: usize,
    /// Documents deleted.
    pub deletes: usize,
    /// Transactions committed.
    pub transactions: usize,
    /// Transactions aborted: nothing of them may ever be seen.
    pub aborted: usize,
    /// Commands on collections.
    pub ddl: usize,
    /// Statements that the server refused.
    pub refused: usize,
}

/// What is done to collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ddl {
    Nothing,
    /// They are dropped and renamed.
    Data,
    /// And made, changed, and indexed.
    All,
}

#[derive(Clone, Debug)]
struct Collection {
    name: &'static str,
    ids: Vec<Bson>,
}

/// A random document without `_id`, with nested ones, arrays and values of many types in it.
#[must_use]
pub fn random_document(rng: &mut fastrand::Rng) -> bson::Document {
    documents::document(rng)
}

/// The seed of this run: `OPLET_SEED` when set, else a new one. It is printed
/// with the test's output, so that a failure can be repeated.
///
/// # Panics
/// When `OPLET_SEED` is not a number.
pub fn seed() -> u64 {
    let seed = match env::var("OPLET_SEED") {
        Ok(value) => value.parse().expect("OPLET_SEED is a whole number"),
        Err(_) => fastrand::u64(..),
    };
    #[expect(
        clippy::print_stderr,
        reason = "the test harness captures this, and shows it when the test fails"
    )]
    {
        eprintln!("seed: OPLET_SEED={seed}");
    }
    seed
}

impl History {
    /// A history of `database`, decided by `seed` (see [`seed()`]).
    pub fn new(seed: u64, database: impl Into<String>) -> Self {
        let collections = ["alpha", "beta", "gamma"].map(|name| Collection {
            name,
            ids: Vec::new(),
        });
        Self {
            rng: Rng::with_seed(seed),
            database: database.into(),
            collections: collections.into(),
            ddl: Ddl::Data,
            next_id: 0,
            renamed: 0,
            report: Report::default(),
        }
    }

    /// Leaves out drops and renames, which end a change stream on a collection.
    #[must_use]
    pub fn without_ddl(mut self) -> Self {
        self.ddl = Ddl::Nothing;
        self
    }

    /// Also makes and changes collections, and builds and drops their indexes.
    #[must_use]
    pub fn with_all_commands(mut self) -> Self {
        self.ddl = Ddl::All;
        self
    }

    /// The namespaces it writes to. A rename moves one to `NAME_old_0` or `_1`.
    pub fn namespaces(&self) -> Vec<String> {
        self.collections
            .iter()
            .map(|collection| format!("{}.{}", self.database, collection.name))
            .collect()
    }

    /// Writes at least `ops` statements, some four out of five of them updates.
    /// May be called again to go on.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses a whole command.
    pub async fn run(&mut self, client: &Client, ops: usize) -> Result<Report> {
        let end = self.report.statements() + ops;
        while self.report.statements() < end {
            let at = self.rng.usize(..self.collections.len());
            let room = end - self.report.statements();
            let count = self.rng.usize(1..=COMMAND_OPS).min(room);
            if self.collections[at].ids.len() < DOCUMENTS_MIN {
                self.insert(client, at, DOCUMENTS_MIN).await?;
                continue;
            }
            match self.rng.usize(..100) {
                0..10 => self.insert(client, at, count.div_ceil(3)).await?,
                10..18 => self.delete(client, at, count.div_ceil(10)).await?,
                18..26 => self.transaction(client, count.min(20)).await?,
                26..31 if self.ddl == Ddl::Data => self.drop_or_rename(client, at).await?,
                26..31 if self.ddl == Ddl::All => self.any_command(client, at).await?,
                31..34 => self.find_and_modify(client, at).await?,
                _ => self.update(client, at, count).await?,
            }
        }
        Ok(self.report.clone())
    }

    async fn insert(&mut self, client: &Client, at: usize, count: usize) -> Result<()> {
        let documents: Vec<Document> = (0..count).map(|_| self.new_document(at)).collect();
        let reply = self.send(client, Verb::Insert, at, documents).await?;
        self.report.inserts += reply.accepted;
        Ok(())
    }

    async fn delete(&mut self, client: &Client, at: usize, count: usize) -> Result<()> {
        let mut deletes = Vec::new();
        for _ in 0..count {
            if let Some(id) = self.take_id(at) {
                deletes.push(doc! { "q": { "_id": id }, "limit": 1 });
            }
        }
        let reply = self.send(client, Verb::Delete, at, deletes).await?;
        self.report.deletes += reply.accepted;
        Ok(())
    }

    /// Updates, replacements and upserts, as they come.
    async fn update(&mut self, client: &Client, at: usize, count: usize) -> Result<()> {
        let mut statements = Vec::new();
        let (mut replaces, mut upserts) = (Vec::new(), Vec::new());
        for index in 0..count {
            let kind = self.rng.usize(..100);
            if kind < 3 {
                let mut new = self.new_document(at);
                let id = new.remove("_id");
                // No path of an update can reach these.
                for unreachable in ["", "$price"] {
                    new.remove(unreachable);
                }
                upserts.push(index);
                statements.push(doc! { "q": { "_id": id }, "u": { "$set": new }, "upsert": true });
                continue;
            }
            let id = self.pick_id(at);
            if kind < 12 {
                replaces.push(index);
                statements
                    .push(doc! { "q": { "_id": id }, "u": documents::document(&mut self.rng) });
            } else {
                statements.push(doc! { "q": { "_id": id }, "u": updates::update(&mut self.rng) });
            }
        }
        let reply = self.send(client, Verb::Update, at, statements).await?;
        let taken = |indexes: &[usize]| {
            indexes
                .iter()
                .filter(|index| !reply.refused.contains(index))
                .count()
        };
        self.report.inserts += taken(&upserts);
        self.report.replaces += taken(&replaces);
        self.report.updates += reply.accepted - taken(&upserts) - taken(&replaces);
        Ok(())
    }

    /// A few updates that answer with the document, one by one: writes that can be retried.
    async fn find_and_modify(&mut self, client: &Client, at: usize) -> Result<()> {
        let collection = client
            .database(&self.database)
            .collection::<Document>(self.collections[at].name);
        for _ in 0..3 {
            let filter = doc! { "_id": self.pick_id(at) };
            let change = doc! { "$set": { "f0": documents::value(&mut self.rng, 2) } };
            let which = match self.rng.bool() {
                true => ReturnDocument::Before,
                false => ReturnDocument::After,
            };
            let found = collection.find_one_and_update(filter, change);
            let found = found.return_document(which).await?;
            self.report.updates += usize::from(found.is_some());
        }
        Ok(())
    }

    async fn send(
        &mut self,
        client: &Client,
        verb: Verb,
        at: usize,
        statements: Vec<Document>,
    ) -> Result<command::Reply> {
        let database = client.database(&self.database);
        let reply = send(&database, None, verb, self.collections[at].name, statements).await?;
        self.report.refused += reply.refused.len();
        Ok(reply)
    }

    /// A document that is not there yet, whose `_id` is known from now on.
    fn new_document(&mut self, at: usize) -> Document {
        self.next_id += 1;
        let id = documents::id(&mut self.rng, self.next_id);
        self.collections[at].ids.push(id.clone());
        let mut document = doc! { "_id": id };
        document.extend(documents::document(&mut self.rng));
        for name in ["", "odd"] {
            if self.rng.bool() {
                document.insert(name, documents::odd(&mut self.rng));
            }
        }
        if self.rng.usize(..4) == 0 {
            let odds = (0..3).map(|_| documents::odd(&mut self.rng));
            document.insert("odds", odds.collect::<Vec<_>>());
        }
        if self.rng.usize(..6) == 0 {
            document.insert("$price", documents::rare(&mut self.rng));
        }
        document
    }

    fn pick_id(&mut self, at: usize) -> Bson {
        // A miss, when there is none, is a fine random update too.
        self.rng
            .choice(&self.collections[at].ids)
            .cloned()
            .unwrap_or(Bson::Null)
    }

    fn take_id(&mut self, at: usize) -> Option<Bson> {
        let ids = &mut self.collections[at].ids;
        (!ids.is_empty()).then(|| ids.swap_remove(self.rng.usize(..ids.len())))
    }
}

impl Report {
    /// All statements that the server took.
    pub fn statements(&self) -> usize {
        self.inserts + self.updates + self.replaces + self.deletes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ReplicaSet, database_name};

    /// What one run left in its database: the report, and each collection's hash.
    async fn run(client: &Client, seed: u64) -> (Report, Document) {
        let mut history = History::new(seed, database_name("history"));
        let report = history.run(client, 3_000).await.unwrap();
        assert!(report.statements() >= 3_000, "{report:?}");
        let hashes = client
            .database(&history.database)
            .run_command(doc! { "dbHash": 1 })
            .await
            .unwrap();
        (report, hashes.get_document("collections").unwrap().clone())
    }

    #[tokio::test]
    async fn a_seed_decides_what_is_written() {
        let client = ReplicaSet::shared().await.unwrap().client().await.unwrap();
        let seed = seed();
        let (report, hashes) = run(&client, seed).await;
        assert_eq!(run(&client, seed).await, (report.clone(), hashes.clone()));
        assert_ne!(run(&client, seed.wrapping_add(1)).await.1, hashes);
        client.shutdown().await;
    }

    #[tokio::test]
    async fn every_kind_of_write_occurs_and_few_are_refused() {
        let client = ReplicaSet::shared().await.unwrap().client().await.unwrap();
        let report = History::new(seed(), database_name("kinds"))
            .run(&client, 10_000)
            .await
            .unwrap();
        let Report {
            inserts,
            updates,
            replaces,
            deletes,
            transactions,
            ddl,
            refused,
            aborted: _,
        } = report;
        assert!(
            [inserts, replaces, deletes, transactions, ddl]
                .iter()
                .all(|&count| count > 0),
            "{report:?}"
        );
        assert!(updates > 5_000, "{report:?}");
        assert!(refused < updates / 5, "{report:?}");
        client.shutdown().await;
    }
}
