//! Tells all that it can see of an op, by as much of the SDK as it can.
//!
//! Its twin `parity-assemblyscript` says the same in AssemblyScript; a test holds the two side by side. Each function of
//! the table in `docs/assemblyscript.md` stands here and there.
#![forbid(unsafe_code)]

use std::time::Duration;

use oplet_sdk::{
    Error, Handler, Level, LookupError, Namespace, Op, Operation, Outcome, Source, Txn,
    UpdateDescription,
    bson::{Bson, Decimal128, Document, RawBsonRef, RawDocument, doc},
    count, emit, emit_raw, emit_to, info, log, lookup, sink,
};
use serde::Deserialize;

/// Paths that are asked for in every op.
const PATHS: [&str; 16] = [
    "_id",
    "operation",
    "nothing",
    "data",
    "data.string",
    "data.i32",
    "data.i64",
    "data.double",
    "data.whole",
    "data.bool",
    "data.date",
    "data.objectId",
    "data.document.grüße.🦀",
    "data.array.1.x",
    "data.array.-1",
    "updateDescription.updatedFields",
];

const TOUCHED: [&str; 6] = ["a", "a.b", "a.b.c", "a.bc", "list", "größe.🦀"];

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    prefix: String,
}

struct Parity {
    prefix: String,
    handled: i64,
}

impl TryFrom<Config> for Parity {
    type Error = String;

    fn try_from(Config { prefix }: Config) -> Result<Self, String> {
        if prefix.contains(' ') {
            return Err(format!("the prefix `{prefix}` has a space"));
        }
        Ok(Self { prefix, handled: 0 })
    }
}

impl Handler for Parity {
    fn filter(&self, op: &Op) -> bool {
        op.namespace() != "parity.ignored" && op.get_str("data.string") != Some("not wanted")
    }

    fn pipeline(&self, ns: &Namespace, source: Source) -> Option<Vec<Document>> {
        let collection = ns.collection()?;
        match source {
            Source::DirectRead => Some(vec![]),
            _ => Some(vec![
                doc! { "$match": { "ns.coll": collection, "ns.db": ns.database() } },
                doc! { "$project": { "fullDocument.large": 0 } },
            ]),
        }
    }

    fn handle(&mut self, op: &Op) -> Outcome {
        match op.get_str("data.answer") {
            Some("retry") => return Err(Error::retry("told to retry 🦀")),
            Some("reject") => return Err(Error::reject("told to reject")),
            Some("later") => return Err(Error::retry_after(Duration::from_millis(1500))),
            _ => {}
        }
        if let Some(namespace) = op.get_str("data.lookIn") {
            return look(op, namespace);
        }
        self.handled += 1;
        count("handled", 1);
        info!("{}{}", self.prefix, op.op_id());
        log(Level::Debug, format_args!("debugged"));

        emit(&self.envelope(op)?)?;
        emit(&probes(op)?)?;
        if let Some(data) = op.data() {
            let second = sink("second").unwrap_or(oplet_sdk::Sink::DEFAULT);
            emit_to(second, &told(data)?)?;
            emit_raw(data)?;
        }
        emit_raw(op.as_raw())?;
        Ok(())
    }

    fn flush(&mut self) -> Outcome {
        emit(&doc! { "handled": self.handled })?;
        Ok(())
    }
}

impl Parity {
    fn envelope(&self, op: &Op) -> Result<Document, Error> {
        let operation = match op.operation() {
            Operation::Insert => 0,
            Operation::Update => 1,
            Operation::Delete => 2,
            Operation::Command => 3,
        };
        let source = match op.source() {
            Source::Oplog => 0,
            Source::ChangeStream => 1,
            Source::DirectRead => 2,
        };
        let (namespace, timestamp) = (op.namespace(), op.timestamp());
        Ok(doc! {
            "_id": format!("{}{}", self.prefix, op.op_id()),
            "operation": operation,
            "is": [op.is_insert(), op.is_update(), op.is_delete(), op.is_command(), op.is_replace(), op.is_pending()],
            "namespace": namespace.as_str(),
            "database": namespace.database(),
            "collection": namespace.collection(),
            "timestamp": timestamp,
            "time": i64::from(timestamp.time),
            "increment": i64::from(timestamp.increment),
            "source": source,
            "wallTime": op.wall_time(),
            "txn": op.txn().map(transaction).transpose()?,
            "cluster": op.cluster(),
            "id": op.id().map(Bson::try_from).transpose()?,
            "documentKey": op.document_key().map(Document::try_from).transpose()?,
            "before": op.before().map(Document::try_from).transpose()?,
            "update": op.update_description().map(update).transpose()?,
        })
    }
}

#[derive(Deserialize)]
struct Customer {
    name: String,
}

