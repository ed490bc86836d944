//! State from one version to the next, ticks, and lookups, by the code that a module's exports run.

use std::collections::BTreeMap;

use oplet_sdk::{
    Error, Handler, LookupError, Op, Outcome, State,
    bson::{Bson, DateTime, Document, RawBsonRef, doc, rawdoc},
    emit, lookup,
    testing::{self, Run},
};
use serde::Deserialize;

/// Counts by status; the first version knew the sum alone.
#[derive(Default)]
struct Old(i64);

#[derive(Default)]
struct New {
    counts: BTreeMap<String, i64>,
}

impl Handler for Old {
    fn save(&self) -> Result<Option<State<'_>>, Error> {
        Ok(Some(State::from_bson(1, self.0)))
    }
}

impl Handler for New {
    fn handle(&mut self, op: &Op) -> Outcome {
        let status = op.get_str("data.status").unwrap_or("none");
        *self.counts.entry(status.to_owned()).or_default() += 1;
        Ok(())
    }

    fn flush(&mut self) -> Outcome {
        Ok(emit(&self.counts)?)
    }

    fn tick(&mut self, now: DateTime) -> Outcome {
        emit(&doc! {"at": now, "counts": self.counts.len() as i64})?;
        self.counts.clear();
        Ok(())
    }

    fn save(&self) -> Result<Option<State<'_>>, Error> {
        Ok(Some(State::new(2, &self.counts)?))
    }

    fn restore(&mut self, state: &State<'_>) -> Outcome {
        self.counts = match state.version() {
            2 => state.read()?,
            1 => BTreeMap::from([("none".to_owned(), state.read()?)]),
            _ => return Err(state.unknown()),
        };
        Ok(())
    }
}

#[test]
fn state_goes_from_version_to_version() {
    let mut new = New::default();
    testing::hand_over(&Old(5), &mut new).unwrap();
    let op = Op::insert("a.b", doc! {"_id": 1, "status": "paid"});
    assert_eq!(testing::run(&mut new, &op).outcome, Ok(()));
    let mut newer = New::default();
    testing::hand_over(&new, &mut newer).unwrap();
    let counts = doc! {"none": 5_i64, "paid": 1_i64};
    assert_eq!(
        testing::save(&newer).unwrap(),
        Some(doc! {"v": 2, "state": counts.clone()})
    );
    assert_eq!(testing::flush(&mut newer).documents(), [&counts]);
}

#[test]
fn a_state_that_is_not_understood_is_refused_with_the_reason() {
    let refused = |state: Document| testing::restore(&mut New::default(), &state).unwrap_err();
    assert_eq!(
        refused(doc! {"v": 3, "state": {}}),
        "the state has the unknown form 3"
    );
    assert_eq!(
        refused(doc! {"v": 2, "state": {"paid": "many"}}),
        r#"`state.paid`: invalid type: string "many", expected i64"#
    );
    assert!(State::from_document(rawdoc! {"v": 1}.as_bytes()).is_none());
    assert!(State::from_document(rawdoc! {"v": 1_i64, "state": 1}.as_bytes()).is_none());
    assert!(State::from_document(b"rubbish").is_none());
}

#[test]
fn a_state_that_cannot_be_saved_is_told() {
    struct Large(String);
    impl Handler for Large {
        fn save(&self) -> Result<Option<State<'_>>, Error> {
            Ok(Some(State::new(1, &self.0)?))
        }
    }
    let saved = |bytes| testing::save(&Large("x".repeat(bytes)));
    assert!(saved(16 << 20).unwrap_err().contains("more than 16777216"));
    assert!(saved((16 << 20) - 100).unwrap().is_some());
    struct Sum(u64);
    impl Handler for Sum {
        fn save(&self) -> Result<Option<State<'_>>, Error> {
            Ok(Some(State::new(1, &self.0)?))
        }
    }
    let error = testing::save(&Sum(u64::MAX)).unwrap_err();
    assert!(error.starts_with("cannot save the state: "), "{error}");
    struct Stateless;
    impl Handler for Stateless {}
    assert_eq!(testing::save(&Stateless), Ok(None));
    assert_eq!(testing::hand_over(&Stateless, &mut New::default()), Ok(()));
    assert_eq!(
        testing::restore(&mut Stateless, &doc! {"v": 1, "state": 1}),
        Ok(()),
        "it has no use for a state"
    );
}

#[test]
fn a_state_is_any_value() {
    let state = State::from_bson(-1, RawBsonRef::String("x"));
    assert_eq!(
        (state.version(), state.value()),
        (-1, RawBsonRef::String("x"))
    );
    assert_eq!(state.read(), Ok("x"));
    let state = State::new(1, &Bson::Null).unwrap();
    assert_eq!(
        (state.value(), state.read()),
        (RawBsonRef::Null, Ok(None::<i32>))
    );
}

