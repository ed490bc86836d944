//! One event of a change stream, borrowed from its bytes.

use oplet_sdk::raw::{Element, Malformed, Walk};

use super::lean;
use crate::op::Timestamp;

/// Why an event could not be decoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the event has no usable `{0}`")]
    Field(&'static str),
}

/// The parts of an event that matter, as they stand in it.
#[derive(Default)]
pub(super) struct Event<'a> {
    pub(super) token: Option<&'a [u8]>,
    pub(super) operation_type: &'a str,
    pub(super) cluster_time: Option<Timestamp>,
    pub(super) wall_time_ms: Option<i64>,
    pub(super) ns: Option<&'a [u8]>,
    pub(super) to: Option<&'a [u8]>,
    /// Whether it names the collection that it is about, as expanded events do, but for those of views.
    pub(super) has_collection: bool,
    pub(super) operation_description: Option<&'a [u8]>,
    pub(super) state_before: Option<&'a [u8]>,
    pub(super) document_key: Option<&'a [u8]>,
    pub(super) full_document: Option<&'a [u8]>,
    pub(super) before: Option<&'a [u8]>,
    pub(super) update_description: Option<&'a [u8]>,
    pub(super) lsid: Option<&'a [u8]>,
    pub(super) txn_number: Option<i64>,
    pub(super) left_out: Option<&'a [u8]>,
}

impl<'a> Event<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut event = Self::default();
        for element in Walk::new(bytes)? {
            let element = element?;
            match element.key {
                b"_id" => event.token = element.document(),
                b"operationType" => event.operation_type = element.text().unwrap_or_default(),
                b"clusterTime" => event.cluster_time = element.timestamp().map(Timestamp::from),
                b"wallTime" => event.wall_time_ms = element.date_ms(),
                b"ns" => event.ns = element.document(),
                b"to" => event.to = element.document(),
                b"collectionUUID" => event.has_collection = true,
                b"operationDescription" => event.operation_description = element.document(),
                b"stateBeforeChange" => event.state_before = element.document(),
                b"documentKey" => event.document_key = element.document(),
                b"fullDocument" => event.full_document = element.document(),
                b"fullDocumentBeforeChange" => event.before = element.document(),
                b"updateDescription" => event.update_description = element.document(),
                b"lsid" => event.lsid = element.document(),
                b"txnNumber" => event.txn_number = element.int64(),
                lean::LEFT_OUT => event.left_out = element.array(),
                _ => {}
            }
        }
        Ok(event)
    }
}

/// `db.coll`, or `db`, of `{db, coll}`.
pub(super) fn namespace_text(ns: &[u8]) -> Option<String> {
    let mut text = Walk::find(ns, "db").ok()??.text()?.to_owned();
    if let Some(collection) = Walk::find(ns, "coll").ok()? {
        text.push('.');
        text.push_str(collection.text()?);
    }
    Some(text)
}

/// The `_id` of a document key, and whether it is all of the key.
pub(super) fn document_id(document_key: &[u8]) -> Result<(Element<'_>, bool), Error> {
    let mut id = None;
    let mut len = 0;
    for element in Walk::new(document_key)? {
        let element = element?;
        len += 1;
        if element.key == b"_id" {
            id = Some(element);
        }
    }
    Ok((id.ok_or(Error::Field("documentKey._id"))?, len == 1))
}
