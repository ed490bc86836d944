//! Prints the changes of a collection, and goes on where it ended when it is started again:
//!
//! ```text
//! cargo run --release -p oplet --example tail -- mongodb://localhost:27017 shop.orders
//! ```
//!
//! Ctrl-C ends it between two changes.
#![expect(clippy::print_stdout, reason = "the changes are the output")]

use std::error::Error;

use oplet::{TailBuilder, op::Operation, tail::Event};
use serde::Deserialize;

/// What this program knows of an order; whatever else is in one does not matter to it.
#[derive(Debug, Deserialize)]
struct Order {
    customer: Option<String>,
}

#[tokio::main]
#[allow(dead_code, reason = "a test runs `print_changes` by itself")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(uri), Some(namespace)) = (arguments.next(), arguments.next()) else {
        return Err("usage: tail URI DB.COLLECTION".into());
    };
    print_changes(&uri, &namespace, "example-tail", |line| println!("{line}")).await
}

/// Gives a line for each change, until it is told to end. Its position is kept under `name`.
pub(crate) async fn print_changes(
    uri: &str,
    namespace: &str,
    name: &str,
    mut print: impl FnMut(String),
) -> Result<(), Box<dyn Error>> {
    let mut changes = TailBuilder::new(uri)
        .watch(namespace.parse()?)
        .filter(|change| !change.is_command())
        .save_as(name)
        .start()
        .await?
        .ops();
    let handle = changes.handle();

    // Faults that pass are no errors: who wants to know of them listens.
    let mut events = handle.events();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Reconnecting { error, .. } = event {
                tracing::warn!(error, "the server is away");
            }
        }
    });
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            // What was not done comes again at the next start.
            let _ = handle.stop().await;
        }
    });

    while let Some(change) = changes.next().await {
        let change = change?;
        let verb = match change.operation() {
            Operation::Insert => "new",
            Operation::Update => "changed",
            Operation::Delete => "gone",
            Operation::Command => continue,
        };
        let customer = change.data_as::<Order>()?.and_then(|order| order.customer);
        let id = change.id().ok_or("a change of a document has its `_id`")?;
        print(format!("{verb} {id:?} {}", customer.unwrap_or_default()));
        // Now it is done: after a crash it does not come again, but for the last second's.
        change.ack();
    }
    Ok(())
}
