//! One process per name.

use std::time::{Duration, Instant};

use bson::Bson;
use oplet::checkpoint::{Error, Holder, Keeper, LeaseOptions, LeaseState, Standby, take};
use oplet_testkit::{ReplicaSet, eventually};
use tokio::{task::JoinSet, time::sleep};

use super::{Scene, TTL, checkpoint, dead, elsewhere, stored};
use crate::DEADLINE;

/// Leases that run out within a test, but not because a busy machine renews them late.
const BRIEF: LeaseOptions = LeaseOptions {
    ttl: Duration::from_secs(4),
    renew_every: Duration::from_millis(200),
    poll_every: Duration::from_millis(100),
};

fn is_held(error: &Error, holder: &Holder) -> bool {
    matches!(error, Error::Held { by, .. } if by.holder.id == holder.id)
}

#[tokio::test]
async fn of_two_holders_one_has_the_lease_until_it_gives_it_back() {
    let scene = Scene::new("two_holders").await;
    for store in scene.both() {
        let (first, second) = (Holder::this_process(), elsewhere());
        let lease = store.acquire("n", &first, TTL).await.unwrap();
        assert_eq!(lease.epoch, 1);
        let error = store.acquire("n", &second, TTL).await.unwrap_err();
        assert!(is_held(&error, &first), "{error:?}");
        assert!(error.to_string().contains("is held by process"), "{error}");
        let holding = store.holder("n").await.unwrap().unwrap();
        assert!(holding.is_live() && holding.holder == first && holding.epoch == 1);
        store.renew(&lease).await.unwrap();
        store.release(&lease).await.unwrap();
        assert_eq!(store.holder("n").await.unwrap(), None);
        let lease = store.acquire("n", &second, TTL).await.unwrap();
        assert_eq!(lease.epoch, 2);
        // What one gives back that is not theirs any more stays where it is.
        store.release(&lease).await.unwrap();
        store.release(&lease).await.unwrap();
    }
}

#[tokio::test]
async fn a_holder_that_slept_past_its_lease_cannot_save() {
    let scene = Scene::new("slept").await;
    for store in scene.both() {
        let short = Duration::from_millis(300);
        let first = store.acquire("n", &elsewhere(), short).await.unwrap();
        store.save(&first, &checkpoint(1)).await.unwrap();
        sleep(short * 2).await;
        // Nobody has taken over: it is still ours.
        store.save(&first, &checkpoint(2)).await.unwrap();
        sleep(short * 2).await;
        let successor = Holder::this_process();
        let second = store.acquire("n", &successor, TTL).await.unwrap();
        assert_eq!(second.epoch, first.epoch + 1);
        for error in [
            store.save(&first, &checkpoint(3)).await.unwrap_err(),
            store.renew(&first).await.unwrap_err(),
        ] {
            let by = match error {
                Error::Fenced { by, .. } => by,
                other => panic!("{other:?}"),
            };
            assert_eq!(by.map(|by| by.id), Some(successor.id.clone()));
        }
        store.release(&first).await.unwrap();
        assert_eq!(stored(&store).await, Some(2));
        store.save(&second, &checkpoint(4)).await.unwrap();
        assert_eq!(stored(&store).await, Some(4));
        assert_eq!(store.load("n").await.unwrap().unwrap().epoch, second.epoch);
    }
}

#[tokio::test]
async fn who_takes_over_ends_a_transaction_that_holds_the_checkpoint() {
    let scene = Scene::new("fenced_inside").await;
    let store = scene.mongodb();
    let mut session = scene.client.start_session().await.unwrap();
    let Some(Bson::Binary(id)) = session.id().get("id") else {
        panic!("{:?}", session.id());
    };
    let first = Holder {
        sessions: vec![id.to_uuid().unwrap()],
        ..dead()
    };
    let lease = store.acquire("n", &first, TTL).await.unwrap();
    store.save(&lease, &checkpoint(1)).await.unwrap();
    session.start_transaction().await.unwrap();
    let newer = checkpoint(2);
    let saved = store.save_in(&mut session, &lease, &newer);
    saved.await.unwrap();
    // Its own renewal waits for it, and is no conflict.
    let renewed = tokio::time::timeout(Duration::from_millis(300), store.renew(&lease));
    assert!(renewed.await.is_err(), "the transaction holds the document");
    let second = store.acquire("n", &elsewhere(), TTL).await.unwrap();
    assert_eq!(second.epoch, lease.epoch + 1);
    assert!(session.commit_transaction().await.is_err());
    assert_eq!(stored(&store).await, Some(1));
}

