//! The directory of compiled modules.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use oplet_testkit::guest;

use super::{Ended, NOWHERE};
use crate::oplet;

/// Starts a run that is refused as soon as its module is compiled: its pipeline asks for what the
/// oplog cannot do.
async fn start(cache: &Path) -> Ended {
    let run = oplet()
        .args(["run", "-v", "--uri", NOWHERE, "--source", "oplog"])
        .arg("--module-cache")
        .arg(cache)
        .arg(guest("field_watch").unwrap());
    Ended::of(run).await
}

#[tokio::test]
async fn a_second_start_compiles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("not/made/yet");
    let compiled = start(&cache).await;
    compiled.is_refused(&[
        "modules are ready from_cache=0 compiled=1",
        "has a pipeline",
    ]);
    let mode = fs::metadata(&cache).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    start(&cache).await.is_refused(&[
        "modules are ready from_cache=1 compiled=0",
        "has a pipeline",
    ]);
}

#[tokio::test]
async fn a_cache_that_others_can_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    start(folder.path()).await.is_refused(&[
        "others can write to the directory of compiled modules",
        "hint: compiled modules run as native code",
        "chmod 700",
    ]);
}
