//! What a checkpoint holds, and how it is written.
//!
//! ```json
//! {format: 1, name: "orders", source: "changeStream", epoch: 3, savedAt: ISODate("..."),
//!  modules: [{name: "orders", digest: "9f86d0...", generation: 3, given: "2cf24d..."}],
//!  streams: [{digest: "2c26b4...", scope: "shop.orders", modules: ["orders"],
//!             clusterTime: Timestamp(1700000001, 7), resumeToken: {_data: "8265..."},
//!             done: {clusterTime: Timestamp(1700000001, 7), index: 0}}]}
//! ```
//! A position of the oplog has `clusterTime` and `term`, one of a change stream `resumeToken` (and
//! `clusterTime` where the token tells it), one that is a time alone `clusterTime` only.

use bson::{Bson, Document, doc};

use super::{
    DirectRead, Error, ModuleRef,
    fields::{
        cluster_fields, documents, position_fields, read_cluster, read_done, read_position, text,
        wrong,
    },
    holder::{now_ms, whole},
};
use crate::op::{Cluster, Frontier, Position, SourceKind};

/// The format that is written where it can say everything, and the oldest that can be read.
pub(super) const FORMAT: i64 = 1;

/// The format of a checkpoint with direct reads, and the newest that can be read. A program that knows
/// the first one alone would forget them, and give changes that they cover.
const FORMAT_WITH_READS: i64 = 2;

/// How far the streams of a run are done.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The name that it is kept under.
    pub name: String,
    /// Which reader the positions are of.
    pub source: SourceKind,
    /// Each stream, and how far it is done.
    pub streams: Vec<StreamCheckpoint>,
    /// The modules that ran.
    pub modules: Vec<ModuleRef>,
    /// What is read directly, and how far that is.
    pub direct_reads: Vec<DirectRead>,
    /// Counts the holders of the name.
    pub epoch: u64,
    /// When it was saved, in milliseconds since 1970, by the clock of who saved it.
    pub saved_ms: i64,
}

/// How far one stream is done.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamCheckpoint {
    /// Digest of what decides what the stream contains, by [`digest_of`](super::digest_of). Empty for
    /// a position that was set by hand, which holds for any stream.
    pub digest: String,
    /// What it watches, for people.
    pub scope: String,
    /// Names of the modules that see it.
    pub modules: Vec<String>,
    /// How far it is done.
    pub frontier: Frontier,
    /// The deployment that it reads; none where that was not noted, or the position was set by hand.
    pub cluster: Option<Cluster>,
}

impl Checkpoint {
    /// A checkpoint that makes any stream start at a position, whatever it contains: set by hand.
    #[must_use]
    pub fn by_hand(name: &str, source: SourceKind, position: Position) -> Self {
        let stream = StreamCheckpoint {
            digest: String::new(),
            scope: String::new(),
            modules: Vec::new(),
            frontier: Frontier::at(position),
            cluster: None,
        };
        Self {
            name: name.to_owned(),
            source,
            streams: vec![stream],
            modules: Vec::new(),
            direct_reads: Vec::new(),
            epoch: 0,
            saved_ms: now_ms(),
        }
    }

    /// As it is stored.
    #[must_use]
    pub fn to_document(&self) -> Document {
        let stream = |stream: &StreamCheckpoint| {
            let mut document = doc! {
                "digest": &stream.digest, "scope": &stream.scope, "modules": &stream.modules,
            };
            if let Some(cluster) = &stream.cluster {
                document.extend(cluster_fields(cluster));
            }
            document.extend(position_fields(&stream.frontier.position));
            if let Some(done) = stream.frontier.done {
                let done = doc! {
                    "clusterTime": bson::Timestamp::from(done.timestamp), "index": i64::from(done.index),
                };
                document.insert("done", done);
            }
            Bson::from(document)
        };
        let mut document = doc! {
            "format": FORMAT,
            "name": &self.name,
            "source": self.source.as_str(),
            "epoch": self.epoch as i64,
            "savedAt": bson::DateTime::from_millis(self.saved_ms),
            "modules": self.modules.iter().map(ModuleRef::to_document).collect::<Vec<_>>(),
            "streams": self.streams.iter().map(stream).collect::<Vec<_>>(),
        };
        if !self.direct_reads.is_empty() {
            let reads = self.direct_reads.iter().map(DirectRead::to_document);
            document.insert("format", FORMAT_WITH_READS);
            document.insert("directReads", reads.collect::<Vec<_>>());
        }
        document
    }

