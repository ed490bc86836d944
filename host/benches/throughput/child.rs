//! The subjects that run in a process of their own: the bare loops and the library.
//!
//! A child connects, says `start`, reads, and says `done` with the number of ops. The parent takes
//! the time between the two.

use anyhow::{Context as _, Result, ensure};
use bson::{Document, RawArrayBuf, RawDocumentBuf, Timestamp, doc, rawdoc};
use clap::Args;
use mongodb::{Client, options::CursorType};
use oplet::{
    TailBuilder,
    mongo::{self, Server},
    op::{self, DocumentState, Since, SourceKind},
    source,
    tail::Tail,
};
use oplet_sdk::raw::Walk;

use crate::{Source, Subject, direct};

/// What a child reads.
#[derive(Debug, Args)]
pub(crate) struct ChildArgs {
    #[arg(long)]
    subject: Subject,
    #[arg(long)]
    source: Source,
    #[arg(long)]
    uri: String,
    #[arg(long)]
    namespace: op::Namespace,
    #[arg(long, value_parser = timestamp)]
    since: op::Timestamp,
    #[arg(long, value_parser = timestamp)]
    last: op::Timestamp,
    #[arg(long)]
    ops: u64,
}

fn timestamp(text: &str) -> Result<op::Timestamp, &'static str> {
    text.parse().map_err(|()| "not SECONDS:INCREMENT")
}

/// Reads as the subject does.
pub(crate) async fn run(args: &ChildArgs) -> Result<()> {
    match (args.source, args.subject) {
        (Source::DirectRead, Subject::Tail | Subject::Keys) => {
            let by_keys = args.subject == Subject::Keys;
            return direct::segments(&args.uri, &args.namespace, by_keys).await;
        }
        (_, Subject::Tail) => return tail(args).await,
        _ => {}
    }
    let batch_size = (args.subject == Subject::BareBatched).then_some(source::BATCH_SIZE);
    let client = Client::with_uri_str(&args.uri).await?;
    // Connected and warm, as `oplet` is when it begins.
    client
        .database("admin")
        .run_command(doc! {"hello": 1})
        .await?;
    eprintln!("start");
    let ops = match args.source {
        Source::Oplog if args.subject == Subject::BareLookup => {
            bare_oplog_with_lookups(&client, args).await?
        }
        Source::Oplog => bare_oplog(&client, args, batch_size).await?,
        Source::ChangeStream => bare_change_stream(&client, args, batch_size).await?,
        Source::DirectRead => direct::bare(&client, &args.namespace, batch_size).await?,
    };
    eprintln!("done {ops}");
    Ok(())
}

/// A tailable cursor on the oplog; one field of each entry is read.
async fn bare_oplog(client: &Client, args: &ChildArgs, batch_size: Option<u32>) -> Result<u64> {
    let oplog = client
        .database("local")
        .collection::<RawDocumentBuf>("oplog.rs");
    let since = Timestamp::from(args.since);
    let mut find = oplog
        .find(doc! {"ts": {"$gt": since}})
        .cursor_type(CursorType::TailableAwait);
    if let Some(batch_size) = batch_size {
        find = find.batch_size(batch_size);
    }
    let mut cursor = find.await?;
    let last = Timestamp::from(args.last);
    let mut entries = 0;
    while cursor.advance().await? {
        entries += 1;
        if cursor.current().get_timestamp("ts")? >= last {
            break;
        }
    }
    Ok(entries)
}

/// How many documents are looked up at a time, as Oplet does.
const LOOKUP: usize = 1_000;

