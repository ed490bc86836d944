//! A database of one's own, runs over what was written to it, and what became of them.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use bson::{Document, doc};
use mongodb::{Client, Collection};
use oplet_testkit::{Oplet, ReplicaSet, database_name, wat};
use serde_json::Value;
use tempfile::TempDir;

use crate::{DEADLINE, oplet};

/// A database on the shared replica set, and a folder for modules.
pub(crate) struct Scene {
    pub(crate) client: Client,
    pub(crate) database: String,
    uri: String,
    /// The cluster time at which the scene began.
    pub(crate) start: String,
    folder: TempDir,
}

impl Scene {
    pub(crate) async fn new(hint: &str) -> Self {
        Self::in_database(database_name(hint)).await
    }

    /// In a database of that name, for modules that name it themselves.
    pub(crate) async fn in_database(database: String) -> Self {
        Self::on(ReplicaSet::shared().await.unwrap(), database).await
    }

    /// On that server, to which each run tells the database as the name of its application.
    pub(crate) async fn on(set: &ReplicaSet, database: String) -> Self {
        let client = set.client().await.unwrap();
        let admin = client.database("admin");
        let answer = admin.run_command(doc! {"ping": 1}).await.unwrap();
        let time = answer.get_timestamp("operationTime").unwrap();
        Self {
            client,
            uri: format!("{}&appName={database}", set.uri()),
            database,
            start: format!("{}:{}", time.time, time.increment),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.client.database(&self.database).collection(name)
    }

    /// Inserts the documents into the collection `things`.
    pub(crate) async fn insert(&self, documents: impl IntoIterator<Item = Document>) {
        let things = self.collection("things");
        things.insert_many(documents).await.unwrap();
    }

    /// Applies one update to the things with these ids.
    pub(crate) async fn update(
        &self,
        ids: impl IntoIterator<Item = i32>,
        update: impl Fn(i32) -> Document,
    ) {
        let updates: Vec<Document> = ids
            .into_iter()
            .map(|id| doc! {"q": {"_id": id}, "u": update(id)})
            .collect();
        let command = doc! {"update": "things", "updates": updates};
        let database = self.client.database(&self.database);
        database.run_command(command).await.unwrap();
    }

    /// Has the server fail so many queries of this scene's runs on a collection, each in this way.
    pub(crate) async fn fail_finds(&self, namespace: &str, how: Document, times: i32) {
        let mut data = doc! {
            "failCommands": ["find"], "appName": &self.database, "namespace": namespace,
        };
        data.extend(how);
        let mode = doc! {"times": times};
        let command = doc! {"configureFailPoint": "failCommand", "mode": mode, "data": data};
        let admin = self.client.database("admin");
        admin.run_command(command).await.unwrap();
    }

    /// Writes a module of that name from its text, and gives its path.
    pub(crate) fn module(&self, name: &str, text: &str) -> PathBuf {
        let module = wat(text).unwrap_or_else(|error| panic!("{error:#}\n{text}"));
        self.file(&format!("{name}.wasm"), &module)
    }

    /// Writes a file, and gives its path.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// `oplet run` of these modules on this database, which goes on until it is stopped.
    pub(crate) fn run(&self, modules: &[impl AsRef<Path>]) -> Oplet {
        self.run_from_now(modules).args(["--since", &self.start])
    }

    /// The same, from now on, or where its checkpoint is.
    pub(crate) fn run_from_now(&self, modules: &[impl AsRef<Path>]) -> Oplet {
        oplet()
            .arg("run")
            .args(modules.iter().map(AsRef::as_ref))
            .args(["--uri", &self.uri, "--watch", &self.database])
    }

    /// The folder of the scene's files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs these modules over all that happened since the scene began.
    pub(crate) async fn run_over(
        &self,
        modules: &[impl AsRef<Path>],
        flags: impl IntoIterator<Item: AsRef<OsStr>>,
    ) -> Ended {
        let run = self.run(modules).arg("--exit-when-idle").args(flags);
        Ended::of(run).await
    }

    /// A verb that looks at changes, on this database from the scene's beginning on.
    pub(crate) fn verb(&self, verb: &str) -> Oplet {
        oplet()
            .args([verb, &self.database, "--uri", &self.uri])
            .args(["--since", &self.start])
    }

    /// `oplet tail` over all that happened since the scene began.
    pub(crate) fn tail(&self, flags: &[&str]) -> Oplet {
        self.verb("tail").arg("--exit-when-idle").args(flags)
    }

    /// What `oplet tail` prints of all that happened since the scene began.
    pub(crate) async fn tail_over(&self, source: &str) -> Ended {
        Ended::of(self.tail(&["--source", source])).await
    }
}

/// What became of an `oplet`.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: String,
}

impl Ended {
    /// Starts it, and waits for its end.
    pub(crate) async fn of(oplet: Oplet) -> Self {
        let running = oplet.start().unwrap();
        let code = running.wait_exit(DEADLINE).await.unwrap();
        Self {
            code,
            stdout: running.stdout().all(),
            stderr: running.stderr().all().join("\n"),
        }
    }

    /// That it ended with this exit code.
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.stderr);
        self
    }

    /// That it was refused before anything was opened or printed, and says all this.
    #[track_caller]
    pub(crate) fn is_refused(&self, words: &[&str]) {
        assert_eq!(self.code, 2, "{}", self.stderr);
        assert_eq!(self.stdout, [""; 0]);
        assert!(
            !self.stderr.contains("no server answers"),
            "{}",
            self.stderr
        );
        self.says(words);
    }

    /// That standard error has all this.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) {
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` in:\n{}", self.stderr);
        }
    }

    /// Standard output as documents: each line is one.
    #[track_caller]
    pub(crate) fn documents(&self) -> Vec<Value> {
        let parse = |line: &String| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        self.stdout.iter().map(parse).collect()
    }

    /// A number of the summary, by the word behind it: `read`, `kept`, `handled`, `emitted`,
    /// `failed`, `skipped`.
    #[track_caller]
    pub(crate) fn counted(&self, word: &str) -> u64 {
        let summary = self
            .stderr
            .lines()
            .find_map(|line| line.strip_prefix("ops: "));
        let summary = summary.unwrap_or_else(|| panic!("no summary in:\n{}", self.stderr));
        let counts = summary
            .split(", ")
            .filter_map(|count| count.split_once(' '));
        let mut found = counts.filter(|(_, name)| *name == word);
        found.next().map_or(0, |(count, _)| count.parse().unwrap())
    }

    /// The failure records in the log.
    pub(crate) fn failures(&self) -> Vec<&str> {
        let is_failure = |line: &&str| line.contains("a module failed on an op");
        self.stderr.lines().filter(is_failure).collect()
    }
}
