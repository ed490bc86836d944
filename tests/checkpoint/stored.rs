//! What is saved comes back, and what cannot be read is told.

use std::fs;

use bson::{Bson, Document, doc};
use oplet::{
    checkpoint::{Error, Gap, Holder},
    op::{OWN_DATABASE, Position, SourceKind, Timestamp},
};

use super::{Scene, TTL, checkpoint, stored};

#[tokio::test]
async fn what_is_saved_comes_back() {
    let scene = Scene::new("comes_back").await;
    for store in scene.both() {
        assert_eq!(store.load("n").await.unwrap(), None);
        let lease = store
            .acquire("n", &Holder::this_process(), TTL)
            .await
            .unwrap();
        assert_eq!(store.load("n").await.unwrap(), None);
        for seconds in 1..6 {
            store.save(&lease, &checkpoint(seconds)).await.unwrap();
            assert_eq!(stored(&store).await, Some(seconds));
        }
        // Values that the server could take for expressions stay what they are.
        let mut odd = checkpoint(7);
        odd.streams[0].modules = vec!["$$ROOT".into(), "$name".into()];
        odd.epoch = lease.epoch;
        store.save(&lease, &odd).await.unwrap();
        assert_eq!(store.load("n").await.unwrap(), Some(odd));
        assert!(store.raw("n").await.unwrap().is_some());
    }
    assert_ne!(scene.database, OWN_DATABASE);
}

