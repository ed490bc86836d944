//! A handler that looks something up, natively: `cargo run --example enrich`.
//!
//! Its module needs `lookup = ["shop.customers"]` in its configuration.

use oplet_sdk::{bson::rawdoc, prelude::*, testing};
use serde::Deserialize;

#[derive(Default)]
struct Enrich;

#[derive(Deserialize)]
struct Customer {
    name: String,
}

impl Handler for Enrich {
    fn filter(&self, op: &Op) -> bool {
        op.namespace() == "shop.orders" && !op.is_delete()
    }

    fn handle(&mut self, op: &Op) -> Outcome {
        let Some(id) = op.get("data.customer") else {
            return Err(Error::reject("an order of nobody"));
        };
        let customer: Option<Customer> = lookup("shop.customers", rawdoc! {"_id": id})
            .projection(doc! {"name": 1})
            .one()?;
        // It may be on its way: the op comes again later.
        let customer = customer.ok_or_else(|| Error::retry("no such customer yet"))?;
        emit(&doc! {"_id": op.op_id(), "customer": customer.name})?;
        Ok(())
    }
}

oplet_sdk::export!(Enrich);

#[expect(clippy::print_stdout, reason = "an example shows what comes out")]
fn main() {
    testing::set_collection("shop.customers", [doc! {"_id": 7, "name": "Ann"}]);
    for customer in [7, 8] {
        let op = Op::insert("shop.orders", doc! {"_id": 1, "customer": customer});
        println!("{:#?}", testing::run(&mut Enrich, &op));
    }
}
