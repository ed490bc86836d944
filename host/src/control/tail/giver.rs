//! The way of what was read to the stream: past the filters, with the documents of updates.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{
    Batch, Change, Error,
    batch::Part,
    handle::Shared,
    stream::{Content, Item},
};
use crate::{
    checkpoint::AckWindow,
    flow::{Documents, Lookup},
    op::{self, Acknowledge as _, BatchTicket, Op},
};

/// Gives what one session of a tail reads to its stream. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::control) struct Giver {
    shared: Arc<Shared>,
    window: Arc<AckWindow>,
    lookup: Lookup,
    items: mpsc::Sender<Item>,
    generation: u64,
}

impl Giver {
    /// For the session that is at work now.
    pub(super) fn new(shared: Arc<Shared>, lookup: Lookup, items: mpsc::Sender<Item>) -> Self {
        Self {
            window: shared.window(),
            generation: shared.generation(),
            shared,
            lookup,
            items,
        }
    }

    /// The same for another session.
    pub(super) fn renewed(&self) -> Self {
        Self::new(self.shared.clone(), self.lookup.clone(), self.items.clone())
    }

    /// Gives what the filters accept of a batch that was admitted; waits until the stream has room.
    ///
    /// # Errors
    /// When documents cannot be looked up, or nobody takes anything any more.
    pub(in crate::control) async fn give(
        &self,
        batch: &Arc<op::Batch>,
        ticket: BatchTicket,
    ) -> Result<(), Error> {
        let filters = &self.shared.options.namespace_filters;
        let is_wanted = |place: &u32| {
            let op = batch.op(*place as usize);
            filters.iter().all(|filter| filter(&op))
        };
        let (wanted, refused): (Vec<_>, Vec<_>) = (0..batch.len() as u32).partition(is_wanted);
        if !refused.is_empty() {
            self.window.acknowledge(ticket, &refused);
        }
        let mut rest = &wanted[..];
        while !rest.is_empty() {
            // The documents of a whole batch may be more than is fetched in one go.
            let (documents, looked_up) = self.look_up(batch, rest).await?;
            let (now, later) = rest.split_at(looked_up);
            let part = Arc::new(Part::new(
                batch.clone(),
                documents,
                (self.window.clone(), ticket),
                self.generation,
            ));
            if let Some(places) = self.filter(&part, now) {
                let content = Content::Batch(Batch { part, places });
                self.send(content).await?;
            }
            rest = later;
        }
        Ok(())
    }

    /// Fetches the documents of updates, and tells of how many of the ops everything is known.
    async fn look_up(
        &self,
        batch: &op::Batch,
        places: &[u32],
    ) -> Result<(Documents, usize), Error> {
        let mut documents = Documents::default();
        let ops = || places.iter().map(|&place| batch.op(place as usize));
        let pending: Vec<Op<'_>> = ops().filter(Op::is_pending).collect();
        if pending.is_empty() {
            return Ok((documents, places.len()));
        }
        let fetched = self.lookup.fetch(&pending, &mut documents).await;
        fetched.map_err(Error::Lookup)?;
        let is_known = |op: &Op<'_>| !op.is_pending() || documents.get(op).is_some();
        let known = ops().take_while(is_known).count();
        Ok((documents, known))
    }

    /// Which of these the filters accept, if any.
    fn filter(&self, part: &Arc<Part>, places: &[u32]) -> Option<Arc<[u32]>> {
        let filters = &self.shared.options.filters;
        if filters.is_empty() {
            return Some(places.into());
        }
        let is_wanted = |place: &u32| {
            let change = Change::new(part.clone(), *place);
            filters.iter().all(|filter| filter(&change))
        };
        let (wanted, refused): (Vec<u32>, Vec<u32>) =
            places.iter().partition(|place| is_wanted(place));
        part.acknowledge(&refused);
        (!wanted.is_empty()).then(|| wanted.into())
    }

    async fn send(&self, content: Content) -> Result<(), Error> {
        let generation = self.generation;
        let sent = self
            .items
            .send(Item {
                generation,
                content,
            })
            .await;
        sent.map_err(|_| Error::Stopped)
    }
}
