//! Versions of modules: what is kept comes back as it was, and not too much is kept.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc, time::Duration};

use bson::{Document, doc};
use oplet::checkpoint::{Error, Holder, ModuleRef, Store, VERSIONS_MAX, VersionKey};
use sha2::{Digest as _, Sha256};

use super::{Scene, TTL, checkpoint};

fn key(name: &str, module: &str, wasm: &[u8]) -> VersionKey {
    let digest = Sha256::digest(wasm);
    VersionKey {
        name: name.into(),
        module: module.into(),
        digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

async fn keep(store: &Store, module: &str, wasm: &[u8]) -> VersionKey {
    let key = key("n", module, wasm);
    store.keep_version(&key, wasm.into()).await.unwrap();
    if store.has_transactions() {
        // The server's clock tells milliseconds apart.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    key
}

async fn digests(store: &Store, module: &str) -> Vec<String> {
    let kept = store.versions("n", module).await.unwrap();
    kept.into_iter().map(|kept| kept.digest).collect()
}

#[tokio::test]
async fn a_version_comes_back_as_it_was() {
    let scene = Scene::new("version").await;
    for store in scene.both() {
        assert_eq!(store.versions("n", "a").await.unwrap(), []);
        let absent = key("n", "a", b"never kept");
        assert_eq!(store.version(&absent).await.unwrap(), None);
        for module in ["a", "$name", "../a.b/c"] {
            let key = keep(&store, module, b"\0asm one").await;
            let found = store.version(&key).await.unwrap();
            assert_eq!(found.as_deref(), Some(&b"\0asm one"[..]), "{module}");
            assert_eq!(digests(&store, module).await, [key.digest]);
        }
    }
    let directory = scene.directory.path().join("cp.modules");
    let mode = fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(fs::read_dir(directory).unwrap().count(), 3);
}

#[tokio::test]
async fn the_last_five_of_a_module_are_kept() {
    let scene = Scene::new("last_five").await;
    for store in scene.both() {
        let other = keep(&store, "other", b"other").await;
        let mut keys = Vec::new();
        for n in 0..VERSIONS_MAX {
            keys.push(keep(&store, "a", format!("version {n}").as_bytes()).await);
        }
        // The first is gone back to: it is the newest now.
        keep(&store, "a", b"version 0").await;
        keys.rotate_left(1);
        keys.push(keep(&store, "a", b"version 5").await);
        let expected: Vec<_> = keys.iter().rev().map(|key| key.digest.clone()).collect();
        assert_eq!(digests(&store, "a").await, expected[..VERSIONS_MAX]);
        assert_eq!(store.version(&keys[0]).await.unwrap(), None);
        for key in &keys[1..] {
            assert!(store.version(key).await.unwrap().is_some());
        }
        assert_eq!(digests(&store, "other").await, [other.digest]);
    }
}

#[tokio::test]
async fn what_is_not_what_was_kept_is_told() {
    let scene = Scene::new("spoiled").await;
    for store in scene.both() {
        let key = keep(&store, "a", b"good").await;
        match store.has_transactions() {
            true => {
                let modules = scene.client.database(&scene.database).collection("modules");
                let set = doc! {"$set": {"wasm": "text"}};
                let modules: mongodb::Collection<Document> = modules;
                modules.update_one(doc! {}, set).await.unwrap();
            }
            false => {
                let path = format!("cp.modules/a.{}.wasm", key.digest);
                fs::write(scene.directory.path().join(path), b"evil").unwrap();
            }
        }
        let error = store.version(&key).await.unwrap_err();
        assert!(matches!(error, Error::WrongVersion { .. }), "{error:?}");
        assert!(error.hint().is_some());
        // Kept again, it is whole again.
        keep(&store, "a", b"good").await;
        assert!(store.version(&key).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn what_a_document_cannot_hold_is_refused_and_the_largest_that_it_can_is_kept() {
    let scene = Scene::new("large").await;
    let [mongodb, file] = scene.both();
    let largest: Arc<[u8]> = vec![7; 15 << 20].into();
    let larger: Arc<[u8]> = vec![7; (15 << 20) + 1].into();
    let key_of = |wasm: &[u8]| key("n", "a", wasm);
    mongodb
        .keep_version(&key_of(&largest), largest.clone())
        .await
        .unwrap();
    let found = mongodb.version(&key_of(&largest)).await.unwrap();
    assert_eq!(found.as_deref(), Some(&*largest));
    let error = mongodb
        .keep_version(&key_of(&larger), larger.clone())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::VersionTooLarge { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("file:PATH"), "{error}");
    file.keep_version(&key_of(&larger), larger.clone())
        .await
        .unwrap();
    assert!(file.version(&key_of(&larger)).await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_cleared_leaves_no_version_and_other_names_keep_theirs() {
    let scene = Scene::new("cleared").await;
    for store in scene.both() {
        keep(&store, "a", b"one").await;
        keep(&store, "b", b"two").await;
        let lease = store
            .acquire("n", &Holder::this_process(), TTL)
            .await
            .unwrap();
        let mut saved = checkpoint(1);
        saved.epoch = lease.epoch;
        saved.modules = vec![ModuleRef {
            generation: 3,
            given: "2c".into(),
            ..ModuleRef::as_given("a", "9f")
        }];
        store.save(&lease, &saved).await.unwrap();
        assert_eq!(store.load("n").await.unwrap(), Some(saved));
        // While somebody works under the name, nothing is cleared.
        let other = key("m", "a", b"one");
        if store.has_transactions() {
            store.keep_version(&other, (*b"one").into()).await.unwrap();
        }
        store.clear("n").await.unwrap_err();
        assert_eq!(digests(&store, "a").await.len(), 1);
        store.release(&lease).await.unwrap();
        assert!(store.clear("n").await.unwrap());
        assert_eq!(digests(&store, "a").await, [""; 0]);
        assert_eq!(digests(&store, "b").await, [""; 0]);
        if store.has_transactions() {
            assert!(store.version(&other).await.unwrap().is_some());
        }
    }
    assert!(!scene.directory.path().join("cp.modules").exists());
}
