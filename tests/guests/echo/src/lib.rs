//! Passes every op on as it is: a handler that leaves out all it can.
#![forbid(unsafe_code)]

use oplet_sdk::Handler;

#[derive(Default)]
struct Echo;

impl Handler for Echo {}

oplet_sdk::export!(Echo);
