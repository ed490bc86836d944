//! What is read directly, and how; and how that stands.

use std::num::NonZeroU32;

use serde::Serialize;

use crate::op::Namespace;

/// What is read directly, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectReadOptions {
    /// Collections and views, in the order in which they are read.
    pub namespaces: Vec<Namespace>,
    /// Into how many more than one segment a collection is cut; 0 goes by size, a negative number cuts
    /// none.
    pub split: i32,
    /// How many segments of a deployment are read side by side, over all collections.
    pub concurrency: usize,
    /// Reads no document whose `_id` is beyond the largest one at the start: it comes as a change.
    pub bounded: bool,
    /// How many documents are read in a second, at most.
    pub documents_per_second: Option<NonZeroU32>,
}

impl Default for DirectReadOptions {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            split: 0,
            concurrency: 4,
            bounded: false,
            documents_per_second: None,
        }
    }
}

/// How a direct read stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectReadStatus {
    /// What the ops of its deployment carry in the field `cluster`, where several are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The collection or view.
    pub namespace: String,
    /// Names of the modules that its documents go to.
    pub modules: Vec<String>,
    /// `planned`, `reading`, `complete`, or `ended` when the collection is no more there.
    pub state: &'static str,
    /// Documents that were given.
    pub documents: u64,
    /// How many there are, by the server's estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub documents_expected: Option<u64>,
    /// Segments that it was cut into.
    pub segments: u64,
    /// How many of them were read.
    pub segments_read: u64,
    /// How long it took, or takes until now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Why it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
