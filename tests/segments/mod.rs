//! Direct reads: what is split into segments and read from a server, below the command line.
//!
//! - `order`: the order of keys is the server's own
//! - `splits`: every document exactly once, whatever its `_id` and wherever the boundaries lie
//! - `snapshots`: a segment is what stood at its time
//! - `faults`: also after faults
//! - `targets`: what can be read, and what is said of it
//! - `stages`: pipelines

mod faults;
mod order;
mod snapshots;
mod splits;
mod stages;
mod targets;

pub(crate) use faults::a_killed_cursor;
pub(crate) use stages::a_match_sees_documents;

use std::sync::Arc;

use anyhow::{Result, ensure};
use bson::{
    Binary, Bson, DateTime, Decimal128, Document, RawDocumentBuf, Timestamp, doc, oid::ObjectId,
    spec::BinarySubtype,
};
use fastrand::Rng;
use mongodb::{Client, Collection, Database};
use oplet::{
    mongo::{self, Server},
    op::{self, Batch, Key, KeyRange, Namespace},
    source::{
        Stats,
        direct_read::{
            Cut, Error, Read, ReadOptions, SegmentReader, Splitting, Stages, Target, examine, split,
        },
    },
};
use oplet_testkit::{ReplicaSet, database_name};

/// A database of a test's own, and the server as Oplet sees it.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) client: Client,
    pub(crate) database: Database,
    /// Failpoints are set for this application alone.
    pub(crate) app: String,
}

/// A document as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) key: Key,
    pub(crate) document: Document,
    pub(crate) at: op::Timestamp,
    pub(crate) op_id: String,
}

impl Scene {
    pub(crate) async fn new(hint: &str) -> Result<Self> {
        Self::on(ReplicaSet::shared().await?, hint).await
    }

    pub(crate) async fn on(set: &ReplicaSet, hint: &str) -> Result<Self> {
        let app = database_name(hint);
        let uri = mongo::parse_uri(&format!("{}&appName={app}", set.uri()))?;
        let client = set.client().await?;
        Ok(Self {
            server: Server::connect(&uri, &mongo::Options::default()).await?,
            database: client.database(&app),
            client,
            app,
        })
    }

    pub(crate) fn collection(&self) -> Collection<Document> {
        self.database.collection("c")
    }

    pub(crate) fn namespace(&self, collection: &str) -> Namespace {
        Namespace::Collection {
            database: self.database.name().into(),
            collection: collection.into(),
        }
    }

    pub(crate) async fn create(&self, options: Document) -> Result<()> {
        let mut create = doc! { "create": "c" };
        create.extend(options);
        self.database.run_command(create).await?;
        Ok(())
    }

    pub(crate) async fn insert(&self, ids: impl IntoIterator<Item = Bson>) -> Result<()> {
        let documents = ids.into_iter().map(|id| doc! { "_id": id, "n": 1 });
        self.collection().insert_many(documents).await?;
        Ok(())
    }

    pub(crate) async fn target(&self) -> Result<Arc<Target>> {
        Ok(Arc::new(examine(&self.server, &self.namespace("c")).await?))
    }

    pub(crate) async fn ranges(&self, target: &Target, boundaries: u32) -> Result<Vec<KeyRange>> {
        let splitting = Splitting {
            boundaries_max: Some(boundaries),
            ..Splitting::default()
        };
        Ok(split(&self.server, target, &Stages::default(), &splitting).await?)
    }

    pub(crate) fn reader(
        &self,
        target: &Arc<Target>,
        range: &KeyRange,
        options: &ReadOptions,
    ) -> SegmentReader {
        let stats = Arc::new(Stats::default());
        SegmentReader::new(
            &self.server,
            target.clone(),
            range.clone(),
            options.clone(),
            stats,
        )
    }

    /// Reads the ranges, each to its end over all cuts.
    pub(crate) async fn read(
        &self,
        target: &Arc<Target>,
        ranges: &[KeyRange],
        options: &ReadOptions,
    ) -> Result<Vec<Found>, Error> {
        let mut all = Vec::new();
        for range in ranges {
            let mut range = range.clone();
            loop {
                let mut reader = self.reader(target, &range, options);
                reader.open(op::Timestamp::default()).await?;
                let (found, cut) = rest(&mut reader).await?;
                all.extend(found);
                match cut {
                    None => break,
                    Some(Cut::Full(at) | Cut::SnapshotLost(Some(at))) => range.from = Some(at),
                    Some(Cut::SnapshotLost(None)) => {}
                }
            }
        }
        Ok(all)
    }

    /// Lets commands of Oplet's fail.
    pub(crate) async fn fail(&self, mode: Bson, data: Document) -> Result<()> {
        let mut data = data;
        data.insert("appName", &self.app);
        let fail = doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data };
        self.client.database("admin").run_command(fail).await?;
        Ok(())
    }

    /// Lets no command fail any more.
    pub(crate) async fn heal(&self) -> Result<()> {
        self.fail("off".into(), doc! { "failCommands": [] }).await
    }

    pub(crate) async fn end(self) {
        self.server.shutdown().await;
        self.client.shutdown().await;
    }
}

/// What a reader gives from here on.
pub(crate) async fn rest(reader: &mut SegmentReader) -> Result<(Vec<Found>, Option<Cut>), Error> {
    let mut all = Vec::new();
    loop {
        match reader.next().await? {
            Read::Batch(batch) => all.extend(found(&batch)),
            Read::Cut(cut) => return Ok((all, Some(cut))),
            Read::End => return Ok((all, None)),
        }
    }
}