/// What lookups find: one customer by `_id`, and the first three, or all of them.
fn look(op: &Op, namespace: &str) -> Outcome {
    let name = doc! { "name": 1, "_id": 0 };
    let id = doc! { "_id": op.get_i64("data.of").unwrap_or(0) };
    let one: Option<Customer> = lookup(namespace, id).projection(name.clone()).one()?;
    let mut question = lookup(namespace, doc! {}).projection(name);
    if !op.get_bool("data.whole").unwrap_or(false) {
        question = question.limit(3);
    }
    let told = |customer: Customer| doc! { "name": customer.name };
    let all = match question.all::<Customer>() {
        Ok(all) => all
            .into_iter()
            .map(|customer| told(customer).into())
            .collect(),
        Err(LookupError::Failed) if op.get_bool("data.soft") == Some(true) => {
            vec![Bson::from("no answer")]
        }
        Err(error) => return Err(error.into()),
    };
    emit(&doc! { "_id": op.op_id(), "one": one.map(told), "all": all })?;
    Ok(())
}

fn transaction(txn: Txn<'_>) -> Result<Document, Error> {
    Ok(doc! {
        "lsid": txn.lsid().map(Document::try_from).transpose()?,
        "number": txn.number().unwrap_or_default(),
        "index": txn.index().unwrap_or_default(),
    })
}

fn update(update: UpdateDescription<'_>) -> Result<Document, Error> {
    let truncated: Vec<Document> = update
        .truncated_arrays()
        .map(|array| doc! { "field": array.field, "newSize": array.new_size })
        .collect();
    Ok(doc! {
        "updatedFields": Document::try_from(update.updated_fields())?,
        "a.b": update.updated("a.b").map(Bson::try_from).transpose()?,
        "removedFields": update.removed_fields().collect::<Vec<_>>(),
        "truncatedArrays": truncated,
        "disambiguatedPaths": Document::try_from(update.disambiguated_paths())?,
        "touches": TOUCHED.map(|path| update.touches(path)).to_vec(),
    })
}

/// What each way to ask gives for each path.
fn probes(op: &Op) -> Result<Document, Error> {
    let mut probes = Document::new();
    for path in PATHS {
        let probe = doc! {
            "has": op.get(path).is_some(),
            "string": op.get_str(path),
            "isText": op.get_str(path) == Some("grüße 🦀"),
            "i64": op.get_i64(path).unwrap_or(-7),
            "f64": op.get_f64(path).unwrap_or(-7.5),
            "bool": op.get_bool(path).unwrap_or(true),
            "date": op.get_date(path),
            "objectId": op.get_object_id(path),
            "document": op.get_document(path).map(Document::try_from).transpose()?,
            "value": op.get(path).map(Bson::try_from).transpose()?,
        };
        probes.insert(path, probe);
    }
    Ok(probes)
}

/// Each field with its type and, where it has one, its text.
fn told(document: &RawDocument) -> Result<Document, Error> {
    let mut keys = Vec::new();
    let mut kinds = Vec::new();
    let mut values = Vec::new();
    for field in document {
        let (key, value) = field?;
        keys.push(key.to_string());
        kinds.push(i32::from(value.element_type() as u8));
        values.push(one(value)?);
    }
    Ok(doc! { "keys": keys, "kinds": kinds, "values": values })
}

fn one(value: RawBsonRef<'_>) -> Result<Bson, Error> {
    Ok(match value {
        RawBsonRef::ObjectId(id) => id.to_hex().into(),
        RawBsonRef::Decimal128(decimal) => decimal.to_string().into(),
        RawBsonRef::DateTime(date) => date.timestamp_millis().into(),
        RawBsonRef::Timestamp(time) => vec![i64::from(time.time), i64::from(time.increment)].into(),
        RawBsonRef::Binary(binary) => {
            let sum: i64 = binary.bytes.iter().map(|&byte| i64::from(byte)).sum();
            doc! { "subtype": i32::from(u8::from(binary.subtype)), "length": binary.bytes.len() as i32, "sum": sum }
                .into()
        }
        RawBsonRef::RegularExpression(regex) => {
            vec![regex.pattern.to_string(), regex.options.to_string()].into()
        }
        RawBsonRef::JavaScriptCode(code) => code.into(),
        RawBsonRef::JavaScriptCodeWithScope(code) => {
            vec![Bson::from(code.code), told(code.scope)?.into()].into()
        }
        RawBsonRef::Symbol(text) => text.into(),
        RawBsonRef::Document(document) => told(document)?.into(),
        RawBsonRef::Array(array) => {
            let mut values = Vec::new();
            for value in array {
                values.push(one(value?)?);
            }
            values.into()
        }
        // Text that is to be a number, if it is one.
        RawBsonRef::String(text) => match text.strip_prefix("decimal ") {
            Some(number) => number.parse::<Decimal128>().map_or(Bson::Null, Bson::from),
            None => text.into(),
        },
        other => other.try_into()?,
    })
}

oplet_sdk::export!(Parity, config = Config);
