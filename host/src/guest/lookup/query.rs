//! What a module may ask for.

use std::ops::RangeInclusive;

use oplet_sdk::{
    abi::query::{FILTER, LIMIT, NAMESPACE, PROJECTION},
    raw::{self, EMPTY_DOCUMENT, Element, Malformed, Walk},
};

use crate::{guest::pipeline::operator_inside, op::split_namespace};

/// Operators that run code on the server, and stages that write.
const REFUSED: [&str; 5] = ["$where", "$function", "$accumulator", "$out", "$merge"];

/// Bytes of a query; with more, the answer would be refused anyway.
const QUERY_BYTES_MAX: usize = 1 << 20;

/// A query as it lies in guest memory, not yet granted.
#[derive(Debug, PartialEq)]
pub(super) struct Query<'a> {
    pub(super) namespace: &'a str,
    pub(super) filter: &'a [u8],
    pub(super) projection: Option<&'a [u8]>,
    pub(super) limit: Option<usize>,
}

impl<'a> Query<'a> {
    /// Reads and checks a query; `documents_max` is the largest limit.
    ///
    /// # Errors
    /// What is wrong with it, as a clause behind "`lookup` got a query ".
    pub(super) fn read(bytes: &'a [u8], documents_max: usize) -> Result<Self, String> {
        if bytes.len() > QUERY_BYTES_MAX {
            let len = bytes.len();
            return Err(format!("of {len} bytes, more than {QUERY_BYTES_MAX}"));
        }
        raw::validate(bytes).map_err(malformed)?;
        let mut namespace = None;
        let mut filter = &EMPTY_DOCUMENT[..];
        let mut projection = None;
        let mut limit = None;
        for element in Walk::new(bytes).map_err(malformed)? {
            let element = element.map_err(malformed)?;
            match element.key_text().unwrap_or_default() {
                NAMESPACE => namespace = Some(namespace_of(element)?),
                FILTER => filter = document_of(element, FILTER)?,
                PROJECTION => projection = Some(document_of(element, PROJECTION)?),
                LIMIT => limit = Some(limit_of(element, 1..=documents_max)?),
                other => {
                    return Err(format!(
                        "with the field `{other}`; it has `{NAMESPACE}`, `{FILTER}`, `{PROJECTION}`, `{LIMIT}`"
                    ));
                }
            }
        }
        Ok(Self {
            namespace: namespace.ok_or_else(|| format!("without `{NAMESPACE}`"))?,
            filter,
            projection,
            limit,
        })
    }
}

fn malformed(error: Malformed) -> String {
    format!("that is {error}")
}

fn namespace_of(element: Element<'_>) -> Result<&str, String> {
    let text = element
        .text()
        .ok_or_else(|| format!("whose `{NAMESPACE}` is no text"))?;
    let (database, collection) = split_namespace(text);
    // The server would take what stands before a zero byte, or a command, for the name.
    let is_name = |name: &str| !name.is_empty() && !name.contains(['\0', '$']);
    match is_name(database) && is_name(collection) {
        true => Ok(text),
        false => Err(format!("whose `{NAMESPACE}` is no `db.collection`")),
    }
}

fn document_of<'a>(element: Element<'a>, key: &str) -> Result<&'a [u8], String> {
    let document = element
        .document()
        .ok_or_else(|| format!("whose `{key}` is no document"))?;
    match operator_inside(element, &REFUSED).map_err(malformed)? {
        Some(operator) => Err(format!(
            "whose `{key}` has `{operator}`: what runs code on the server, or writes, is refused"
        )),
        None => Ok(document),
    }
}

fn limit_of(element: Element<'_>, bounds: RangeInclusive<usize>) -> Result<usize, String> {
    // Some languages have no other numbers than doubles.
    let number = element.double().filter(|number| number.fract() == 0.0);
    let limit = number.map(|number| number as usize);
    limit.filter(|limit| bounds.contains(limit)).ok_or_else(|| {
        format!(
            "whose `{LIMIT}` is no whole number between {} and {}",
            bounds.start(),
            bounds.end()
        )
    })
}

/// Whether one of the grants is for this namespace: `db.collection` for that one, `db.*` for the
/// database without its system collections.
pub(super) fn is_granted(grants: &[String], namespace: &str) -> bool {
    let (database, collection) = split_namespace(namespace);
    grants.iter().any(|grant| match split_namespace(grant) {
        (granted, "*") => granted == database && !collection.starts_with("system."),
        _ => grant == namespace,
    })
}

