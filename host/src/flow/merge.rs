//! Several streams in the one order of cluster time.

use crate::op::{Batch, Position, Timestamp};

/// Brings the ops of several streams into the order of their cluster times.
///
/// An op is given when every other stream has a later one to give, or stands at or past its time:
/// nothing before it can come any more. Ops of one time have no order over streams. An idle stream's
/// position must move, or it holds up the others.
///
/// It holds one batch of each stream at most, so that what it holds is bounded by what one reply is
/// at most. It waits for nothing and reads nothing: who has it asks which streams it
/// [wants](Self::wants).
#[derive(Debug)]
pub struct Merge {
    inputs: Vec<Input>,
}

/// One stream.
#[derive(Debug)]
struct Input {
    /// After all that was given.
    position: Position,
    /// Nothing before this time is to come, but for what is in `batch`.
    reached: Timestamp,
    /// What was not given yet; never without an op.
    batch: Option<Batch>,
    is_over: bool,
}

impl Merge {
    /// Streams that stand there.
    #[must_use]
    pub fn new(positions: impl IntoIterator<Item = Position>) -> Self {
        let input = |position: Position| Input {
            reached: position.timestamp().unwrap_or_default(),
            position,
            batch: None,
            is_over: false,
        };
        Self {
            inputs: positions.into_iter().map(input).collect(),
        }
    }

    /// Whether the stream is to be read on: nothing of it waits.
    #[must_use]
    pub fn wants(&self, stream: usize) -> bool {
        let input = &self.inputs[stream];
        input.batch.is_none() && !input.is_over
    }

    /// Takes the next batch of a stream that is [wanted](Self::wants). One without ops is given back:
    /// it only moves the position, and need not wait.
    ///
    /// # Panics
    /// When something of the stream waits.
    #[must_use]
    pub fn push(&mut self, stream: usize, batch: Batch) -> Option<Batch> {
        let input = &mut self.inputs[stream];
        assert!(input.batch.is_none(), "the stream is not wanted");
        if batch.is_empty() {
            input.pass(&batch, None);
            return Some(batch);
        }
        input.batch = Some(batch);
        None
    }

    /// The stream gives nothing more: nobody waits for it.
    pub fn end(&mut self, stream: usize) {
        self.inputs[stream].is_over = true;
    }

    /// Whether a stream is at its end, and everything of it was given.
    #[must_use]
    pub fn has_ended(&self, stream: usize) -> bool {
        let input = &self.inputs[stream];
        input.is_over && input.batch.is_none()
    }

    /// Whether all streams are at their ends, and everything was given.
    #[must_use]
    pub fn is_over(&self) -> bool {
        (0..self.inputs.len()).all(|stream| self.has_ended(stream))
    }

    /// The next ops, all of one stream; none while that may give earlier ones for which it
    /// [waits](Self::waits_for).
    pub fn take(&mut self) -> Option<(usize, Batch)> {
        let (stream, first) = self.earliest()?;
        let others = self.inputs.iter().enumerate();
        let bound = others
            .filter(|(other, _)| *other != stream)
            .filter_map(|(_, input)| input.nothing_before())
            .min();
        // Without others there is nothing to wait for.
        let is_in_turn = |time: Timestamp| bound.is_none_or(|bound| time <= bound);
        if !is_in_turn(first) {
            return None;
        }
        let input = &mut self.inputs[stream];
        let mut batch = input.batch.take()?;
        let len = batch.ops().take_while(|op| is_in_turn(op.timestamp()));
        let len = len.count();
        if len < batch.len() {
            let part = batch.split_to(len, input.position.clone());
            input.batch = Some(batch);
            return Some((stream, part));
        }
        let last = batch.op(len - 1).timestamp();
        input.pass(&batch, Some(last));
        Some((stream, batch))
    }

    /// The stream that holds up what waits; none when nothing waits, or it can be given.
    #[must_use]
    pub fn waits_for(&self) -> Option<usize> {
        let (_, first) = self.earliest()?;
        let inputs = self.inputs.iter().enumerate();
        let behind = inputs.filter(|(_, input)| {
            input.batch.is_none() && input.nothing_before().is_some_and(|bound| bound < first)
        });
        let last = behind.min_by_key(|(_, input)| input.reached);
        last.map(|(stream, _)| stream)
    }

    /// The stream whose waiting op is the earliest, and its time.
    fn earliest(&self) -> Option<(usize, Timestamp)> {
        let inputs = self.inputs.iter().enumerate();
        let firsts = inputs.filter_map(|(stream, input)| Some((stream, input.first()?)));
        firsts.min_by_key(|(_, first)| *first)
    }
}

impl Input {
    fn first(&self) -> Option<Timestamp> {
        Some(self.batch.as_ref()?.op(0).timestamp())
    }

    /// No op before this time is to come; none when no op is.
    fn nothing_before(&self) -> Option<Timestamp> {
        match self.first() {
            None if self.is_over => None,
            first => Some(first.unwrap_or(self.reached)),
        }
    }

    /// A batch was given.
    fn pass(&mut self, batch: &Batch, last: Option<Timestamp>) {
        self.position = batch.position().clone();
        // Where a position cannot be told as a time, the ops can.
        let times = [self.position.timestamp(), last];
        if let Some(reached) = times.into_iter().flatten().max() {
            self.reached = reached;
        }
    }
}

#[cfg(test)]
mod tests;
