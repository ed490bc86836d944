//! Write Oplet handlers in Rust: WebAssembly modules that see every change in MongoDB.
//!
//! A complete handler. It keeps the orders that were paid, and emits an invoice for each:
//!
//! ```
//! use oplet_sdk::prelude::*;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Default)]
//! struct Invoices;
//!
//! #[derive(Deserialize)]
//! struct Order {
//!     number: i64,
//!     total: f64,
//! }
//!
//! #[derive(Serialize)]
//! struct Invoice<'a> {
//!     _id: &'a str,
//!     order: i64,
//!     amount: f64,
//! }
//!
//! impl Handler for Invoices {
//!     fn filter(&self, op: &Op) -> bool {
//!         op.namespace() == "shop.orders" && op.get_str("data.status") == Some("paid")
//!     }
//!
//!     fn handle(&mut self, op: &Op) -> Outcome {
//!         let Some(order) = op.data_as::<Order>()? else {
//!             return Ok(()); // deleted since
//!         };
//!         emit(&Invoice { _id: op.op_id(), order: order.number, amount: order.total })?;
//!         Ok(())
//!     }
//! }
//!
//! oplet_sdk::export!(Invoices);
//!
//! // Natively, without WebAssembly:
//! let paid = Op::insert("shop.orders", doc! {"_id": 1, "number": 7_i64, "total": 9.5, "status": "paid"});
//! let run = oplet_sdk::testing::run(&mut Invoices, &paid);
//! assert_eq!(run.documents(), [&doc! {"_id": paid.op_id(), "order": 7_i64, "amount": 9.5}]);
//! ```
//!
//! Build it as a `cdylib` for `wasm32-wasip1`, and give the module to `oplet run`:
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib", "rlib"] # rlib: so that tests/ can use it
//!
//! [dependencies]
//! oplet-sdk = "0.1"
//! serde = { version = "1", features = ["derive"] }
//! ```
//!
//! # What a handler may count on
//!
//! - [`Handler::filter`] is asked first and is cheap: [`Op`] borrows the input, reads raw bytes where they lie, and
//!   allocates nothing. It may read `data` of an update from the oplog too: see [`Op::is_pending`].
//! - [`Handler::handle`] emits with [`emit`]; what it emitted is delivered when it answers `Ok`, and dropped otherwise.
//! - An op may come again, after a crash for instance, and then carries the same [`Op::op_id`].
//! - A handler is kept for as long as its module runs, one in each lane, so it may keep state in memory. It can hand it
//!   to the next version of the module, see [`State`]; what must survive a crash belongs into a sink. After a panic a
//!   fresh handler takes over.
//! - [`lookup`](lookup()) reads other collections, where the module's configuration grants it.
//! - [`testing`] runs a handler natively, over the same code that the exported functions run.
//!
//! The module compiles without any `unsafe` of the author's, `#![forbid(unsafe_code)]` included.
//!
//! # Features
//!
//! | feature | default | what for |
//! |---|---|---|
//! | `serde` | yes | documents, outputs, configuration and state as types of the author's: [`Op::data_as`], [`emit()`], `export!(.., config = ..)`, [`State::new`] and [`State::read`], [`Lookup::one`] and [`Lookup::all`] |
//!
//! Without it a module is smaller: [`Op::get`] and its sisters read, [`emit_raw`] emits what `rawdoc!` makes.
#![deny(unsafe_code)]

pub mod abi;
pub mod raw;

mod calls;
#[cfg(feature = "serde")]
mod config;
#[cfg(feature = "serde")]
mod decode;
#[macro_use]
mod export;
mod fields;
mod handler;
mod host;
mod kinds;
mod lookup;
mod namespace;
mod op;
mod output;
#[cfg(any(target_family = "wasm", test))]
mod region;
mod report;
mod state;
mod update;
mod value;

#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use bson;

#[cfg(feature = "serde")]
pub use decode::DecodeError;
pub use handler::{Error, Handler, Outcome};
pub use kinds::{Operation, Source};
pub use lookup::{Documents, Lookup, LookupError, lookup};
pub use namespace::Namespace;
pub use op::{Op, Txn};
pub use output::{EmitError, Sink, emit_raw, emit_raw_to, sink};
#[cfg(feature = "serde")]
pub use output::{emit, emit_to};
pub use report::{Level, count, log};
pub use state::State;
pub use update::{TruncatedArray, UpdateDescription};

/// What most handlers use: `use oplet_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Error, Handler, Namespace, Op, Outcome, Sink, Source, State,
        bson::{DateTime, Document, doc},
        count, debug, emit_raw, emit_raw_to, error, info, lookup, sink, trace, warn,
    };
    #[cfg(feature = "serde")]
    pub use crate::{emit, emit_to};
}

/// The examples of the front page are tested, too.
#[cfg(all(doctest, feature = "serde"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[doc(hidden)]
pub mod __private {
    //! What [`export!`](crate::export) expands to; not for use by hand.
    #[cfg(not(target_family = "wasm"))]
    pub use crate::calls::filter_natively;
    #[cfg(feature = "serde")]
    pub use crate::config::{from_config, from_no_config};
    #[cfg(all(target_family = "wasm", feature = "serde"))]
    pub use crate::export::configure;
    #[cfg(target_family = "wasm")]
    pub use crate::export::{
        Slot, alloc, filter, flush, handle, initialize, pipeline, restore, save, tick,
    };
}
