//! x
use std::sync::Arc;
use crate::{mongo::Server, op::*, source::*};
/// x
#[derive(Debug)]
pub struct Tail;
impl Tail { /// x
 pub fn new(_: &Server, _: Options, _: Arc<Stats>) -> Self { Self }
/// x
 /// # Errors
 pub async fn next(&mut self)->std::result::Result<Batch,Error>{ loop { tokio::task::yield_now().await } } }