pub(crate) fn found(batch: &Batch) -> Vec<Found> {
    let found = batch.ops().map(|op| {
        let (kind, value) = op.document_id().expect("a document has an id");
        let data = RawDocumentBuf::from_bytes(op.data().expect("it has data").to_vec());
        Found {
            key: Key::new(kind, value),
            document: Document::try_from(data.expect("it is BSON")).expect("it is BSON"),
            at: op.timestamp(),
            op_id: op.id().to_string(),
        }
    });
    found.collect()
}

/// By keys, also what is short enough to be read as it lies.
pub(crate) fn options() -> ReadOptions {
    ReadOptions {
        may_scan: false,
        ..scanning()
    }
}

pub(crate) fn scanning() -> ReadOptions {
    ReadOptions::new(op::Timestamp::new(1, 1))
}

/// An `_id`'s type and bytes, to be equal only to itself.
pub(crate) fn raw(id: &Bson) -> (u8, Vec<u8>) {
    let document = RawDocumentBuf::try_from(&doc! { "_id": id }).expect("it is BSON");
    let key = Key::of_document(document.as_bytes()).expect("it has an id");
    (key.kind(), key.value().to_vec())
}

/// That each of the documents was read, and none of them twice.
pub(crate) fn ensure_each_once(found: &[Found], ids: &[Bson]) -> Result<()> {
    let parts = |key: &Key| (key.kind(), key.value().to_vec());
    let mut read: Vec<_> = found.iter().map(|found| parts(&found.key)).collect();
    let mut there: Vec<_> = ids.iter().map(raw).collect();
    read.sort();
    there.sort();
    let is_missing = there.iter().find(|id| !read.contains(id));
    ensure!(is_missing.is_none(), "not read: {is_missing:?}");
    ensure!(
        read.len() == there.len(),
        "{} read of {}",
        read.len(),
        there.len()
    );
    ensure!(read == there, "something else was read");
    Ok(())
}

/// `_id`s of every type that the server takes, near one another and far, each once as the server
/// compares them.
pub(crate) fn ids(rng: &mut Rng, count: usize) -> Vec<Bson> {
    let mut ids: Vec<Bson> = vec![
        Bson::MinKey,
        Bson::MaxKey,
        Bson::Null,
        Bson::Boolean(true),
        Bson::Boolean(false),
        Bson::Double(f64::NAN),
        Bson::Double(f64::NEG_INFINITY),
        Bson::Double(f64::INFINITY),
        Bson::Double(5e-324),
        Bson::Int64(i64::MIN),
        Bson::Int64(i64::MAX),
        Bson::Double(9_223_372_036_854_775_808.0),
        decimal("1E6144"),
        decimal("-1E-6176"),
        decimal("9223372036854775807.5"),
        Bson::Double(0.1),
        decimal("0.1"),
        Bson::String(String::new()),
        Bson::String("a\0b".into()),
        Bson::Document(doc! {}),
        // What would mean something in a query is a value here.
        Bson::Document(doc! { "a": "$n" }),
        Bson::String("$n".into()),
        Bson::Document(doc! { "a": Bson::Undefined, "b": [1, { "c": 2 }] }),
        Bson::Timestamp(Timestamp {
            time: u32::MAX,
            increment: 1,
        }),
        Bson::DateTime(DateTime::MIN),
        Bson::DateTime(DateTime::MAX),
    ];
    for _ in 0..count {
        ids.push(id(rng, true));
    }
    let mut keys: Vec<(Key, Bson)> = ids
        .into_iter()
        .map(|id| {
            let (kind, value) = raw(&id);
            (Key::new(kind, &value), id)
        })
        .collect();
    keys.sort_by(|(a, _), (b, _)| a.cmp(b));
    keys.dedup_by(|(a, _), (b, _)| a == b);
    let mut ids: Vec<Bson> = keys.into_iter().map(|(_, id)| id).collect();
    rng.shuffle(&mut ids);
    ids
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse::<Decimal128>().expect("a decimal"))
}

fn id(rng: &mut Rng, deep: bool) -> Bson {
    let near = rng.i64(-50..50);
    let text = |rng: &mut Rng| -> String {
        let letters = ['a', 'A', 'b', 'ä', 'é', 'z', '\0', '-'];
        (0..rng.usize(0..4))
            .map(|_| letters[rng.usize(0..letters.len())])
            .collect()
    };
    match rng.u8(0..16) {
        0 => Bson::Int32(near as i32),
        1 => Bson::Int64(rng.i64(..)),
        2 => Bson::Double(near as f64 / 4.0),
        3 => Bson::Double(f64::from_bits(rng.u64(..))),
        4 => decimal(&format!("{near}E{}", rng.i8(-3..3))),
        5 => decimal(&format!("{}E{}", rng.i64(..), rng.i16(-400..400))),
        6 | 7 => Bson::String(text(rng)),
        8 => Bson::Symbol(text(rng)),
        9 => Bson::JavaScriptCode(text(rng)),
        10 => Bson::Binary(Binary {
            subtype: BinarySubtype::from([0, 1, 3, 4, 5, 128][rng.usize(0..6)]),
            bytes: (0..rng.usize(0..4)).map(|_| rng.u8(..)).collect(),
        }),
        11 => Bson::ObjectId(ObjectId::from_bytes(std::array::from_fn(|_| rng.u8(..)))),
        12 => Bson::DateTime(DateTime::from_millis(near)),
        13 => Bson::Timestamp(Timestamp {
            time: rng.u32(..),
            increment: rng.u32(0..9),
        }),
        _ if deep => {
            let fields =
                (0..rng.usize(0..3)).map(|_| (["a", "b", ""][rng.usize(0..3)], id(rng, false)));
            Bson::Document(
                fields
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect(),
            )
        }
        _ => Bson::Null,
    }
}
