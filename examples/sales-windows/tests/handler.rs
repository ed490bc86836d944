//! The handler, run natively.

use oplet_sdk::{
    Op,
    bson::{DateTime, Document, doc},
    testing,
};
use sales_windows::{Config, SalesWindows};

fn configured(config: Document) -> Result<SalesWindows, String> {
    testing::configure::<SalesWindows, Config>(&config)
}

fn by_the_minute() -> SalesWindows {
    configured(doc! {"window_seconds": 60}).unwrap()
}

fn sell(sales: &mut SalesWindows, seconds: u32, region: &str, total: f64) {
    let order = doc! {"_id": 1, "region": region, "total": total};
    let op = Op::insert("shop.orders", order).timestamp(seconds, 1);
    assert_eq!(testing::run(sales, &op).outcome, Ok(()));
}

fn closed_at(sales: &mut SalesWindows, seconds: i64) -> Vec<Document> {
    let run = testing::tick(sales, DateTime::from_millis(seconds * 1000));
    run.documents().into_iter().cloned().collect()
}

fn window(seconds: i64, region: &str, orders: i64, total: f64) -> Document {
    doc! {
        "_id": {"start": DateTime::from_millis(seconds * 1000), "region": region},
        "$inc": {"orders": orders, "total": total},
    }
}

#[test]
fn windows_are_emitted_when_they_end() {
    let mut sales = by_the_minute();
    sell(&mut sales, 60, "north", 1.0);
    sell(&mut sales, 119, "north", 2.0);
    sell(&mut sales, 100, "south", 4.0);
    sell(&mut sales, 120, "north", 8.0);
    assert_eq!(closed_at(&mut sales, 119), [] as [Document; 0]);
    assert_eq!(
        closed_at(&mut sales, 120),
        [window(60, "north", 2, 3.0), window(60, "south", 1, 4.0)]
    );
    assert_eq!(closed_at(&mut sales, 1000), [window(120, "north", 1, 8.0)]);
}

#[test]
fn open_windows_go_to_the_next_version() {
    let (mut old, mut new) = (by_the_minute(), by_the_minute());
    sell(&mut old, 60, "north", 1.0);
    testing::hand_over(&old, &mut new).unwrap();
    sell(&mut new, 61, "north", 2.0);
    assert_eq!(closed_at(&mut new, 120), [window(60, "north", 2, 3.0)]);
    // Until it is told that the new one has taken over, the old one has lost nothing.
    assert_eq!(closed_at(&mut old, 120), [window(60, "north", 1, 1.0)]);
    let refused = testing::restore(&mut new, &doc! {"v": 2, "state": []});
    assert_eq!(refused, Err("the state has the unknown form 2".to_owned()));
}

#[test]
fn a_configuration_is_refused_by_the_name_of_its_key() {
    for (config, reason) in [
        (doc! {}, "missing field `window_seconds`"),
        (doc! {"window_seconds": 0}, "`window_seconds` is 0"),
        (
            doc! {"window_seconds": "1m"},
            r#"`window_seconds`: invalid type: string "1m", expected u32"#,
        ),
        (
            doc! {"window_seconds": 1, "windows": 1},
            "`windows`: unknown field `windows`, expected `window_seconds`",
        ),
    ] {
        assert_eq!(configured(config).unwrap_err(), reason);
    }
}

#[test]
fn an_order_without_a_region_is_rejected_by_the_name_of_the_field() {
    let op = Op::insert("shop.orders", doc! {"_id": 1, "region": 7, "total": 1.0});
    let outcome = testing::run(&mut by_the_minute(), &op).outcome;
    let error = outcome.unwrap_err().to_string();
    assert!(
        error.starts_with("reject: `data.region`: invalid type"),
        "{error}"
    );
}
