//! Dead letters in a collection.

use std::sync::Arc;

use bson::{Bson, Document, RawDocumentBuf, doc};
use futures_util::TryStreamExt as _;
use mongodb::{
    Client, Database, IndexModel,
    options::{CollectionOptions, ReadConcern, WriteConcern},
};
use oplet_sdk::raw::{Writer, kind};
use tokio::sync::OnceCell;

use super::{
    DeadLetter, Error, Filter, Place,
    encoding::{Keep, Part},
};
use crate::mongo::{Fault, answer_in_time};

/// How many bytes of letters one write command carries, unless a single one has more: the server
/// takes 16 MiB.
const WRITE_BYTES: usize = 8 << 20;

/// How many letters one write command carries.
const WRITE_LETTERS: usize = 500;

/// How many letters are fetched ahead, and about how many bytes.
const PAGE_LETTERS: i64 = 100;
const PAGE_BYTES: usize = 16 << 20;

/// How many ids one delete command carries.
const IDS_PER_DELETE: usize = 1_000;

/// The order in which letters are listed, as a sort and as an index.
fn order() -> Document {
    doc! { "clusterTime": 1, "index": 1, "_id": 1 }
}

/// A write that the server refused, by its place in the command.
type Refused = (usize, i32, String);

/// What a letter's write is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Store it, or the attempts and times of one that is there.
    Insert,
    /// Tell the latest failure of one that is there.
    Update,
}

/// Dead letters in a collection.
#[derive(Debug, Clone)]
pub(super) struct Collection {
    database: Database,
    name: Arc<str>,
    letters: mongodb::Collection<RawDocumentBuf>,
    indexed: Arc<OnceCell<()>>,
}

impl Collection {
    pub(super) fn new(client: &Client, database: &str, collection: &str) -> Self {
        let database = client.database(database);
        let options = CollectionOptions::builder()
            .read_concern(ReadConcern::majority())
            .write_concern(WriteConcern::majority())
            .build();
        Self {
            letters: database.collection_with_options(collection, options),
            database,
            name: collection.into(),
            indexed: Arc::default(),
        }
    }

    fn error(&self, source: mongodb::error::Error) -> Error {
        Error::Mongodb {
            namespace: self.namespace(),
            source,
        }
    }

    pub(super) fn namespace(&self) -> String {
        format!("{}.{}", self.database.name(), self.name)
    }

    pub(super) async fn insert(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        self.indexed.get_or_try_init(|| self.make_index()).await?;
        self.write(letters, Mode::Insert).await
    }

    pub(super) async fn update(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        self.write(letters, Mode::Update).await
    }

