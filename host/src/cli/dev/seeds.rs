//! Sample changes, made to happen.

use std::path::{Path, PathBuf};

use bson::{Bson, Document, doc};
use mongodb::{Client, Collection};

use crate::cli::error::UserError;

/// Sample changes of a file.
pub(super) struct Seeds {
    path: PathBuf,
    changes: Vec<(usize, Change)>,
}

/// One of them, and where it happens.
#[derive(Debug, PartialEq)]
struct Change {
    database: String,
    collection: String,
    what: What,
}

#[derive(Debug, PartialEq)]
enum What {
    /// The document is there, whatever was before.
    Put(Document),
    /// The document of that id is gone.
    Delete(Bson),
}

impl Seeds {
    /// Reads a file of JSON lines; `into` is where plain documents go.
    pub(super) fn read(path: &Path, into: &(String, String)) -> Result<Self, UserError> {
        let unread = || format!("cannot read the samples {}", path.display());
        let text = std::fs::read_to_string(path)
            .map_err(|error| UserError::refused(unread()).because(&error))?;
        let mut changes = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let change = read(line, into).map_err(|reason| {
                UserError::refused(format!("{}: line {}: {reason}", unread(), number + 1)).hint(
                    r#"a line is `{"ns": "db.coll", "doc": {...}}`, an op as `oplet tail` prints it, or a document"#,
                )
            })?;
            changes.extend(change.map(|change| (number + 1, change)));
        }
        let path = path.to_owned();
        Ok(Self { path, changes })
    }

    /// Lets them happen, one after the other; gives how many.
    pub(super) async fn happen(&self, client: &Client) -> Result<usize, UserError> {
        for (line, change) in &self.changes {
            change.happen(client).await.map_err(|error| {
                let at = format!("{}, line {line}", self.path.display());
                UserError::failed(format!("a sample cannot be written ({at})")).because(&error)
            })?;
        }
        Ok(self.changes.len())
    }
}

impl Change {
    async fn happen(&self, client: &Client) -> mongodb::error::Result<()> {
        let collection: Collection<Document> =
            client.database(&self.database).collection(&self.collection);
        match &self.what {
            What::Delete(id) => collection.delete_one(doc! {"_id": id}).await.map(drop),
            What::Put(document) => match document.get("_id") {
                // The op before may have brought it.
                Some(id) => {
                    let put = collection.replace_one(doc! {"_id": id}, document);
                    put.upsert(true).await.map(drop)
                }
                None => collection.insert_one(document).await.map(drop),
            },
        }
    }
}

/// What a line means; a change without a document is none.
fn read(line: &str, into: &(String, String)) -> Result<Option<Change>, String> {
    let value: serde_json::Value =
        serde_json::from_str(line).map_err(|error| format!("it is not JSON: {error}"))?;
    let Ok(Bson::Document(mut document)) = Bson::try_from(value) else {
        return Err("it is not a document in Extended JSON".into());
    };
    let change = |namespace: &str, what| match namespace.split_once('.') {
        Some((database, collection)) if !database.is_empty() && !collection.is_empty() => {
            Ok(Change {
                database: database.to_owned(),
                collection: collection.to_owned(),
                what,
            })
        }
        _ => Err(format!(
            "`{namespace}` is not a collection, as in `shop.orders`"
        )),
    };
    if let (2, Ok(namespace), Ok(inner)) = (
        document.len(),
        document.get_str("ns"),
        document.get_document("doc"),
    ) {
        return change(namespace, What::Put(inner.clone())).map(Some);
    }
    if let (Ok(operation), Ok(namespace)) =
        (document.get_str("operation"), document.get_str("namespace"))
    {
        let what = match (
            operation,
            document.get_document("data"),
            document.get("_id"),
        ) {
            ("i" | "u", Ok(data), _) => What::Put(data.clone()),
            ("d", _, Some(id)) => What::Delete(id.clone()),
            _ => return Ok(None),
        };
        return change(namespace, what).map(Some);
    }
    let (database, collection) = into.clone();
    Ok(Some(Change {
        database,
        collection,
        what: What::Put(std::mem::take(&mut document)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_in_each_of_their_forms() {
        let into = ("test".to_owned(), "things".to_owned());
        let change = |database: &str, collection: &str, what| {
            Ok(Some(Change {
                database: database.into(),
                collection: collection.into(),
                what,
            }))
        };
        let put = || What::Put(doc! {"_id": 1, "a": 2});
        let check = |line: &str, expected: Result<Option<Change>, String>| {
            assert_eq!(read(line, &into), expected, "{line}");
        };
        check(r#"{"_id": 1, "a": 2}"#, change("test", "things", put()));
        check(
            r#"{"ns": "shop.old.orders", "doc": {"_id": 1, "a": 2}}"#,
            change("shop", "old.orders", put()),
        );
        for operation in ["i", "u"] {
            let line = format!(
                r#"{{"operation": "{operation}", "namespace": "shop.orders", "data": {{"_id": 1, "a": 2}}}}"#
            );
            check(&line, change("shop", "orders", put()));
        }
        check(
            r#"{"operation": "d", "namespace": "shop.orders", "_id": 1}"#,
            change("shop", "orders", What::Delete(1.into())),
        );
        check(
            r#"{"operation": "c", "namespace": "shop", "data": {}}"#,
            Ok(None),
        );
        let no_collection = "`shop` is not a collection, as in `shop.orders`";
        check(r#"{"ns": "shop", "doc": {}}"#, Err(no_collection.into()));
        assert!(read("7", &into).is_err());
        assert!(read("{", &into).unwrap_err().starts_with("it is not JSON"));
    }
}
