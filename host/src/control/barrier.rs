//! Commands are a barrier across the lanes.
//!
//! A command (`drop`, `renameCollection`, `create`, ...) concerns all documents of its collection or
//! database, and these are spread over the lanes. So what comes before it is handled before it, and
//! what comes after it is handled after it, whatever stays in order otherwise; and their outputs are
//! accepted by the sinks in that order, too, although a sink has several workers.
//!
//! Nobody but the stream waits, so that there is no circle: the lanes know nothing of barriers, and
//! work, retry, switch modules and stand still at a closed gate as ever. A thrown gate ends the wait.

use std::{ops::Range, sync::Arc};

use oplet_sdk::raw::Walk;

use super::delivery::Delivery;
use crate::{
    checkpoint::AckWindow,
    flow::{Closed, Dispatcher, Gate, OrderingGuarantee},
    op::{Batch, BatchTicket, Op},
};

/// Hands one stream's batches to the lanes, commands by themselves.
#[derive(Debug)]
pub(super) struct Barrier {
    pub(super) dispatcher: Dispatcher,
    pub(super) ordering: OrderingGuarantee,
    pub(super) window: Arc<AckWindow>,
    pub(super) delivery: Arc<Delivery>,
    pub(super) gate: Gate,
}

impl Barrier {
    /// Hands a batch to the lanes; waits while they have too much to do, and around commands. A batch
    /// without commands costs nothing more. Not cancellation safe.
    ///
    /// # Errors
    /// [`Closed`] when a lane has ended, or the gate was thrown: what was not handed over is left alone.
    pub(super) async fn dispatch(
        &mut self,
        batch: &Arc<Batch>,
        ticket: BatchTicket,
    ) -> Result<(), Closed> {
        let mut done = 0;
        // Where one lane keeps the order of everything, and one worker of each sink, there is nothing to
        // wait for.
        if self.ordering != OrderingGuarantee::Oplog {
            for place in batch.commands() {
                self.hand_over(batch, done..place, ticket).await?;
                self.settle(batch, place, place, ticket).await?;
                done = place + 1;
                self.hand_over(batch, place..done, ticket).await?;
                self.settle(batch, place, done, ticket).await?;
            }
        }
        self.hand_over(batch, done..batch.len(), ticket).await
    }

    async fn hand_over(
        &mut self,
        batch: &Arc<Batch>,
        places: Range<usize>,
        ticket: BatchTicket,
    ) -> Result<(), Closed> {
        match places.is_empty() {
            true => Ok(()),
            false => self.dispatcher.dispatch(batch, places, ticket).await,
        }
    }

    /// Waits until everything that was handed over is handled and delivered, or lies in the dead
    /// letters; of what waits for another try, only the ops that share a namespace with the command:
    /// others may be put off for as long as their module likes.
    async fn settle(
        &self,
        batch: &Batch,
        command: usize,
        handed_over: usize,
        ticket: BatchTicket,
    ) -> Result<(), Closed> {
        let command = Concerned::by(&batch.op(command));
        let settled = async {
            self.dispatcher.worked_off().await?;
            // Also what other namespaces led to: who can tell what the command's outputs are about?
            self.delivery.flush().await;
            self.window
                .done_up_to(ticket, handed_over, |op| command.is(op))
                .await;
            // Documents that are read come by ways of their own.
            self.window.reads_done(|op| command.is(op)).await;
            Ok(())
        };
        tokio::select! {
            settled = settled => settled,
            () = self.gate.thrown() => Err(Closed),
        }
    }
}

/// The namespaces that a command concerns: that which it acts on, and that which it renames to.
#[derive(Debug, Clone, Copy)]
struct Concerned<'a> {
    namespace: &'a [u8],
    to: Option<&'a [u8]>,
}

impl<'a> Concerned<'a> {
    fn by(command: &Op<'a>) -> Self {
        let to = command.data().and_then(|data| Walk::find(data, "to").ok()?);
        Self {
            namespace: command.namespace_bytes(),
            to: to.and_then(|to| to.text()).map(str::as_bytes),
        }
    }

    /// Whether an op is about one of them, or about a database that one of them lies in.
    fn is(&self, op: &Op<'_>) -> bool {
        let other = op.namespace_bytes();
        let mut all = std::iter::once(self.namespace).chain(self.to);
        all.any(|namespace| lies_in(other, namespace) || lies_in(namespace, other))
    }
}

/// Whether that is the same, or begins with it and a dot. A collection whose name continues another's
/// behind a dot is waited for as well, which does no harm.
fn lies_in(namespace: &[u8], outer: &[u8]) -> bool {
    let rest = namespace.strip_prefix(outer);
    rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'.')
}

#[cfg(test)]
mod tests {
    use bson::{Bson, RawDocumentBuf, doc};

    use super::*;
    use crate::op::batch_of;

    fn op(operation: &str, namespace: &str, data: Bson) -> Batch {
        let op = doc! {
            "_id": 1, "operation": operation, "namespace": namespace,
            "timestamp": bson::Timestamp { time: 1, increment: 1 }, "source": "oplog",
            "data": data, "opId": "1:1:0",
        };
        let bytes = RawDocumentBuf::try_from(&op).unwrap().into_bytes();
        batch_of(&bytes).unwrap()
    }

    #[test]
    fn a_command_concerns_its_namespace_and_what_lies_in_it() {
        let drop = ("shop.orders", doc! {"drop": "orders"});
        let drop_database = ("shop", doc! {"dropDatabase": 1});
        let rename = ("shop.a", doc! {"renameCollection": "shop.a", "to": "old.b"});
        for ((namespace, command), other, expected) in [
            (drop.clone(), "shop.orders", true),
            (drop.clone(), "shop.order", false),
            (drop.clone(), "shop.orders2", false),
            (drop.clone(), "shop", true),
            (drop, "other.orders", false),
            (drop_database.clone(), "shop.orders", true),
            (drop_database.clone(), "shop", true),
            (drop_database, "shopping.orders", false),
            (rename.clone(), "shop.a", true),
            (rename.clone(), "old.b", true),
            (rename.clone(), "old", true),
            (rename, "shop.b", false),
        ] {
            let batch = op("c", namespace, command.into());
            let of_other = op("i", other, doc! {"_id": 1}.into());
            let concerned = Concerned::by(&batch.op(0));
            assert_eq!(
                concerned.is(&of_other.op(0)),
                expected,
                "{namespace} {other}"
            );
        }
    }
}
