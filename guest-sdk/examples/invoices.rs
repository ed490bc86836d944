//! A handler and its first op, natively: `cargo run --example invoices`.
//!
//! In a package of its own this is `src/lib.rs`, of the crate types `cdylib` and `rlib`, and `main` is a test.

use oplet_sdk::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Default)]
struct Invoices;

#[derive(Deserialize)]
struct Order {
    number: i64,
    total: f64,
}

#[derive(Serialize)]
struct Invoice<'a> {
    _id: &'a str,
    order: i64,
    amount: f64,
}

impl Handler for Invoices {
    fn filter(&self, op: &Op) -> bool {
        op.namespace() == "shop.orders" && op.get_str("data.status") == Some("paid")
    }

    fn handle(&mut self, op: &Op) -> Outcome {
        let Some(order) = op.data_as::<Order>()? else {
            return Ok(()); // deleted since
        };
        info!("order {} is paid", order.number);
        emit(&Invoice {
            _id: op.op_id(),
            order: order.number,
            amount: order.total,
        })?;
        Ok(())
    }
}

oplet_sdk::export!(Invoices);

#[expect(clippy::print_stdout, reason = "an example shows what comes out")]
fn main() {
    let order = |status: &str| doc! {"_id": 1, "number": 7, "total": 9.5, "status": status};
    for op in [
        Op::insert("shop.orders", order("open")),
        Op::update("shop.orders", order("paid"))
            .updated(doc! {"status": "paid"})
            .pending(),
        Op::insert("shop.orders", doc! {"_id": 2, "status": "paid"}),
    ] {
        println!("{:#?}", oplet_sdk::testing::run(&mut Invoices, &op));
    }
}
