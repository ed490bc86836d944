//! The writes that are read: made once, and read by every subject.

use anyhow::{Context as _, Result};
use bson::{
    DateTime, Document, RawArrayBuf, RawDocumentBuf, Timestamp, cstr, doc, oid::ObjectId, rawdoc,
};
use clap::ValueEnum;
use mongodb::{Client, Collection, Database};
use oplet_testkit::ReplicaSet;

/// The database of all data sets; each is a collection.
const DATABASE: &str = "bench";

/// Statements of one write command.
const CHUNK: u64 = 1_000;

/// How long the small documents are.
pub(crate) const SMALL_BYTES: usize = 250;

/// How long the large documents are.
const LARGE_BYTES: usize = 4 << 10;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DataSet {
    /// Small documents are inserted
    Inserts,
    /// Half inserts, three eighths updates, one eighth deletes
    Mixed,
    /// Documents of 4 KiB are inserted, a tenth as many
    Large,
}

impl DataSet {
    /// How many ops, when there are so many of the first data set.
    fn ops(self, docs: u64) -> u64 {
        let ops = match self {
            Self::Inserts => docs,
            Self::Mixed => docs / 2,
            Self::Large => docs / 10,
        };
        ops.next_multiple_of(CHUNK * 2)
    }

    /// Whether documents are updated in it.
    pub(crate) fn has_updates(self) -> bool {
        self == Self::Mixed
    }

    /// The collection.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Inserts => "inserts",
            Self::Mixed => "mixed",
            Self::Large => "large",
        }
    }

    /// What the table calls it.
    pub(crate) fn title(self, docs: u64) -> String {
        let ops = self.ops(docs);
        match self {
            Self::Inserts => format!("{ops} inserts of {SMALL_BYTES} bytes"),
            Self::Mixed => format!("{ops} inserts, updates and deletes (4:3:1)"),
            Self::Large => format!("{ops} inserts of 4 KiB"),
        }
    }
}

/// A data set on the server, and where it lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prepared {
    pub(crate) data: DataSet,
    /// How many ops it has.
    pub(crate) ops: u64,
    /// How many documents there are at its end.
    pub(crate) documents: u64,
    /// The newest entry before it.
    pub(crate) since: Timestamp,
    /// The newest entry after it.
    pub(crate) last: Timestamp,
}

impl Prepared {
    /// `db.coll`.
    pub(crate) fn namespace(&self) -> String {
        format!("{DATABASE}.{}", self.data.name())
    }
}

/// Writes a data set.
pub(crate) async fn prepare(set: &ReplicaSet, data: DataSet, docs: u64) -> Result<Prepared> {
    let client = set.client().await?;
    let database = client.database(DATABASE);
    database.create_collection(data.name()).await?;
    let since = newest_entry(&client).await?;
    let ops = data.ops(docs);
    let mut writer = Writer {
        collection: database.collection(data.name()),
        database,
        number: 0,
    };
    match data {
        DataSet::Inserts => {
            for _ in 0..ops / CHUNK {
                writer.insert(CHUNK, SMALL_BYTES).await?;
            }
        }
        DataSet::Large => {
            for _ in 0..ops / CHUNK {
                writer.insert(CHUNK, LARGE_BYTES).await?;
            }
        }
        DataSet::Mixed => {
            for _ in 0..ops / (2 * CHUNK) {
                let ids = writer.insert(CHUNK, SMALL_BYTES).await?;
                writer.update(&ids[..750]).await?;
                writer.delete(&ids[700..950]).await?;
            }
        }
    }
    let last = newest_entry(&client).await?;
    let documents = writer.collection.count_documents(doc! {}).await?;
    client.shutdown().await;
    Ok(Prepared {
        data,
        ops,
        documents,
        since,
        last,
    })
}

async fn newest_entry(client: &Client) -> Result<Timestamp> {
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let newest = oplog.find_one(doc! {}).sort(doc! {"$natural": -1}).await?;
    let newest = newest.context("the oplog is empty")?;
    Ok(newest.get_timestamp("ts")?)
}

/// Writes chunks.
struct Writer {
    database: Database,
    collection: Collection<RawDocumentBuf>,
    /// Of the next document.
    number: i64,
}

impl Writer {
    async fn insert(&mut self, count: u64, bytes: usize) -> Result<Vec<ObjectId>> {
        let ids: Vec<_> = (0..count).map(|_| ObjectId::new()).collect();
        let documents: Vec<_> = ids
            .iter()
            .map(|id| {
                self.number += 1;
                document(*id, self.number, bytes)
            })
            .collect();
        self.collection.insert_many(documents).await?;
        Ok(ids)
    }

    async fn update(&self, ids: &[ObjectId]) -> Result<()> {
        let mut updates = RawArrayBuf::new();
        for id in ids {
            updates.push(rawdoc! {
                "q": { "_id": *id },
                "u": { "$inc": { "n": 1_i64 }, "$set": { "city": "Gotham" } },
            });
        }
        let command = rawdoc! { "update": self.collection.name(), "updates": updates };
        self.write(command, ids.len()).await
    }

    async fn delete(&self, ids: &[ObjectId]) -> Result<()> {
        let mut deletes = RawArrayBuf::new();
        for id in ids {
            deletes.push(rawdoc! { "q": { "_id": *id }, "limit": 1 });
        }
        let command = rawdoc! { "delete": self.collection.name(), "deletes": deletes };
        self.write(command, ids.len()).await
    }

    async fn write(&self, command: RawDocumentBuf, expected: usize) -> Result<()> {
        let answer = self.database.run_raw_command(command).await?;
        let count = answer.get_i32("n")?;
        anyhow::ensure!(count as usize == expected, "{count} of {expected} writes");
        Ok(())
    }
}

/// A document of exactly that length.
pub(crate) fn document(id: ObjectId, number: i64, bytes: usize) -> RawDocumentBuf {
    const CITIES: [&str; 4] = ["Nairobi", "Lima", "Reykjavik", "Osaka"];
    let mut document = rawdoc! {
        "_id": id,
        "name": format!("customer {number:09}"),
        "email": format!("c{number:09}@example.com"),
        "city": CITIES[number as usize % CITIES.len()],
        "n": number,
        "active": number % 2 == 0,
        "score": number as f64 / 7.0,
        "created": DateTime::from_millis(1_700_000_000_000 + number),
    };
    // Type, key, length and end byte of the last field.
    let framing = 1 + "note ".len() + 4 + 1;
    let left = bytes - document.as_bytes().len() - framing;
    let note: String = ('a'..='z')
        .cycle()
        .skip(number as usize % 26)
        .take(left)
        .collect();
    document.append(cstr!("note"), note);
    document
}
