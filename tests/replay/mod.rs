//! Recordings: written by `oplet record`, `dead-letters export` and `run --save-failed`, played to
//! modules by `oplet replay`.

mod dumps;
mod expectations;
mod plays;
mod records;
mod refusals;

use std::path::{Path, PathBuf};

use bson::{Document, RawDocumentBuf, doc};
use oplet_testkit::guest;
use tempfile::TempDir;

use crate::{modules::Ended, oplet};

/// A folder with recordings, and a copy of the module that fails in every way that it is told to.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, file) in [("guest_faulty", "faulty.wasm"), ("guest_echo", "echo.wasm")] {
            std::fs::copy(guest(name).unwrap(), folder.path().join(file)).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file.
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes inserts of documents with these fields, by the shortest form of an op.
    fn inserts(&self, name: &str, fields: &[&str]) {
        let mut text = String::new();
        for (id, fields) in (1..).zip(fields) {
            let comma = if fields.is_empty() { "" } else { ", " };
            text.push_str(&format!(
                r#"{{"operation": "i", "namespace": "shop.orders", "data": {{"_id": {id}{comma}{fields}}}}}"#
            ));
            text.push('\n');
        }
        self.write(name, text);
    }

    /// `oplet replay` in this folder.
    async fn replay(&self, arguments: &[&str]) -> Ended {
        let command = oplet().in_folder(self.0.path()).arg("replay");
        Ended::of(command.args(arguments)).await
    }
}

fn raw(document: &Document) -> Vec<u8> {
    RawDocumentBuf::try_from(document).unwrap().into_bytes()
}

/// The documents of a file of BSON.
fn documents(path: &Path) -> Vec<Document> {
    let bytes = std::fs::read(path).unwrap();
    let mut rest = &bytes[..];
    let mut documents = Vec::new();
    while !rest.is_empty() {
        documents.push(Document::from_reader(&mut rest).unwrap());
    }
    documents
}

/// An op as a source gives it.
fn op(id: i32, data: Document) -> Document {
    let mut document = doc! {"_id": id};
    document.extend(data);
    doc! {
        "operation": "i", "namespace": "shop.orders", "opId": format!("9:{id}:0"),
        "timestamp": bson::Timestamp { time: 9, increment: id.unsigned_abs() }, "source": "oplog",
        "_id": id, "data": document,
    }
}
