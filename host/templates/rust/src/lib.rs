//! Every order in `shop.orders` that is paid becomes an invoice.
#![forbid(unsafe_code)]

use oplet_sdk::{Handler, Op, Outcome, emit};
use serde::{Deserialize, Serialize};

/// Writes the invoices. It needs no state.
#[derive(Debug, Default)]
pub struct Invoices;

/// What is read of an order.
#[derive(Deserialize)]
struct Order<'a> {
    customer: &'a str,
    total: f64,
}

/// What is written.
#[derive(Serialize)]
struct Invoice<'a> {
    /// The same when the change comes again, so that whoever takes it can tell.
    _id: &'a str,
    customer: &'a str,
    amount: f64,
}

impl Handler for Invoices {
    /// Says which changes are wanted. Asked for each, so it should be cheap.
    fn filter(&self, op: &Op) -> bool {
        op.namespace() == "shop.orders" && op.get_str("data.status") == Some("paid")
    }

    /// Called for those. `?` rejects an order that cannot be read, with the reason.
    fn handle(&mut self, op: &Op) -> Outcome {
        let Some(Order { customer, total }) = op.data_as()? else {
            return Ok(()); // deleted since
        };
        emit(&Invoice {
            _id: op.op_id(),
            customer,
            amount: total,
        })?;
        Ok(())
    }
}

oplet_sdk::export!(Invoices);
