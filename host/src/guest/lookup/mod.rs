//! Documents that a handler asks for while it works.
//!
//! `lookup` takes a query out of guest memory, checks it ([`query`]) and gives it to the module's
//! [`Lookups`]; the answer is parked until `reply` copies it into the guest's own memory. This room
//! decides what may be asked (grants, operators) and how large an answer may be; how the documents
//! are had is the business of whoever implements [`Lookups`].

mod imports;
mod query;

use std::{fmt, time::Duration};

use oplet_sdk::{
    abi::query::DOCUMENTS,
    raw::{Writer, kind},
};

use super::{error::Class, limits::Limits, module::Module};
use crate::op::Timestamp;

pub(super) use imports::{lookup, reply};

/// Where the documents come from that modules look up.
pub trait Lookups: fmt::Debug + Send + Sync {
    /// Finds documents, and puts them into the answer. Blocks for as long as that takes, which is
    /// bounded by the query's times.
    ///
    /// # Errors
    /// [`LookupError`].
    fn find(&self, query: &LookupQuery<'_>, answer: &mut LookupAnswer) -> Result<(), LookupError>;
}

/// What a module asks for; checked, and granted.
#[derive(Debug, Clone, Copy)]
pub struct LookupQuery<'a> {
    /// Who asks.
    pub module: &'a str,
    /// The database to look in.
    pub database: &'a str,
    /// The collection to look in.
    pub collection: &'a str,
    /// Which documents, a BSON document as `find` takes it.
    pub filter: &'a [u8],
    /// Which of their fields, a BSON document as `find` takes it.
    pub projection: Option<&'a [u8]>,
    /// How many documents to find, at most. Where the module gave no limit this is one more than it
    /// may have: so it shows that there are too many.
    pub limit: usize,
    /// The answer is at least as new as this: the cluster time of the op that is handled.
    pub after: Option<Timestamp>,
    /// The deployment of the op that is handled, where several are read.
    pub cluster: Option<&'a str>,
    /// How long the server may take.
    pub time: Duration,
    /// For how long a server that cannot be asked is waited for: not at all where the op can be tried
    /// again.
    pub patience: Duration,
}

/// Why there is no answer. The guest is told which of the two, and can go on without; when it fails,
/// this is why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The server cannot be asked at present: the same will succeed later.
    #[error("{0}")]
    Unavailable(String),
    /// It was asked, and refused, took too long, or found too much.
    #[error("{0}")]
    Failed(String),
}

/// Looks up nothing: where there is no server.
#[derive(Debug, Clone, Copy)]
pub struct NoLookups;

impl Lookups for NoLookups {
    fn find(&self, _query: &LookupQuery<'_>, _: &mut LookupAnswer) -> Result<(), LookupError> {
        let reason = "there is no server here to look up on";
        Err(LookupError::Failed(reason.to_owned()))
    }
}

/// The documents that were found, within the module's limits.
#[derive(Debug)]
pub struct LookupAnswer {
    /// The elements of the array, behind the room for its length.
    elements: Vec<u8>,
    count: usize,
    documents_max: usize,
    bytes_max: usize,
}

impl LookupAnswer {
    /// An answer without documents.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            elements: vec![0; 4],
            count: 0,
            documents_max: limits.lookup_documents,
            bytes_max: limits.lookup_bytes,
        }
    }

    /// Takes a document, which is BSON as the server gave it.
    ///
    /// # Errors
    /// [`LookupError::Failed`] when that makes too many, or too many bytes.
    pub fn push(&mut self, document: &[u8]) -> Result<(), LookupError> {
        if self.count == self.documents_max {
            return Err(LookupError::Failed(format!(
                "more than {} documents were found: narrow the filter, or give a limit",
                self.documents_max
            )));
        }
        self.elements.push(kind::DOCUMENT);
        self.elements
            .extend_from_slice(self.count.to_string().as_bytes());
        self.elements.push(0);
        // Before they are copied: what is over the limit costs no memory.
        if self.elements.len() + document.len() + ENVELOPE_BYTES > self.bytes_max {
            return Err(LookupError::Failed(format!(
                "the documents found are larger than {} bytes: narrow the filter, or give a projection",
                self.bytes_max
            )));
        }
        self.elements.extend_from_slice(document);
        self.count += 1;
        Ok(())
    }

    /// The whole answer, `{documents: [...]}`.
    #[must_use]
    pub fn into_document(mut self) -> Vec<u8> {
        self.elements.push(0);
        let len = self.elements.len() as u32;
        self.elements[..4].copy_from_slice(&len.to_le_bytes());
        let mut document = Vec::with_capacity(self.elements.len() + ENVELOPE_BYTES);
        let mut writer = Writer::new(&mut document);
        writer.raw(DOCUMENTS.as_bytes(), kind::ARRAY, &self.elements);
        writer.finish();
        document
    }
}

/// Bytes of the answer that are neither documents nor their keys.
const ENVELOPE_BYTES: usize = 4 + 1 + DOCUMENTS.len() + 1 + 1 + 1;

/// What an instance needs for its lookups, and what the last one left.
pub(super) struct LookupState {
    module: Module,
    /// The answer that waits for `reply`.
    answer: Option<Vec<u8>>,
    /// How long the lookups of this call have taken.
    spent: Duration,
    /// How a lookup of this call failed, and that as a sentence; that the server was away counts most.
    error: Option<(Class, String)>,
    /// Whether this call has looked up anything.
    is_used: bool,
}

impl LookupState {
    pub(super) fn new(module: &Module) -> Self {
        Self {
            module: module.clone(),
            answer: None,
            spent: Duration::ZERO,
            error: None,
            is_used: false,
        }
    }

    /// Forgets what belonged to the call before.
    #[inline]
    pub(super) fn begin_call(&mut self) {
        if self.is_used {
            (self.answer, self.error) = (None, None);
            (self.spent, self.is_used) = (Duration::ZERO, false);
        }
    }

    /// How this call fails, because of a lookup, when it does.
    pub(super) fn class(&self) -> Option<Class> {
        self.error.as_ref().map(|(class, _)| *class)
    }

    /// What happened in this call: first the lookup, then what the guest made of that.
    pub(super) fn told(&self, message: String) -> String {
        match &self.error {
            None => message,
            Some((_, failed)) if message.is_empty() => failed.clone(),
            Some((_, failed)) => format!("{failed}; then: {message}"),
        }
    }

    fn failed(&mut self, class: Class, sentence: String) {
        if self.class() != Some(Class::LookupUnavailable) {
            self.error = Some((class, sentence));
        }
    }
}
