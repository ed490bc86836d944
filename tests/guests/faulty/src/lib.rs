//! Fails in every way that a document tells it to.
//!
//! `{panic: true}` panics, `{loop: true}` never answers, `{grow: true}` asks for 1 GiB, `{retry: true}` and
//! `{reject: true}` answer so, `{later: N}` asks to be called again in `N` ms. Any other op is emitted as `{_id, opId}`.
//! Its configuration may ask for `{refuse: "a reason"}`.
#![forbid(unsafe_code)]

use std::time::Duration;

use oplet_sdk::{Error, Handler, Op, Outcome, bson::RawBsonRef, emit};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Config {
    refuse: Option<String>,
}

struct Faulty;

impl TryFrom<Config> for Faulty {
    type Error = String;

    fn try_from(config: Config) -> Result<Self, String> {
        config.refuse.map_or(Ok(Self), Err)
    }
}

#[derive(Serialize)]
struct Seen<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    _id: Option<RawBsonRef<'a>>,
    #[serde(rename = "opId")]
    op_id: &'a str,
}

impl Handler for Faulty {
    fn handle(&mut self, op: &Op) -> Outcome {
        let asks = |path| op.get_bool(path) == Some(true);
        if asks("data.panic") {
            panic!("told to panic by {}", op.op_id());
        }
        if asks("data.loop") {
            let mut turns = 0_u64;
            loop {
                turns = std::hint::black_box(turns + 1);
            }
        }
        if asks("data.grow") {
            // Each step is written to, so that no host gets away with a promise.
            let mut held = Vec::new();
            for mebibytes in 0..1024 {
                held.push(std::hint::black_box(vec![mebibytes as u8; 1 << 20]));
            }
        }
        if asks("data.retry") {
            return Err(Error::retry("told to retry"));
        }
        if asks("data.reject") {
            return Err(Error::reject("told to reject"));
        }
        if let Some(ms) = op.get_i64("data.later") {
            return Err(Error::retry_after(Duration::from_millis(ms.unsigned_abs())));
        }
        emit(&Seen {
            _id: op.id(),
            op_id: op.op_id(),
        })?;
        Ok(())
    }
}

oplet_sdk::export!(Faulty, config = Config);