#[cfg(test)]
mod tests {
    use bson::{Document, RawDocumentBuf, doc};

    use super::*;

    fn bytes(document: &Document) -> Vec<u8> {
        RawDocumentBuf::try_from(document).unwrap().into_bytes()
    }

    #[test]
    fn a_query_is_read_as_it_is() {
        let filter = doc! {"_id": {"$in": [1, 2]}, "$expr": {"$gt": ["$a", "$b"]}};
        for limit in [bson::Bson::Int32(5), 5_i64.into(), 5.0.into()] {
            let query = bytes(
                &doc! {"namespace": "shop.a.b", "filter": &filter, "projection": {"a": 1}, "limit": limit},
            );
            let expected = Query {
                namespace: "shop.a.b",
                filter: &bytes(&filter),
                projection: Some(&bytes(&doc! {"a": 1})),
                limit: Some(5),
            };
            assert_eq!(Query::read(&query, 10), Ok(expected));
        }
        let all = Query::read(&bytes(&doc! {"namespace": "a.b"}), 10).map(|_| ());
        assert_eq!(all, Ok(()), "the rest may be left out");
    }

    #[test]
    fn what_may_not_be_asked_is_named() {
        let code = doc! {"body": "f", "args": [], "lang": "js"};
        for (query, expected) in [
            (doc! {}, "without `namespace`"),
            (doc! {"namespace": 1}, "`namespace` is no text"),
            (doc! {"namespace": "shop"}, "no `db.collection`"),
            (doc! {"namespace": "shop."}, "no `db.collection`"),
            (doc! {"namespace": ".orders"}, "no `db.collection`"),
            (doc! {"namespace": "shop.$cmd"}, "no `db.collection`"),
            (doc! {"namespace": "shop.a\0b"}, "no `db.collection`"),
            (
                doc! {"namespace": "a.b", "filter": 1},
                "`filter` is no document",
            ),
            (doc! {"namespace": "a.b", "sort": {}}, "the field `sort`"),
            (doc! {"namespace": "a.b", "limit": 0}, "between 1 and 10"),
            (doc! {"namespace": "a.b", "limit": 11}, "between 1 and 10"),
            (doc! {"namespace": "a.b", "limit": -1}, "between 1 and 10"),
            (doc! {"namespace": "a.b", "limit": 1.5}, "between 1 and 10"),
            (
                doc! {"namespace": "a.b", "limit": f64::NAN},
                "between 1 and 10",
            ),
            (doc! {"namespace": "a.b", "limit": "1"}, "between 1 and 10"),
            (
                doc! {"namespace": "a.b", "filter": {"$where": "1"}},
                "`filter` has `$where`",
            ),
            (
                doc! {"namespace": "a.b", "filter": {"$or": [{"a": 1}, {"$and": [{"$where": "1"}]}]}},
                "`filter` has `$where`",
            ),
            (
                doc! {"namespace": "a.b", "filter": {"$expr": {"$eq": [{"$function": &code}, 1]}}},
                "`filter` has `$function`",
            ),
            (
                doc! {"namespace": "a.b", "projection": {"x": {"$function": &code}}},
                "`projection` has `$function`",
            ),
            (
                doc! {"namespace": "a.b", "filter": {"a": [{"$accumulator": {}}]}},
                "`filter` has `$accumulator`",
            ),
            (
                doc! {"namespace": "a.b", "filter": {"x": {"$merge": {"into": "c"}}}},
                "`filter` has `$merge`",
            ),
            (
                doc! {"namespace": "a.b", "filter": {"a": "x".repeat(1 << 20)}},
                "more than 1048576",
            ),
        ] {
            let bytes = bytes(&query);
            let refused = Query::read(&bytes, 10).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
        let refused = Query::read(b"\x05\0\0\0\x01", 10).unwrap_err();
        assert!(refused.contains("not valid BSON"), "{refused}");
    }

    #[test]
    fn a_grant_is_for_a_collection_or_a_database() {
        let grants = ["shop.customers", "archive.*", "admin.system.users"].map(str::to_owned);
        for (namespace, expected) in [
            ("shop.customers", true),
            ("shop.customers.old", false),
            ("shop.orders", false),
            ("archive.any.thing", true),
            ("archive.system.views", false),
            ("archives.any", false),
            ("admin.system.users", true),
            ("admin.other", false),
        ] {
            assert_eq!(is_granted(&grants, namespace), expected, "{namespace}");
        }
        assert!(!is_granted(&[], "shop.customers"));
    }
}