    /// Reads what was stored under `name` in `store`; the two are for the words of errors.
    ///
    /// # Errors
    /// [`Error::Garbage`], [`Error::NewerFormat`].
    pub fn from_document(name: &str, store: &str, document: &Document) -> Result<Self, Error> {
        check_format(name, store, document)?;
        read(document).map_err(|reason| Error::Garbage {
            name: name.to_owned(),
            store: store.to_owned(),
            reason,
        })
    }
}

/// Looks at the format before anything else is read.
pub(super) fn check_format(name: &str, store: &str, document: &Document) -> Result<(), Error> {
    match whole(document, "format") {
        Some(FORMAT..=FORMAT_WITH_READS) => Ok(()),
        Some(found) if found > FORMAT_WITH_READS => Err(Error::NewerFormat {
            name: name.to_owned(),
            store: store.to_owned(),
            found,
            known: FORMAT_WITH_READS,
        }),
        _ => Err(Error::Garbage {
            name: name.to_owned(),
            store: store.to_owned(),
            reason: wrong("format"),
        }),
    }
}

fn read(document: &Document) -> Result<Checkpoint, String> {
    let source = text(document, "source")?;
    let kinds = [SourceKind::Oplog, SourceKind::ChangeStream];
    let streams = documents(document, "streams")?;
    if streams.is_empty() {
        return Err("it has no streams".to_owned());
    }
    Ok(Checkpoint {
        name: text(document, "name")?,
        source: kinds
            .into_iter()
            .find(|kind| kind.as_str() == source)
            .ok_or_else(|| format!("`source` is `{source}`, which is no source"))?,
        streams: streams
            .into_iter()
            .map(read_stream)
            .collect::<Result<_, _>>()?,
        modules: documents(document, "modules")?
            .into_iter()
            .map(ModuleRef::from_document)
            .collect::<Result<_, String>>()?,
        direct_reads: match document.contains_key("directReads") {
            true => documents(document, "directReads")?
                .into_iter()
                .map(DirectRead::from_document)
                .collect::<Result<_, _>>()?,
            false => Vec::new(),
        },
        epoch: whole(document, "epoch")
            .and_then(|epoch| epoch.try_into().ok())
            .ok_or_else(|| wrong("epoch"))?,
        saved_ms: document
            .get_datetime("savedAt")
            .map_err(|_| wrong("savedAt"))?
            .timestamp_millis(),
    })
}