#[tokio::test]
async fn a_keeper_renews_when_nothing_else_has() {
    let scene = Scene::new("renewed").await;
    let store = scene.mongodb();
    let lease = store.acquire("n", &elsewhere(), TTL).await.unwrap();
    let options = LeaseOptions {
        renew_every: Duration::from_millis(100),
        ..LeaseOptions::with_ttl(TTL)
    };
    let renewed = async || {
        let holding = store.holder("n").await.unwrap().unwrap();
        holding.renewed_at_ms
    };
    let begun = renewed().await;
    let keeper = Keeper::start(store.clone(), lease, options);
    // A save that began later than now.
    let later = Duration::from_secs(3_600);
    keeper.renewed(Instant::now() + later);
    sleep(Duration::from_millis(500)).await;
    assert_eq!(renewed().await, begun, "it was renewed otherwise");
    let keeper = Keeper::start(store.clone(), keeper.lease().clone(), options);
    eventually(DEADLINE, async || renewed().await > begun)
        .await
        .unwrap();
    drop(keeper);
}

#[tokio::test]
async fn what_a_holder_leaves_behind_is_told_until_somebody_has_ended_it() {
    let scene = Scene::new("remains").await;
    for store in scene.both() {
        let with_a_session = |holder: Holder| Holder {
            sessions: vec![bson::Uuid::new()],
            ..holder
        };
        let holders = [dead(), dead(), dead(), Holder::this_process()].map(with_a_session);
        let [first, second, third, last] = &holders;
        let lease = store.acquire("n", first, TTL).await.unwrap();
        assert!(lease.replaced.is_empty());
        let lease = store.acquire("n", second, TTL).await.unwrap();
        assert_eq!(lease.replaced, first.remains());
        // The second died before it could end that. The third lives longer.
        let lease = store.acquire("n", third, TTL).await.unwrap();
        assert_eq!(
            lease.replaced.writers,
            [&first.id, &second.id].map(Clone::clone)
        );
        let sessions = [first.sessions[0], second.sessions[0]];
        assert_eq!(lease.replaced.sessions, sessions);
        store.settle(&lease).await.unwrap();
        store.renew(&lease).await.unwrap();
        let lease = store.acquire("n", last, TTL).await.unwrap();
        assert_eq!(lease.replaced, third.remains());
        store.release(&lease).await.unwrap();
        let lease = store.acquire("n", first, TTL).await.unwrap();
        assert!(lease.replaced.is_empty());
    }
}

#[tokio::test]
async fn many_who_want_the_lease_at_once_get_epochs_of_their_own() {
    let scene = Scene::new("race").await;
    for store in scene.both() {
        let mut tasks = JoinSet::new();
        for _ in 0..32 {
            let store = store.clone();
            tasks.spawn(async move { store.acquire("n", &elsewhere(), TTL).await });
        }
        let results = tasks.join_all().await;
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "{lost:?}");
        for error in lost.into_iter().filter_map(Result::err) {
            assert!(matches!(error, Error::Held { .. }), "{error:?}");
        }
        // The same with a lease that everyone may take, since its holder is gone.
        let lease = won.into_iter().next().unwrap().unwrap();
        store.release(&lease).await.unwrap();
        let gone = store.acquire("n", &dead(), TTL).await.unwrap();
        let mut tasks = JoinSet::new();
        for _ in 0..32 {
            let store = store.clone();
            tasks.spawn(async move { store.acquire("n", &elsewhere(), TTL).await });
        }
        let won: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!(won.len(), 1);
        assert_eq!(won[0].epoch, gone.epoch + 1);
    }
}

#[tokio::test]
async fn a_process_that_is_known_to_be_gone_is_not_waited_for() {
    let scene = Scene::new("gone").await;
    for store in scene.both() {
        store.acquire("n", &dead(), TTL).await.unwrap();
        let lease = store.acquire("n", &Holder::this_process(), TTL).await;
        assert_eq!(lease.unwrap().epoch, 2);
    }
}

#[tokio::test]
async fn a_second_process_gives_up_when_the_first_is_alive_and_takes_over_when_it_is_silent() {
    let scene = Scene::new("refuse").await;
    for store in scene.both() {
        let first = elsewhere();
        let lease = store.acquire("n", &first, BRIEF.ttl).await.unwrap();
        let keeper = Keeper::start(store.clone(), lease, BRIEF);
        let second = Holder::this_process();
        let mut told = Vec::new();
        let refused = take(&store, "n", &second, &BRIEF, Standby::Refuse, |by| {
            told.push(by.holder.clone());
        });
        assert!(is_held(&refused.await.unwrap_err(), &first));
        assert_eq!(told, [first]);
        // Killed: it neither renews nor gives back.
        drop(keeper);
        let lease = take(&store, "n", &second, &BRIEF, Standby::Refuse, |_| {}).await;
        assert_eq!(lease.unwrap().epoch, 2);
    }
}

