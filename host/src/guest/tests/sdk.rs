//! Handlers written with the Rust SDK, by their exports: what their native tests cannot show.

use bson::DateTime;
use oplet_testkit::guest;

use super::*;

/// A module of this repository, built by `scripts/build-guests`.
fn built(name: &str) -> Module {
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(&Options::default()).unwrap());
    let wasm = std::fs::read(guest(name).unwrap()).unwrap();
    Module::load(&ENGINE, name, &wasm, Settings::default()).unwrap()
}

fn documents(instance: &Instance) -> Vec<Document> {
    let documents = outputs(instance).into_iter();
    documents
        .map(|(_, bytes)| Document::try_from(RawDocumentBuf::from_bytes(bytes).unwrap()).unwrap())
        .collect()
}

#[test]
fn what_filter_found_of_an_op_is_not_taken_for_another() {
    let new_user = |cluster: &str, name: &str| {
        bytes(doc! {
            "operation": "i", "namespace": "users.users", "opId": name, "cluster": cluster, "_id": 1,
            "data": {"_id": 1, "username": name, "email": format!("{name}@example.com")},
        })
    };
    // Everything lies at another place in the one than in the other.
    let (ann, bea) = (new_user("c", "annabella"), new_user("cluster-22", "bea"));
    let mut instance = built("new_users").instantiate(&sinks(), None).unwrap();
    let handled = |instance: &mut Instance, name: &str| {
        assert_eq!(instance.handle(), Ok(Outcome::Done));
        let to = format!("{name}@example.com");
        let mails = documents(instance);
        let mail = mails.first().expect("there is a mail");
        assert_eq!(
            (mail.get_str("_id").ok(), mail.get_str("to").ok()),
            (Some(name), Some(to.as_str()))
        );
    };
    for _ in 0..2 {
        instance.write_op(&ann).unwrap();
        assert_eq!(instance.filter(false), Ok(Verdict::Keep));
        handled(&mut instance, "annabella");
        instance.write_op(&ann).unwrap();
        assert_eq!(instance.filter(false), Ok(Verdict::Keep));
        instance.write_op(&bea).unwrap();
        handled(&mut instance, "bea");
        assert_eq!(instance.filter(false), Ok(Verdict::Keep));
        assert_eq!(instance.filter(false), Ok(Verdict::Keep));
        handled(&mut instance, "bea");
        handled(&mut instance, "bea");
    }
}

#[test]
fn windows_go_from_version_to_version_and_are_closed_by_a_tick() {
    let module = built("sales_windows");
    let config = bytes(doc! {"window_seconds": 60});
    let version = || module.instantiate(&sinks(), Some(&config)).unwrap();
    let order = bytes(doc! {
        "operation": "i", "namespace": "shop.orders", "opId": "61:1", "timestamp": bson::Timestamp { time: 61, increment: 1 },
        "_id": 1, "data": {"_id": 1, "region": "north", "total": 2.5},
    });
    let mut old = version();
    old.write_op(&order).unwrap();
    assert_eq!(old.filter(false), Ok(Verdict::Keep));
    assert_eq!(old.handle(), Ok(Outcome::Done));
    let state = old.save().unwrap().expect("it has a state");

    let mut new = version();
    new.restore(&state).unwrap();
    new.tick(119_999).unwrap();
    assert_eq!(documents(&new), []);
    new.tick(120_000).unwrap();
    assert_eq!(
        documents(&new),
        [doc! {
            "_id": {"start": DateTime::from_millis(60_000), "region": "north"},
            "$inc": {"orders": 1_i64, "total": 2.5},
        }]
    );
    let error = new.restore(&bytes(doc! {"v": 2, "state": []})).unwrap_err();
    assert_eq!(error.class, Class::Refused);
    assert_eq!(error.message, "the state has the unknown form 2");
    assert!(!new.is_dead());
}

#[test]
fn a_configuration_is_refused_by_the_name_of_its_key() {
    let config = bytes(doc! {"window_seconds": "1m"});
    let error = built("sales_windows")
        .instantiate(&sinks(), Some(&config))
        .unwrap_err();
    assert_eq!(error.class, Class::Refused);
    assert_eq!(
        error.message,
        r#"`window_seconds`: invalid type: string "1m", expected u32"#
    );
}