fn read_stream(document: &Document) -> Result<StreamCheckpoint, String> {
    let modules = document
        .get_array("modules")
        .map_err(|_| wrong("modules"))?;
    let modules = modules.iter().map(|name| name.as_str().map(str::to_owned));
    Ok(StreamCheckpoint {
        digest: text(document, "digest")?,
        scope: text(document, "scope")?,
        modules: modules
            .collect::<Option<_>>()
            .ok_or_else(|| wrong("modules"))?,
        frontier: Frontier {
            position: read_position(document)?,
            done: read_done(document)?,
        },
        cluster: read_cluster(document)?,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::direct_read::tests::half_done, *};
    use crate::op::{OpPoint, OpTime, Timestamp};

    fn checkpoint() -> Checkpoint {
        let time = Timestamp::new(1_700_000_001, 7);
        let token = bson::rawdoc! {"_data": "8265", "_typeBits": bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![1] }};
        let stream = |digest: &str, position| StreamCheckpoint {
            digest: digest.into(),
            scope: "shop.orders".into(),
            modules: vec!["a".into(), "b".into()],
            frontier: Frontier {
                position,
                done: (digest != "3").then_some(OpPoint {
                    timestamp: time,
                    index: u32::MAX,
                }),
            },
            cluster: (digest != "4").then(|| Cluster::new("eu", (digest == "2").then_some("65a1"))),
        };
        Checkpoint {
            name: "orders".into(),
            source: SourceKind::ChangeStream,
            streams: vec![
                stream("1", Position::Time(time)),
                stream(
                    "2",
                    Position::Oplog(OpTime {
                        timestamp: time,
                        term: -1,
                    }),
                ),
                stream(
                    "3",
                    Position::ChangeStream {
                        token: token.clone(),
                        cluster_time: Some(time),
                    },
                ),
                stream(
                    "4",
                    Position::ChangeStream {
                        token,
                        cluster_time: None,
                    },
                ),
            ],
            modules: vec![ModuleRef {
                name: "a".into(),
                digest: "9f".into(),
                generation: 7,
                given: "2c".into(),
            }],
            direct_reads: vec![],
            epoch: 3,
            saved_ms: 1_700_000_000_123,
        }
    }

    fn parse(document: &Document) -> Result<Checkpoint, Error> {
        Checkpoint::from_document("orders", "mongodb:oplet.checkpoints", document)
    }

    #[test]
    fn reads_what_it_writes() {
        let checkpoint = checkpoint();
        assert_eq!(parse(&checkpoint.to_document()).unwrap(), checkpoint);
        let by_hand =
            Checkpoint::by_hand("x", SourceKind::Oplog, Position::Time(Timestamp::new(1, 1)));
        assert_eq!(parse(&by_hand.to_document()).unwrap(), by_hand);
    }

    #[test]
    fn direct_reads_need_a_newer_format() {
        let mut checkpoint = checkpoint();
        assert_eq!(whole(&checkpoint.to_document(), "format"), Some(1));
        checkpoint.direct_reads = vec![half_done()];
        let document = checkpoint.to_document();
        assert_eq!(whole(&document, "format"), Some(2));
        assert_eq!(parse(&document).unwrap(), checkpoint);
        let mut other = document.clone();
        other.insert("directReads", 1);
        assert!(matches!(parse(&other), Err(Error::Garbage { .. })));
    }

    #[test]
    fn whatever_is_taken_away_or_put_in_its_stead_is_told_and_never_guessed() {
        let whole = checkpoint().to_document();
        for field in whole.keys() {
            let mut less = whole.clone();
            less.remove(field);
            let error = parse(&less).unwrap_err();
            assert!(matches!(error, Error::Garbage { .. }), "{field}: {error:?}");
            assert!(error.to_string().contains(field.as_str()), "{error}");
            let mut other = whole.clone();
            other.insert(field, Bson::Boolean(true));
            assert!(
                matches!(parse(&other), Err(Error::Garbage { .. })),
                "{field}"
            );
        }
        for field in ["digest", "scope", "modules", "clusterTime"] {
            let mut less = whole.clone();
            let streams = less.get_array_mut("streams").unwrap();
            streams[0].as_document_mut().unwrap().remove(field);
            assert!(
                matches!(parse(&less), Err(Error::Garbage { .. })),
                "{field}"
            );
        }
        for field in [
            "clusterTime",
            "term",
            "done",
            "resumeToken",
            "cluster",
            "clusterId",
        ] {
            let mut other = whole.clone();
            let wrong = match field {
                "cluster" | "clusterId" => Bson::Int32(1),
                _ => "text".into(),
            };
            for stream in other.get_array_mut("streams").unwrap() {
                let stream = stream.as_document_mut().unwrap();
                stream.insert(field, wrong.clone());
            }
            assert!(
                matches!(parse(&other), Err(Error::Garbage { .. })),
                "{field}"
            );
        }
    }

    #[test]
    fn a_newer_format_is_told_with_the_commands_that_help() {
        let error = parse(&doc! {"format": 3_i64, "anything": 1}).unwrap_err();
        assert!(matches!(error, Error::NewerFormat { found: 3, .. }));
        let hint = error.hint().unwrap();
        assert!(hint.contains("oplet checkpoint show orders"), "{hint}");
        assert!(hint.contains("oplet checkpoint clear orders"), "{hint}");
    }
}