/// The same cursor, and the documents of all updates: what a user must write who wants them.
async fn bare_oplog_with_lookups(client: &Client, args: &ChildArgs) -> Result<u64> {
    let oplog = client
        .database("local")
        .collection::<RawDocumentBuf>("oplog.rs");
    let since = Timestamp::from(args.since);
    let mut cursor = oplog
        .find(doc! {"ts": {"$gt": since}})
        .cursor_type(CursorType::TailableAwait)
        .batch_size(source::BATCH_SIZE)
        .await?;
    let namespace = args.namespace.to_string();
    let (database, collection) = namespace.split_once('.').context("not `db.coll`")?;
    let collection = client
        .database(database)
        .collection::<RawDocumentBuf>(collection);
    let last = Timestamp::from(args.last);
    let (mut entries, mut ids) = (0, RawArrayBuf::new());
    let mut waiting = 0;
    while cursor.advance().await? {
        let entry = cursor.current();
        entries += 1;
        let is_update = entry.get_str("op")? == "u" && entry.get_str("ns")? == namespace;
        if is_update && let Some(id) = entry.get_document("o2")?.get("_id")? {
            ids.push(id);
            waiting += 1;
        }
        let is_last = entry.get_timestamp("ts")? >= last;
        if waiting == LOOKUP || (is_last && waiting > 0) {
            let find = rawdoc! {"_id": {"$in": std::mem::take(&mut ids)}};
            let mut found = collection.find(Document::try_from(find)?).await?;
            while found.advance().await? {
                ensure!(found.current().get("_id")?.is_some());
            }
            waiting = 0;
        }
        if is_last {
            break;
        }
    }
    Ok(entries)
}

/// The cursor below the driver's change stream, which would copy each event and keep its token.
async fn bare_change_stream(
    client: &Client,
    args: &ChildArgs,
    batch_size: Option<u32>,
) -> Result<u64> {
    let namespace = args.namespace.to_string();
    let (database, collection) = namespace.split_once('.').context("not `db.coll`")?;
    let mut options = doc! {
        "fullDocument": "updateLookup",
        "startAtOperationTime": Timestamp::from(args.since.next()),
    };
    if batch_size.is_some() {
        // As Oplet asks, for the collection's UUID and the commands: more work for the server.
        options.insert("showExpandedEvents", true);
    }
    let stage = doc! { "$changeStream": options };
    let collection = client
        .database(database)
        .collection::<RawDocumentBuf>(collection);
    let mut aggregate = collection.aggregate([stage]);
    if let Some(batch_size) = batch_size {
        aggregate = aggregate.batch_size(batch_size);
    }
    let mut cursor = aggregate.await?;
    let mut events = 0;
    while events < args.ops && cursor.advance().await? {
        let kind = cursor.current().get_str("operationType")?;
        ensure!(!kind.is_empty());
        events += 1;
    }
    Ok(events)
}

/// The library; the field that the counting module reads is read of each document.
async fn tail(args: &ChildArgs) -> Result<()> {
    let uri = mongo::parse_uri(&args.uri)?;
    let server = Server::connect(&uri, &mongo::Options::default()).await?;
    eprintln!("start");
    let kind = match args.source {
        Source::Oplog => SourceKind::Oplog,
        Source::ChangeStream => SourceKind::ChangeStream,
        Source::DirectRead => anyhow::bail!("a tail reads changes"),
    };
    let tail = TailBuilder::new(&server)
        .source(kind)
        .watch(args.namespace.clone())
        .since(Since::After(args.since))
        .max_ops(args.ops);
    let ops = count(tail.start().await?).await?;
    eprintln!("done {ops}");
    server.shutdown().await;
    Ok(())
}

async fn count(mut changes: Tail) -> Result<u64> {
    let (mut ops, mut sum) = (0, 0_i64);
    while let Some(batch) = changes.next().await {
        let batch = batch?;
        for (op, document) in batch.ops() {
            let document = match document {
                DocumentState::LookedUp(document) => document,
                DocumentState::NotAsked => op.data(),
            };
            if let Some(document) = document {
                let number = Walk::find(document, "n")?.and_then(|number| number.int64());
                sum = sum.wrapping_add(number.unwrap_or_default());
            }
            ops += 1;
        }
    }
    std::hint::black_box(sum);
    Ok(ops)
}