    /// Lets a long list be read in order. Without the right to make one, the server sorts each time.
    async fn make_index(&self) -> Result<(), Error> {
        let index = IndexModel::builder().keys(order()).build();
        let made = answer_in_time(self.letters.create_index(index)).await;
        match made {
            Err(error) if Fault::of(&error) == Fault::Passing => Err(self.error(error)),
            Err(error) => {
                let error = crate::mongo::describe(&error);
                tracing::debug!(
                    namespace = self.namespace(),
                    error,
                    "the dead letters have no index"
                );
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    async fn write(&self, letters: &[DeadLetter], mode: Mode) -> Result<(), Error> {
        let mut rest = letters;
        while !rest.is_empty() {
            let (group, others) = rest.split_at(group_len(rest));
            rest = others;
            let refused = self.write_group(group.iter(), mode, Keep::Document).await?;
            // Some servers refuse documents that came from others, for names of fields in them.
            let again: Vec<&DeadLetter> =
                refused.iter().map(|(index, ..)| &group[*index]).collect();
            if again.is_empty() {
                continue;
            }
            let refused = self
                .write_group(again.into_iter(), mode, Keep::Binary)
                .await?;
            if let Some((_, code, message)) = refused.into_iter().next() {
                return Err(self.write_error(code, message, false));
            }
        }
        Ok(())
    }

    fn write_error(&self, code: i32, message: String, is_passing: bool) -> Error {
        Error::Write {
            namespace: self.namespace(),
            code,
            message,
            is_passing,
        }
    }

    /// Writes some letters with one command, and tells which the server refused for good.
    async fn write_group<'a>(
        &self,
        letters: impl Iterator<Item = &'a DeadLetter>,
        mode: Mode,
        keep: Keep,
    ) -> Result<Vec<Refused>, Error> {
        let command = update_command(&self.name, letters, mode, keep);
        let answer = answer_in_time(self.database.run_raw_command(command)).await;
        let answer = answer.map_err(|error| self.error(error))?;
        let mut refused = Vec::new();
        for error in answer.get_array("writeErrors").into_iter().flatten() {
            let error = error.as_document().cloned().unwrap_or_default();
            let index = error.get_i32("index").unwrap_or_default();
            let (code, message) = code_and_message(&error);
            // Two processes stored the same new letter at once: the second attempt finds it.
            if code == DUPLICATE_KEY {
                return Err(self.write_error(code, message, true));
            }
            refused.push((usize::try_from(index).unwrap_or_default(), code, message));
        }
        if let Ok(error) = answer.get_document("writeConcernError") {
            // Written, but maybe not for good: only a majority's word counts.
            let (code, message) = code_and_message(error);
            return Err(self.write_error(code, message, true));
        }
        Ok(refused)
    }

    /// The next letters behind a place, in order; none at the end.
    pub(super) async fn page(
        &self,
        filter: &Filter,
        after: Option<&Place>,
    ) -> Result<Vec<DeadLetter>, Error> {
        let find = self
            .letters
            .find(filter.query(after))
            .sort(order())
            .limit(PAGE_LETTERS)
            .allow_disk_use(true);
        let mut cursor = answer_in_time(find)
            .await
            .map_err(|error| self.error(error))?;
        let mut letters = Vec::new();
        let mut bytes = 0;
        while bytes < PAGE_BYTES {
            let next = answer_in_time(cursor.try_next()).await;
            let Some(document) = next.map_err(|error| self.error(error))? else {
                break;
            };
            bytes += document.as_bytes().len();
            letters.push(self.letter(&document)?);
        }
        Ok(letters)
    }

    pub(super) async fn get(&self, id: &str) -> Result<Option<DeadLetter>, Error> {
        let found = answer_in_time(self.letters.find_one(doc! { "_id": id })).await;
        let found = found.map_err(|error| self.error(error))?;
        found.map(|document| self.letter(&document)).transpose()
    }

    fn letter(&self, document: &RawDocumentBuf) -> Result<DeadLetter, Error> {
        DeadLetter::from_document(document.as_bytes()).map_err(|reason| {
            let id = document.get("_id").ok().flatten();
            let id = id
                .and_then(|id| Bson::try_from(id).ok())
                .unwrap_or(Bson::Null);
            Error::Invalid {
                place: format!("{id} in {}", self.namespace()),
                reason,
            }
        })
    }

    pub(super) async fn count(&self, filter: &Filter) -> Result<u64, Error> {
        let count = answer_in_time(self.letters.count_documents(filter.query(None))).await;
        count.map_err(|error| self.error(error))
    }

    pub(super) async fn remove(&self, ids: &[String]) -> Result<u64, Error> {
        let mut removed = 0;
        for ids in ids.chunks(IDS_PER_DELETE) {
            let delete = self.letters.delete_many(doc! { "_id": { "$in": ids } });
            let done = answer_in_time(delete).await;
            removed += done.map_err(|error| self.error(error))?.deleted_count;
        }
        Ok(removed)
    }
}

/// Two writers inserted the same key at once.
const DUPLICATE_KEY: i32 = 11_000;

fn code_and_message(error: &Document) -> (i32, String) {
    let message = error.get_str("errmsg").unwrap_or_default().to_owned();
    (error.get_i32("code").unwrap_or_default(), message)
}

/// How many of the letters one command takes; at least one.
fn group_len(letters: &[DeadLetter]) -> usize {
    let mut bytes = 0;
    let fitting = letters.iter().take(WRITE_LETTERS).take_while(|letter| {
        bytes += letter.bytes();
        bytes <= WRITE_BYTES
    });
    fitting.count().max(1)
}

/// `{update, updates: [{q: {_id}, u: {...}, upsert}], ordered: false}`, made of raw bytes so that the
/// ops in it stay as they are.
fn update_command<'a>(
    collection: &str,
    letters: impl Iterator<Item = &'a DeadLetter>,
    mode: Mode,
    keep: Keep,
) -> RawDocumentBuf {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    writer.text(b"update", collection);
    writer.bool(b"ordered", false);
    writer.begin(b"writeConcern", kind::DOCUMENT);
    writer.text(b"w", "majority");
    writer.end();
    writer.begin(b"updates", kind::ARRAY);
    for (index, letter) in letters.enumerate() {
        writer.begin(index.to_string().as_bytes(), kind::DOCUMENT);
        writer.begin(b"q", kind::DOCUMENT);
        writer.text(b"_id", &letter.id);
        writer.end();
        writer.begin(b"u", kind::DOCUMENT);
        let (first, then): (&[Part], &[Part]) = match mode {
            Mode::Insert => (&[Part::Failure, Part::Op], &[]),
            Mode::Update => (&[], &[Part::Failure]),
        };
        let (attempts, first_failed) = (&[Part::Attempts, Part::LastFailed], &[Part::FirstFailed]);
        for (operator, parts) in [
            (&b"$setOnInsert"[..], first),
            (b"$set", then),
            (b"$max", attempts),
            (b"$min", first_failed),
        ] {
            if !parts.is_empty() {
                writer.begin(operator, kind::DOCUMENT);
                letter.write_parts(&mut writer, parts, keep);
                writer.end();
            }
        }
        writer.end();
        writer.bool(b"upsert", mode == Mode::Insert);
        writer.end();
    }
    writer.end();
    writer.finish();
    RawDocumentBuf::from_bytes(bytes).expect("the writer frames what it writes")
}
