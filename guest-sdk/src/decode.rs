//! Documents as serde sees them, and what does not fit.

use std::fmt;

use bson::RawDeserializer;
use serde::Deserialize;

/// A document does not fit the type that it was to become.
///
/// ```
/// use oplet_sdk::{Op, bson::doc};
///
/// #[derive(Debug, serde::Deserialize)]
/// struct Order { items: Vec<Item> }
/// #[derive(Debug, serde::Deserialize)]
/// struct Item { price: f64 }
///
/// let op = Op::insert("shop.orders", doc! {"_id": 1, "items": [{"price": 9.5}, {"price": "free"}]});
/// let error = op.with_op(|op| op.data_as::<Order>().unwrap_err());
/// assert_eq!(error.path(), "data.items[1].price");
/// assert_eq!(
///     error.to_string(),
///     r#"`data.items[1].price`: invalid type: string "free", expected f64"#
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    path: String,
    reason: String,
}

impl DecodeError {
    /// Where in the document: `data.items[1].price`. The document itself when a field is missing from its top.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What does not fit there.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.reason);
        }
        write!(f, "`{}`: {}", self.path, self.reason)
    }
}

impl std::error::Error for DecodeError {}

/// The document as a `T`; `root` is what the author calls the document. For what is asked for with every op.
///
/// # Errors
/// [`DecodeError`] when it does not fit.
pub(crate) fn decode_quickly<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
    root: &str,
) -> Result<T, DecodeError> {
    // To keep the path costs a step of its own at each value, so it is only asked for when it is needed.
    bson::deserialize_from_slice(bytes).or_else(|_| decode(bytes, root))
}

/// The same for what is asked for now and then: half the code. `root` may be empty.
///
/// # Errors
/// [`DecodeError`] when it does not fit.
pub(crate) fn decode<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
    root: &str,
) -> Result<T, DecodeError> {
    let deserializer = RawDeserializer::new(bytes).map_err(|error| at(root.to_owned(), error))?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let inside = error.path().to_string();
        let path = match (root, inside.as_str()) {
            (root, ".") => root.to_owned(),
            ("", inside) => inside.to_owned(),
            (root, inside) => format!("{root}.{inside}"),
        };
        at(path, error.into_inner())
    })
}

fn at(path: String, error: bson::error::Error) -> DecodeError {
    DecodeError {
        path,
        reason: error.message.clone().unwrap_or_else(|| error.to_string()),
    }
}
