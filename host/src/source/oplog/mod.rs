//! x
use crate::{op::*, source::*};
/// x
#[derive(Debug)]
pub struct Tail;
impl Tail {
    /// x
    /// # Errors
    pub async fn next(&mut self) -> Result<Batch, Error> {
        loop {
            tokio::task::yield_now().await
        }
    }
}
