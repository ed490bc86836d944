//! A store that does not answer.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use oplet::checkpoint::{Error, Holder, Keeper, LeaseOptions, LeaseState};
use oplet_testkit::ReplicaSet;
use tokio::time::timeout;

use super::{Scene, TTL, checkpoint, stored};
use crate::DEADLINE;

#[tokio::test]
async fn a_server_that_stands_still_is_away_and_the_lease_is_ours_again_when_it_is_back() {
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    let scene = Scene::on(&set, "away").await;
    let store = scene.mongodb();
    let options = LeaseOptions {
        ttl: Duration::from_secs(2),
        renew_every: Duration::from_millis(300),
        ..LeaseOptions::default()
    };
    let holder = Holder::this_process();
    let lease = store.acquire("n", &holder, options.ttl).await.unwrap();
    let keeper = Keeper::start(store.clone(), lease.clone(), options);
    store.save(&lease, &checkpoint(1)).await.unwrap();
    assert_eq!(keeper.settled().await, LeaseState::Held);

    set.suspend().await.unwrap();
    let begin = Instant::now();
    let error = store.save(&lease, &checkpoint(2)).await.unwrap_err();
    assert!(error.is_passing(), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(20));
    // By our own clock, long before anyone answers.
    assert_eq!(keeper.state(), LeaseState::Unsure);
    keeper.unsure().await;
    assert!(
        timeout(Duration::from_millis(100), keeper.lost())
            .await
            .is_err()
    );

    set.resume().await.unwrap();
    let settled = timeout(DEADLINE, keeper.settled()).await.unwrap();
    assert_eq!(settled, LeaseState::Held);
    store.save(&lease, &checkpoint(3)).await.unwrap();
    assert_eq!(stored(&store).await, Some(3));
    keeper.release().await.unwrap();
    assert_eq!(store.holder("n").await.unwrap(), None);
}

#[tokio::test]
async fn a_lock_that_another_process_holds_is_waited_for_but_not_for_ever() {
    let scene = Scene::new("locked").await;
    let store = scene.file();
    let lease = store
        .acquire("n", &Holder::this_process(), TTL)
        .await
        .unwrap();
    let lock = fs::File::open(scene.directory.path().join("cp.lock")).unwrap();
    lock.lock().unwrap();
    let error = store.save(&lease, &checkpoint(1)).await.unwrap_err();
    assert!(error.is_passing(), "{error:?}");
    let saving = tokio::spawn({
        let (store, lease) = (store.clone(), lease.clone());
        async move { store.save(&lease, &checkpoint(2)).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!saving.is_finished());
    lock.unlock().unwrap();
    saving.await.unwrap().unwrap();
    assert_eq!(stored(&store).await, Some(2));
}

#[tokio::test]
async fn a_path_that_leads_nowhere_is_refused() {
    let scene = Scene::new("nowhere").await;
    let nowhere = scene.directory.path().join("no/such/cp");
    let store = scene.open(&format!("file:{}", nowhere.display()));
    let error = store.acquire("n", &Holder::this_process(), TTL).await;
    assert!(matches!(error, Err(Error::Refused { .. })), "{error:?}");
    // Whoever may write everywhere cannot see this.
    let closed = scene.directory.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(closed.join("probe"), "").is_err() {
        let store = scene.open(&format!("file:{}", closed.join("cp").display()));
        let error = store.acquire("n", &Holder::this_process(), TTL).await;
        assert!(
            matches!(error, Err(Error::Unauthorized { .. })),
            "{error:?}"
        );
    }
}