#[tokio::test]
async fn the_last_write_of_a_killed_process_is_no_sign_of_life() {
    let scene = Scene::new("last_write").await;
    for store in scene.both() {
        let lease = store.acquire("n", &elsewhere(), BRIEF.ttl).await.unwrap();
        let second = Holder::this_process();
        let (looked, has_looked) = tokio::sync::oneshot::channel();
        let mut looked = Some(looked);
        let taken = take(&store, "n", &second, &BRIEF, Standby::Refuse, |_| {
            looked.take().unwrap().send(()).unwrap();
        });
        let late = async {
            has_looked.await.unwrap();
            store.save(&lease, &checkpoint(1)).await.unwrap();
        };
        let (taken, ()) = tokio::join!(taken, late);
        assert_eq!(taken.unwrap().epoch, 2);
    }
}

#[tokio::test]
async fn a_standby_takes_over_within_the_time_to_live_and_the_first_learns_of_it() {
    let scene = Scene::new("standby").await;
    for store in scene.both() {
        let lease = store.acquire("n", &elsewhere(), BRIEF.ttl).await.unwrap();
        let first = Keeper::start(store.clone(), lease.clone(), BRIEF);
        let second = Holder::this_process();
        let standby = tokio::spawn({
            let (store, second) = (store.clone(), second.clone());
            async move { take(&store, "n", &second, &BRIEF, Standby::Wait, |_| {}).await }
        });
        sleep(BRIEF.ttl + BRIEF.ttl / 4).await;
        assert!(!standby.is_finished(), "the first renews its lease");
        assert_eq!(first.state(), LeaseState::Held);
        // As if suspended: nothing is renewed.
        drop(first);
        let silent = Instant::now();
        let taken = standby.await.unwrap().unwrap();
        assert!(silent.elapsed() < BRIEF.ttl * 3);
        assert_eq!((taken.epoch, &taken.holder.id), (2, &second.id));
        // It wakes.
        let second = Holder {
            inherited: lease.holder.remains(),
            ..second
        };
        let first = Keeper::start(store.clone(), lease, BRIEF);
        assert_eq!(first.lost().await, Some(second.clone()));
        assert!(!first.is_valid());
        assert_eq!(first.state(), LeaseState::Lost(Some(second)));
        assert_eq!(first.settled().await, first.state());
        first.unsure().await;
        first.release().await.unwrap();
        store.renew(&taken).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_is_set_or_cleared_while_a_process_works() {
    let scene = Scene::new("by_hand").await;
    for store in scene.both() {
        let holder = elsewhere();
        assert!(!store.clear("n").await.unwrap());
        let lease = store.acquire("n", &holder, TTL).await.unwrap();
        store.save(&lease, &checkpoint(1)).await.unwrap();
        let error = store.set("n", &checkpoint(2)).await.unwrap_err();
        assert!(is_held(&error, &holder), "{error:?}");
        let error = store.clear("n").await.unwrap_err();
        assert!(is_held(&error, &holder), "{error:?}");
        assert_eq!(store.names().await.unwrap(), ["n"]);
        store.release(&lease).await.unwrap();
        store.set("n", &checkpoint(3)).await.unwrap();
        assert_eq!(stored(&store).await, Some(3));
        // The holder had given it back; one that had not could not save over this either.
        let late = store.save(&lease, &checkpoint(4)).await.unwrap_err();
        assert!(late.is_fenced(), "{late:?}");
        assert!(store.clear("n").await.unwrap());
        assert_eq!(stored(&store).await, None);
        assert!(store.names().await.unwrap().is_empty());
        let late = store.save(&lease, &checkpoint(4)).await.unwrap_err();
        assert!(late.is_fenced(), "{late:?}");
        assert_eq!(stored(&store).await, None);
    }
}

#[tokio::test]
async fn a_standby_waits_out_what_passes() {
    let set = ReplicaSet::start(Default::default()).await.unwrap();
    let scene = Scene::on(&set, "waits").await;
    let store = scene.mongodb();
    let admin = scene.client.database("admin");
    let fail = bson::doc! {
        "configureFailPoint": "failCommand", "mode": {"times": 2},
        // One that the driver does not try again by itself.
        "data": {"failCommands": ["aggregate", "update"], "errorCode": 50,
            "namespace": format!("{}.checkpoints", scene.database)},
    };
    admin.run_command(fail).await.unwrap();
    let holder = Holder::this_process();
    let lease = take(&store, "n", &holder, &BRIEF, Standby::Refuse, |_| {}).await;
    assert_eq!(lease.unwrap().epoch, 1);
    assert_eq!(stored(&store).await, None);
}
