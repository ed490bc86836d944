//! Documents that a handler asks MongoDB for.

use std::fmt;

use bson::{RawDocument, RawDocumentBuf, rawdoc};
#[cfg(feature = "serde")]
use serde::de::DeserializeOwned;

#[cfg(feature = "serde")]
use crate::decode::{DecodeError, decode};
use crate::{
    abi::{looked_up, query},
    host,
    raw::{Element, Walk, kind},
    value::raw_document,
};

/// Asks for documents of another collection: those of `db.collection` that the filter finds.
///
/// The filter is as for `find`, made by `doc!` or, from borrowed values, by `rawdoc!`. The module needs the grant for
/// that namespace (`lookup` in its configuration), without which the call traps; operators that run JavaScript are
/// refused. Only [`handle`](crate::Handler::handle), [`flush`](crate::Handler::flush) and
/// [`tick`](crate::Handler::tick) may ask. The host bounds time and size, and tries the op again later when the server is
/// away.
///
/// ```
/// use oplet_sdk::{Handler, Op, Outcome, bson::{doc, rawdoc}, emit, lookup, testing};
/// use serde::Deserialize;
///
/// #[derive(Default)]
/// struct Enrich;
///
/// #[derive(Deserialize)]
/// struct Customer {
///     name: String,
/// }
///
/// impl Handler for Enrich {
///     fn handle(&mut self, op: &Op) -> Outcome {
///         let Some(id) = op.get("data.customer") else { return Ok(()) };
///         let customer: Option<Customer> = lookup("shop.customers", rawdoc! {"_id": id})
///             .projection(doc! {"name": 1})
///             .one()?;
///         let name = customer.map_or("nobody".into(), |customer| customer.name);
///         Ok(emit(&doc! {"_id": op.op_id(), "for": name})?)
///     }
/// }
///
/// testing::set_collection("shop.customers", [doc! {"_id": 7, "name": "Ann"}]);
/// let op = Op::insert("shop.orders", doc! {"_id": 1, "customer": 7});
/// let run = testing::run(&mut Enrich, &op);
/// assert_eq!(run.documents(), [&doc! {"_id": op.op_id(), "for": "Ann"}]);
/// ```
pub fn lookup<F>(namespace: &str, filter: F) -> Lookup<'_>
where
    F: TryInto<RawDocumentBuf, Error: fmt::Display>,
{
    Lookup {
        namespace,
        filter: document(filter),
        projection: None,
        limit: None,
    }
}

/// A question to MongoDB, made by [`lookup`] and sent by [`one`](Self::one), [`all`](Self::all) or
/// [`documents`](Self::documents).
#[derive(Debug, Clone)]
#[must_use = "nothing is asked before `one`, `all` or `documents`"]
pub struct Lookup<'n> {
    namespace: &'n str,
    filter: Result<RawDocumentBuf, String>,
    projection: Option<Result<RawDocumentBuf, String>>,
    limit: Option<u32>,
}

impl Lookup<'_> {
    /// Which fields to answer with, as for `find`; all if not said.
    pub fn projection<P>(mut self, projection: P) -> Self
    where
        P: TryInto<RawDocumentBuf, Error: fmt::Display>,
    {
        self.projection = Some(document(projection));
        self
    }

    /// How many documents to answer with at most. If not said, all: then more than the host allows are a failure.
    pub fn limit(mut self, documents: u32) -> Self {
        self.limit = Some(documents);
        self
    }

    /// The first document that is found, as serde sees it.
    ///
    /// # Errors
    /// [`LookupError`]; in [`handle`](crate::Handler::handle), `?` rejects the op.
    #[cfg(feature = "serde")]
    pub fn one<T: DeserializeOwned>(self) -> Result<Option<T>, LookupError> {
        let namespace = self.namespace;
        let found = self.limit(1).documents()?;
        found
            .iter()
            .next()
            .map(|document| typed(document, namespace))
            .transpose()
    }

    /// All documents that are found, as serde sees them.
    ///
    /// # Errors
    /// As for [`one`](Self::one).
    #[cfg(feature = "serde")]
    pub fn all<T: DeserializeOwned>(self) -> Result<Vec<T>, LookupError> {
        let namespace = self.namespace;
        let found = self.documents()?;
        found
            .iter()
            .map(|document| typed(document, namespace))
            .collect()
    }

    /// The documents that are found, as they are.
    ///
    /// # Errors
    /// As for [`one`](Self::one), but for documents that do not fit.
    pub fn documents(self) -> Result<Documents, LookupError> {
        let filter = self.filter.map_err(LookupError::NotBson)?;
        let mut question = rawdoc! { "namespace": self.namespace, "filter": filter };
        if let Some(projection) = self.projection {
            let key = bson::raw::cstr!("projection");
            question.append(key, projection.map_err(LookupError::NotBson)?);
        }
        if let Some(limit) = self.limit {
            question.append(bson::raw::cstr!("limit"), i64::from(limit));
        }
        match host::lookup(question.as_bytes()) {
            Ok(answer) => Ok(Documents { answer }),
            Err(looked_up::UNAVAILABLE) => Err(LookupError::Unavailable),
            Err(_) => Err(LookupError::Failed),
        }
    }
}

fn document<D: TryInto<RawDocumentBuf, Error: fmt::Display>>(
    document: D,
) -> Result<RawDocumentBuf, String> {
    document.try_into().map_err(|error| error.to_string())
}

#[cfg(feature = "serde")]
fn typed<T: DeserializeOwned>(document: &RawDocument, namespace: &str) -> Result<T, LookupError> {
    decode(document.as_bytes(), "").map_err(|error| LookupError::Decode {
        namespace: namespace.to_owned(),
        error,
    })
}

/// What a [`Lookup`] found.
#[derive(Clone)]
pub struct Documents {
    /// `{documents: [...]}`.
    answer: Vec<u8>,
}

impl Documents {
    /// The documents, in the order in which the server sent them.
    pub fn iter(&self) -> impl Iterator<Item = &RawDocument> {
        let array = Walk::find(&self.answer, query::DOCUMENTS).ok().flatten();
        array
            .filter(|element| element.kind == kind::ARRAY)
            .and_then(|element| Walk::new(element.value).ok())
            .into_iter()
            .flatten()
            .flatten()
            .map(|element: Element<'_>| raw_document(element.document()))
    }
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Why a [`Lookup`] has no answer. A missing grant is no error of this kind: the host ends the call.
#[derive(Debug)]
#[non_exhaustive]
pub enum LookupError {
    /// Filter or projection are no BSON.
    NotBson(String),
    /// The server cannot be asked at present. By `?` the op fails, and the host, which knows why, tries it again later;
    /// that costs no attempt.
    Unavailable,
    /// The server refused the question, took too long, or found more than the host allows. The host knows why, and tells
    /// it with the op.
    Failed,
    /// A document that was found does not fit the type that it was to become.
    #[cfg(feature = "serde")]
    Decode {
        /// Where it was found.
        namespace: String,
        /// What does not fit.
        error: DecodeError,
    },
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBson(reason) => write!(f, "cannot look up: {reason}"),
            Self::Unavailable => {
                f.write_str("cannot look up: the server cannot be asked at present")
            }
            Self::Failed => f.write_str("cannot look up: the server gave no answer"),
            #[cfg(feature = "serde")]
            Self::Decode { namespace, .. } => write!(f, "cannot use a document of {namespace}"),
        }
    }
}

impl std::error::Error for LookupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotBson(_) | Self::Unavailable | Self::Failed => None,
            #[cfg(feature = "serde")]
            Self::Decode { error, .. } => Some(error),
        }
    }
}