#[test]
fn a_tick_tells_the_time() {
    let now = DateTime::from_millis(1_700_000_000_123);
    let run = testing::tick(&mut New::default(), now);
    assert_eq!(run.documents(), [&doc! {"at": now, "counts": 0_i64}]);
}

/// Emits what it looked up.
struct Lookup<F>(F);

impl<F: Fn(&Op) -> Result<Bson, Error>> Handler for Lookup<F> {
    fn handle(&mut self, op: &Op) -> Outcome {
        let found = self.0(op)?;
        Ok(emit(&doc! {"found": found})?)
    }
}

fn looked_up(find: impl Fn(&Op) -> Result<Bson, Error>) -> Run {
    testing::set_collection(
        "shop.customers",
        [
            doc! {"_id": 1, "name": "Ann", "city": "Ulm"},
            doc! {"_id": 2, "name": "Bea", "city": "Ulm"},
            doc! {"_id": 3, "name": 3, "city": "Bonn"},
        ],
    );
    let op = Op::insert("shop.orders", doc! {"_id": 1, "customer": 2});
    testing::run(&mut Lookup(find), &op)
}

#[derive(Deserialize)]
struct Customer {
    name: String,
}

#[test]
fn documents_are_looked_up() {
    let run = looked_up(|op| {
        let id = op.get("data.customer").unwrap();
        let customer: Option<Customer> = lookup("shop.customers", rawdoc! {"_id": id})
            .projection(doc! {"name": 1})
            .one()?;
        Ok(customer.map(|customer| customer.name).into())
    });
    assert_eq!(run.documents(), [&doc! {"found": "Bea"}]);
    assert_eq!(
        run.lookups,
        [doc! {
            "namespace": "shop.customers", "filter": {"_id": 2}, "projection": {"name": 1}, "limit": 1_i64,
        }]
    );

    let names = |limit: Option<u32>| {
        looked_up(move |_| {
            let mut question = lookup("shop.customers", doc! {"city": "Ulm"});
            if let Some(limit) = limit {
                question = question.limit(limit);
            }
            let customers: Vec<Customer> = question.all()?;
            let names: Vec<String> = customers
                .into_iter()
                .map(|customer| customer.name)
                .collect();
            Ok(names.into())
        })
    };
    assert_eq!(names(None).documents(), [&doc! {"found": ["Ann", "Bea"]}]);
    assert_eq!(names(Some(1)).documents(), [&doc! {"found": ["Ann"]}]);

    let raw = looked_up(|_| {
        let found = lookup("shop.customers", doc! {}).documents()?;
        Ok(found
            .iter()
            .map(|document| document.get_i32("_id").unwrap())
            .sum::<i32>()
            .into())
    });
    assert_eq!(raw.documents(), [&doc! {"found": 6}]);
    let none = looked_up(|_| {
        let none: Option<Customer> = lookup("shop.customers", doc! {"_id": 4}).one()?;
        Ok(none.is_none().into())
    });
    assert_eq!(none.documents(), [&doc! {"found": true}]);
}

#[test]
fn a_document_of_another_form_is_told_with_its_place() {
    let run = looked_up(|_| {
        let customer: Option<Customer> = lookup("shop.customers", doc! {"_id": 3}).one()?;
        Ok(customer.is_some().into())
    });
    let Err(Error::Reject(reason)) = run.outcome else {
        panic!("not rejected: {:?}", run.outcome);
    };
    assert_eq!(
        reason,
        "cannot use a document of shop.customers: `name`: invalid type: integer `3`, expected a string"
    );
}

#[test]
fn a_server_that_is_away_is_told() {
    testing::set_unavailable("shop.articles");
    let run = looked_up(|_| match lookup("shop.articles", doc! {}).documents() {
        Err(error @ LookupError::Unavailable) => Err(error.into()),
        other => panic!("not unavailable: {other:?}"),
    });
    let away = "cannot look up: the server cannot be asked at present";
    assert_eq!(run.outcome, Err(Error::reject(away)));
    assert!(run.outputs.is_empty());
}

#[test]
#[should_panic(expected = "no grant for lookups in `shop.secrets`")]
fn without_a_grant_nothing_is_looked_up() {
    looked_up(|_| {
        Ok(lookup("shop.secrets", doc! {})
            .all::<Customer>()?
            .len()
            .to_string()
            .into())
    });
}

#[test]
#[should_panic(expected = "`filter` may not look up")]
fn a_filter_may_not_look_up() {
    struct Curious;
    impl Handler for Curious {
        fn filter(&self, _: &Op) -> bool {
            lookup("shop.customers", doc! {}).documents().is_ok()
        }
    }
    testing::run(&mut Curious, &Op::delete("a.b", 1));
}
