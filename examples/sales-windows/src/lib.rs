//! Adds up what each region sells, window by window, and hands its open windows to the next version of itself.
//!
//! Each lane adds up the ops that it sees, so a window has a part from each: a sink with `mode = "update"` puts them
//! together by their `_id`. What lies in an open window when the host is killed is lost, see `docs/delivery.md`; what
//! must not be lost is emitted with its op and added up by the sink.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use oplet_sdk::{
    Error, Handler, Op, Outcome, State,
    bson::{DateTime, doc},
    count, emit,
};
use serde::{Deserialize, Serialize};

/// The form that [`SalesWindows`] saves its windows in.
const STATE_VERSION: i32 = 1;

/// The module's `config` table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long a window is.
    window_seconds: u32,
}

/// The windows that are still open.
#[derive(Debug)]
pub struct SalesWindows {
    window_ms: i64,
    open: BTreeMap<i64, BTreeMap<String, Sales>>,
}

/// What one region sold in one window.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sales {
    orders: i64,
    total: f64,
}

#[derive(Deserialize)]
struct Order<'a> {
    region: &'a str,
    total: f64,
}

impl TryFrom<Config> for SalesWindows {
    type Error = String;

    fn try_from(config: Config) -> Result<Self, String> {
        if config.window_seconds == 0 {
            return Err("`window_seconds` is 0".to_owned());
        }
        Ok(Self {
            window_ms: i64::from(config.window_seconds) * 1000,
            open: BTreeMap::new(),
        })
    }
}

impl SalesWindows {
    /// Emits the windows that ended by then.
    fn close(&mut self, now: DateTime) -> Outcome {
        while let Some(window) = self.open.first_entry()
            && window.key() + self.window_ms <= now.timestamp_millis()
        {
            let start = DateTime::from_millis(*window.key());
            for (region, sales) in window.remove() {
                emit(&doc! {
                    "_id": { "start": start, "region": region },
                    "$inc": { "orders": sales.orders, "total": sales.total },
                })?;
            }
            count("windows_closed", 1);
        }
        Ok(())
    }
}

impl Handler for SalesWindows {
    fn filter(&self, op: &Op) -> bool {
        op.is_insert() && op.namespace() == "shop.orders"
    }

    fn handle(&mut self, op: &Op) -> Outcome {
        let Some(Order { region, total }) = op.data_as()? else {
            return Ok(());
        };
        let at_ms = i64::from(op.timestamp().time) * 1000;
        let window = self.open.entry(at_ms - at_ms % self.window_ms).or_default();
        let sales = window.entry(region.to_owned()).or_default();
        sales.orders += 1;
        sales.total += total;
        Ok(())
    }

    fn tick(&mut self, now: DateTime) -> Outcome {
        self.close(now)
    }

    fn save(&self) -> Result<Option<State<'_>>, Error> {
        // A list, since a map's keys are text.
        let open: Vec<_> = self.open.iter().collect();
        Ok(Some(State::new(STATE_VERSION, &open)?))
    }

    fn restore(&mut self, state: &State<'_>) -> Outcome {
        if state.version() != STATE_VERSION {
            return Err(state.unknown());
        }
        let open: Vec<(i64, BTreeMap<String, Sales>)> = state.read()?;
        self.open = open.into_iter().collect();
        Ok(())
    }
}

oplet_sdk::export!(SalesWindows, config = Config);
