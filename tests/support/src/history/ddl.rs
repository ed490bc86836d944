//! What is done to collections.

use anyhow::Result;
use bson::{Document, doc};
use mongodb::Client;

use super::History;

impl History {
    pub(super) async fn drop_or_rename(&mut self, client: &Client, at: usize) -> Result<()> {
        let name = self.collections[at].name;
        if self.rng.bool() {
            client
                .database(&self.database)
                .run_command(doc! { "drop": name })
                .await?;
        } else {
            self.renamed += 1;
            // Two names only, so that most land on an earlier one and drop it.
            let target = format!("{}.{name}_old_{}", self.database, self.renamed % 2);
            let source = format!("{}.{name}", self.database);
            let rename = doc! { "renameCollection": source, "to": target, "dropTarget": true };
            client.database("admin").run_command(rename).await?;
        }
        self.collections[at].ids.clear();
        self.report.ddl += 1;
        Ok(())
    }

    /// Any command, also one that changes no document.
    pub(super) async fn any_command(&mut self, client: &Client, at: usize) -> Result<()> {
        let name = self.collections[at].name;
        let database = client.database(&self.database);
        let run = async |command: Document| database.run_command(command).await;
        match self.rng.usize(..6) {
            0 => return self.drop_or_rename(client, at).await,
            // With documents in the collection, a build in two phases.
            1 => {
                let field = ["n", "s", "d.c", "f1"][self.rng.usize(..4)];
                let one = doc! { "key": { field: 1 }, "name": field };
                let sparse = doc! { "key": { "last": -1 }, "name": "last", "sparse": true };
                run(doc! { "createIndexes": name, "indexes": [one, sparse] }).await?;
            }
            2 => {
                run(doc! { "createIndexes": name, "indexes": [{ "key": { "n": -1 }, "name": "back" }] })
                    .await?;
                let hidden = doc! { "name": "back", "hidden": self.rng.bool() };
                run(doc! { "collMod": name, "index": hidden }).await?;
                run(doc! { "dropIndexes": name, "index": "*" }).await?;
            }
            3 => {
                let level = ["off", "strict", "moderate"][self.rng.usize(..3)];
                run(doc! { "create": "extra" }).await?;
                run(doc! { "collMod": "extra", "validator": { "n": 1 }, "validationLevel": level })
                    .await?;
                run(doc! { "drop": "extra" }).await?;
            }
            4 => {
                run(doc! { "create": "extra", "capped": true, "size": 8192, "max": 7 }).await?;
                run(doc! { "createIndexes": "extra", "indexes": [{ "key": { "n": 1 }, "name": "n" }] })
                    .await?;
                run(doc! { "insert": "extra", "documents": [{ "_id": 1 }, { "_id": 2 }] }).await?;
                run(doc! { "drop": "extra" }).await?;
                self.report.inserts += 2;
            }
            _ => {
                run(doc! { "insert": "extra", "documents": [{ "_id": 1 }, { "_id": 2 }] }).await?;
                run(doc! { "convertToCapped": "extra", "size": 8192 }).await?;
                run(doc! { "drop": "extra" }).await?;
                self.report.inserts += 2;
            }
        }
        self.report.ddl += 1;
        Ok(())
    }
}
