//! Versions of modules in a collection, one document each:
//!
//! ```json
//! {_id: {name: "orders", module: "audit", digest: "9f86d0..."},
//!  wasm: BinData(0, "AGFzbQ..."), keptAt: ISODate("...")}
//! ```

use bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use futures_util::TryStreamExt as _;
use mongodb::options::UpdateModifications;

use super::mongodb::{MongodbStore, is_duplicate_key};
use crate::checkpoint::{
    Error, KeptVersion, VersionKey,
    version::{VERSIONS_MAX, check},
};

/// The collection for versions of modules, beside that of the checkpoints.
const MODULES: &str = "modules";

/// How large a version may be: a document holds 16 MiB, of which names and the command need some.
const BYTES_MAX: usize = 15 << 20;

impl MongodbStore {
    pub(super) async fn keep_version(&self, key: &VersionKey, wasm: &[u8]) -> Result<(), Error> {
        if wasm.len() > BYTES_MAX {
            return Err(Error::VersionTooLarge {
                module: key.module.clone(),
                digest: key.digest.clone(),
                bytes: wasm.len(),
                bytes_max: BYTES_MAX,
                store: self.beside(MODULES),
            });
        }
        let what = "keep a module's version of";
        let modules = self.collection(MODULES);
        let wasm = Binary {
            subtype: BinarySubtype::Generic,
            bytes: wasm.to_vec(),
        };
        let set = doc! {"$set": {"wasm": {"$literal": wasm}, "keptAt": "$$NOW"}};
        let update = modules
            .update_one(
                doc! {"_id": id(key)},
                UpdateModifications::Pipeline(vec![set]),
            )
            .upsert(true);
        match self.call(what, &key.name, update).await {
            // Another process has just kept the same.
            Err(error) if is_duplicate_key(&error) => {}
            kept => {
                kept?;
            }
        }
        // What was just kept stays, whatever the server's clock has said before.
        let kept = self.versions(&key.name, &key.module).await?;
        let others = kept.into_iter().filter(|kept| kept.digest != key.digest);
        let old: Vec<_> = others
            .skip(VERSIONS_MAX - 1)
            .map(|old| {
                id(&VersionKey {
                    digest: old.digest,
                    ..key.clone()
                })
            })
            .collect();
        if !old.is_empty() {
            let delete = modules.delete_many(doc! {"_id": {"$in": old}});
            self.call(what, &key.name, delete).await?;
        }
        Ok(())
    }

    pub(super) async fn version(&self, key: &VersionKey) -> Result<Option<Vec<u8>>, Error> {
        let modules = self.collection(MODULES);
        let find = modules.find_one(doc! {"_id": id(key)});
        let what = "read a module's version of";
        let Some(mut found) = self.call(what, &key.name, find).await? else {
            return Ok(None);
        };
        let store = || self.beside(MODULES);
        match found.remove("wasm") {
            Some(Bson::Binary(wasm)) => check(key, store, wasm.bytes).map(Some),
            _ => Err(Error::WrongVersion {
                module: key.module.clone(),
                digest: key.digest.clone(),
                store: store(),
                reason: "`wasm` is missing or of the wrong type".to_owned(),
            }),
        }
    }

    pub(super) async fn versions(
        &self,
        name: &str,
        module: &str,
    ) -> Result<Vec<KeptVersion>, Error> {
        let modules = self.collection(MODULES);
        let range = doc! {
            "$gte": {"name": name, "module": module, "digest": Bson::MinKey},
            "$lte": {"name": name, "module": module, "digest": Bson::MaxKey},
        };
        let read = async {
            let found = modules
                .find(doc! {"_id": range})
                .projection(doc! {"keptAt": 1})
                .sort(doc! {"keptAt": -1});
            found.await?.try_collect::<Vec<_>>().await
        };
        let found = self
            .call("list the modules' versions of", name, read)
            .await?;
        Ok(found.iter().filter_map(kept).collect())
    }

    /// Lets go of the versions of all modules.
    pub(super) async fn clear_versions(&self, name: &str) -> Result<(), Error> {
        let modules = self.collection(MODULES);
        let range = doc! {
            "$gte": {"name": name, "module": Bson::MinKey},
            "$lte": {"name": name, "module": Bson::MaxKey},
        };
        let delete = modules.delete_many(doc! {"_id": range});
        self.call("clear the modules' versions of", name, delete)
            .await?;
        Ok(())
    }
}

fn id(key: &VersionKey) -> Document {
    doc! {"name": &key.name, "module": &key.module, "digest": &key.digest}
}

/// What somebody else has put into the collection is no version.
fn kept(document: &Document) -> Option<KeptVersion> {
    let id = document.get_document("_id").ok()?;
    Some(KeptVersion {
        digest: id.get_str("digest").ok()?.to_owned(),
        kept_ms: document.get_datetime("keptAt").ok()?.timestamp_millis(),
    })
}