#[tokio::test]
async fn names_do_not_touch_each_other() {
    let scene = Scene::new("names").await;
    let store = scene.mongodb();
    let holder = Holder::this_process();
    for name in ["n", "$other", "a/b.c"] {
        let lease = store.acquire(name, &holder, TTL).await.unwrap();
        assert_eq!(lease.epoch, 1);
        store.save(&lease, &checkpoint(5)).await.unwrap();
        assert_eq!(store.load(name).await.unwrap().unwrap().name, name);
    }
    assert_eq!(store.names().await.unwrap(), ["$other", "a/b.c", "n"]);

    let store = scene.file();
    let lease = store.acquire("n", &holder, TTL).await.unwrap();
    store.save(&lease, &checkpoint(5)).await.unwrap();
    store.release(&lease).await.unwrap();
    for error in [
        store.acquire("other", &holder, TTL).await.unwrap_err(),
        store.load("other").await.unwrap_err(),
        store.clear("other").await.unwrap_err(),
    ] {
        assert!(
            matches!(&error, Error::OtherName { found, .. } if found == "n"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_transaction_that_is_aborted_leaves_nothing() {
    let scene = Scene::new("transaction").await;
    let store = scene.mongodb();
    let lease = store
        .acquire("n", &Holder::this_process(), TTL)
        .await
        .unwrap();
    store.save(&lease, &checkpoint(1)).await.unwrap();
    let mut session = scene.client.start_session().await.unwrap();
    for (seconds, commit, expected) in [(2, false, 1), (3, true, 3)] {
        session.start_transaction().await.unwrap();
        store
            .save_in(&mut session, &lease, &checkpoint(seconds))
            .await
            .unwrap();
        assert_ne!(stored(&store).await, Some(seconds), "not yet committed");
        match commit {
            true => session.commit_transaction().await.unwrap(),
            false => session.abort_transaction().await.unwrap(),
        }
        assert_eq!(stored(&store).await, Some(expected));
    }
    // Fenced, and a conflict with another writer, which passes.
    store.release(&lease).await.unwrap();
    session.start_transaction().await.unwrap();
    let error = store.save_in(&mut session, &lease, &checkpoint(4)).await;
    assert!(error.unwrap_err().is_fenced());
    session.abort_transaction().await.unwrap();
    let lease = store
        .acquire("n", &Holder::this_process(), TTL)
        .await
        .unwrap();
    let mut other = scene.client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    other.start_transaction().await.unwrap();
    store
        .save_in(&mut session, &lease, &checkpoint(5))
        .await
        .unwrap();
    let error = store.save_in(&mut other, &lease, &checkpoint(6)).await;
    let error = error.unwrap_err();
    assert!(error.is_passing(), "{error:?}");
    session.commit_transaction().await.unwrap();
    other.abort_transaction().await.unwrap();
    assert_eq!(stored(&store).await, Some(5));
    let file = scene.file();
    let error = file.save_in(&mut session, &lease, &checkpoint(7)).await;
    assert!(matches!(error, Err(Error::Refused { .. })), "{error:?}");
}

#[tokio::test]
async fn what_is_no_checkpoint_is_told_with_the_commands_that_help() {
    let scene = Scene::new("garbage").await;
    let store = scene.mongodb();
    let collection = scene
        .client
        .database(&scene.database)
        .collection::<Document>("checkpoints");
    let holder = Holder::this_process();
    for (document, is_newer) in [
        (doc! {"_id": "n", "rubbish": true}, false),
        (doc! {"_id": "n", "format": "1", "epoch": 1_i64}, false),
        (doc! {"_id": "n", "format": 1, "epoch": "x"}, false),
        (
            doc! {"_id": "n", "format": 1, "epoch": 1_i64, "holder": 7},
            false,
        ),
        (doc! {"_id": "n", "format": 3, "epoch": 1_i64}, true),
    ] {
        collection.insert_one(&document).await.unwrap();
        for error in [
            store.load("n").await.unwrap_err(),
            store.acquire("n", &holder, TTL).await.unwrap_err(),
            store.set("n", &checkpoint(1)).await.unwrap_err(),
        ] {
            match is_newer {
                true => assert!(matches!(error, Error::NewerFormat { found: 3, .. })),
                false => assert!(matches!(error, Error::Garbage { .. }), "{error:?}"),
            }
            let hint = error.hint().unwrap();
            assert!(hint.contains("oplet checkpoint show n"), "{hint}");
            assert!(hint.contains("oplet checkpoint clear n"), "{hint}");
        }
        assert_eq!(store.raw("n").await.unwrap(), Some(document));
        assert_eq!(store.names().await.unwrap(), ["n"]);
        assert!(store.clear("n").await.unwrap());
    }
    // A good lease around a bad checkpoint.
    let lease = store.acquire("n", &holder, TTL).await.unwrap();
    for checkpoint in [Bson::from(7), doc! {"format": 1}.into()] {
        let set = doc! {"$set": {"checkpoint": checkpoint}};
        collection.update_one(doc! {"_id": "n"}, set).await.unwrap();
        let error = store.load("n").await.unwrap_err();
        assert!(matches!(error, Error::Garbage { .. }), "{error:?}");
    }
    store.save(&lease, &checkpoint(2)).await.unwrap();
    assert_eq!(stored(&store).await, Some(2));
}

#[tokio::test]
async fn a_file_that_is_torn_anywhere_falls_back_to_the_other() {
    let scene = Scene::new("torn").await;
    let store = scene.file();
    let path = |ending: &str| scene.directory.path().join(format!("cp{ending}"));
    let lease = store
        .acquire("n", &Holder::this_process(), TTL)
        .await
        .unwrap();
    store.save(&lease, &checkpoint(1)).await.unwrap();
    store.save(&lease, &checkpoint(2)).await.unwrap();
    let (older, newer) = (path(".a"), path(".b"));
    let whole = fs::read(&newer).unwrap();
    for len in 0..whole.len() {
        fs::write(&newer, &whole[..len]).unwrap();
        assert_eq!(stored(&store).await, Some(1), "{len} bytes");
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x40;
        fs::write(&newer, &changed).unwrap();
        assert_eq!(stored(&store).await, Some(1), "byte {at}");
    }
    // The next save takes the place of the torn one, not of the good one.
    let good = fs::read(&older).unwrap();
    store.save(&lease, &checkpoint(3)).await.unwrap();
    assert_eq!(fs::read(&older).unwrap(), good);
    assert_eq!(stored(&store).await, Some(3));
    // What a crash leaves half written beside them is nothing.
    fs::write(path(".a.tmp"), "half").unwrap();
    store.save(&lease, &checkpoint(4)).await.unwrap();
    assert_eq!(stored(&store).await, Some(4));

    for file in [&older, &newer] {
        fs::write(file, "rubbish").unwrap();
    }
    let error = store.load("n").await.unwrap_err();
    assert!(matches!(error, Error::Garbage { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("oplet checkpoint clear n"));
    store.release(&lease).await.unwrap();
    assert!(store.clear("n").await.unwrap());
    assert_eq!(stored(&store).await, None);
}

#[tokio::test]
async fn a_lease_that_cannot_be_read_is_nobodys() {
    let scene = Scene::new("torn_lease").await;
    let store = scene.file();
    let lease = store
        .acquire("n", &Holder::this_process(), TTL)
        .await
        .unwrap();
    store.save(&lease, &checkpoint(1)).await.unwrap();
    fs::write(scene.directory.path().join("cp.lease"), "rubbish").unwrap();
    let error = store.save(&lease, &checkpoint(2)).await.unwrap_err();
    assert!(error.is_fenced(), "{error:?}");
    let next = store
        .acquire("n", &Holder::this_process(), TTL)
        .await
        .unwrap();
    assert_eq!(next.epoch, lease.epoch + 1);
}

#[tokio::test]
async fn gaps_are_recorded() {
    let scene = Scene::new("gaps").await;
    let gap = Gap {
        name: "n".into(),
        cluster: None,
        from: Position::Time(Timestamp::new(5, 1)),
        to: Some(Timestamp::new(9, 2)),
        namespaces: vec!["shop.orders".into()],
        reason: "it rolled over".into(),
        policy: "skip".into(),
        at_ms: 1000,
        source: SourceKind::Oplog,
    };
    let later = Gap {
        at_ms: 2000,
        ..gap.clone()
    };
    let wider = Gap {
        to: Some(Timestamp::new(19, 2)),
        ..later.clone()
    };
    for store in scene.both() {
        for found in [&gap, &later, &wider] {
            store.record_gap(found).await.unwrap();
        }
    }
    let gaps = scene.client.database(&scene.database).collection("gaps");
    assert_eq!(gaps.count_documents(doc! {}).await.unwrap(), 1);
    let found: Document = gaps.find_one(doc! {}).await.unwrap().unwrap();
    let expected = Gap {
        at_ms: gap.at_ms,
        ..wider
    };
    assert_eq!(found, expected.to_document(), "when it was found first");
    let lines = fs::read_to_string(scene.directory.path().join("cp.gaps.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["to"]["$timestamp"]["t"], 9);
    assert_eq!(lines[1]["to"]["$timestamp"]["t"], 19, "it reaches further");
}
