//! What is read directly.

use std::num::NonZeroU32;

use clap::Args;
use oplet::{control::DirectReadOptions, op::Namespace};

use crate::config;

/// What is read before changes are followed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Direct reads")]
pub(crate) struct DirectReadArgs {
    /// Read what lies in this collection or view first, then its changes, without a gap; may be
    /// repeated
    #[arg(long, value_name = "NS", value_parser = config::collection)]
    pub(crate) direct_read: Vec<Namespace>,
    /// Read a collection in so many segments more than one; 0 goes by its size, a negative number
    /// reads it in one
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true,
        value_parser = clap::value_parser!(i32).range(-1_000_000..=1_000_000))]
    pub(crate) direct_read_split: i32,
    /// How many cursors read side by side, over all collections of a deployment
    #[arg(long, value_name = "N", default_value = "4",
        value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) direct_read_concurrency: u16,
    /// Read no document beyond the largest `_id` at the start; it comes as a change
    #[arg(long)]
    pub(crate) direct_read_bounded: bool,
    /// Read so many documents a second at most [default: no bound]
    #[arg(long, value_name = "DOCUMENTS")]
    pub(crate) direct_read_rate: Option<NonZeroU32>,
}

impl DirectReadArgs {
    /// As the library takes them.
    pub(super) fn options(&self) -> DirectReadOptions {
        DirectReadOptions {
            namespaces: self.direct_read.clone(),
            split: self.direct_read_split,
            concurrency: self.direct_read_concurrency.into(),
            bounded: self.direct_read_bounded,
            documents_per_second: self.direct_read_rate,
        }
    }
}
