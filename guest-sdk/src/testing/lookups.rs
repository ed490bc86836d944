//! What `lookup` finds in a native test.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use bson::{Array, Bson, Document, RawDocumentBuf, doc};

use crate::abi::{looked_up, query};

type Find = Rc<dyn Fn(&Document) -> Result<Vec<Document>, i32>>;

thread_local! {
    // One for each thread: tests run side by side.
    static FINDS: RefCell<HashMap<String, Find>> = RefCell::default();
}

/// Grants lookups in `db.collection`, for this thread, and says which documents lie there.
///
/// Filters are compared for equality, by `$in` and by dotted paths; numbers of different types are equal when their
/// values are. Projections change nothing. For anything else there is [`set_lookup`].
pub fn set_collection(namespace: &str, documents: impl IntoIterator<Item = Document>) {
    let documents: Vec<Document> = documents.into_iter().collect();
    set_lookup(namespace, move |filter| {
        let found = documents
            .iter()
            .filter(|document| matches(document, filter));
        found.cloned().collect()
    });
}

/// Grants lookups in `db.collection`, for this thread, and answers them by a function of the filter. The limit is applied
/// to what it answers.
pub fn set_lookup(namespace: &str, find: impl Fn(&Document) -> Vec<Document> + 'static) {
    grant(namespace, Rc::new(move |filter| Ok(find(filter))));
}

/// Grants lookups in `db.collection`, for this thread, and lets each fail because the server is away.
pub fn set_unavailable(namespace: &str) {
    grant(namespace, Rc::new(|_| Err(looked_up::UNAVAILABLE)));
}

fn grant(namespace: &str, find: Find) {
    FINDS.with_borrow_mut(|finds| finds.insert(namespace.to_owned(), find));
}

/// The host's answer: the bytes of `{documents: [...]}`, or one of [`looked_up`].
pub(super) fn answer(question: &Document) -> Result<Vec<u8>, i32> {
    let namespace = question.get_str(query::NAMESPACE).unwrap_or_default();
    // Out of the cell first: a function may look at others.
    let find = FINDS.with_borrow(|finds| finds.get(namespace).cloned());
    let Some(find) = find else {
        panic!(
            "no grant for lookups in `{namespace}`: call `testing::set_collection` or `testing::set_lookup` first"
        );
    };
    let filter = question.get_document(query::FILTER).cloned();
    let mut found = find(&filter.unwrap_or_default())?;
    if let Ok(limit) = question.get_i64(query::LIMIT) {
        found.truncate(usize::try_from(limit).unwrap_or_default());
    }
    let documents: Array = found.into_iter().map(Bson::from).collect();
    let answer = RawDocumentBuf::try_from(doc! { query::DOCUMENTS: documents });
    Ok(answer.expect("what the test answers is BSON").into_bytes())
}

fn matches(document: &Document, filter: &Document) -> bool {
    filter.iter().all(|(path, wanted)| {
        let wanted = match wanted {
            Bson::Document(operators) if is_operators(operators) => match operators.get("$in") {
                Some(Bson::Array(any)) if operators.len() == 1 => any.clone(),
                _ => unknown(wanted),
            },
            _ if path.starts_with('$') => unknown(&path.as_str().into()),
            wanted => vec![wanted.clone()],
        };
        let found = values_at(document, path);
        wanted.iter().any(|wanted| match wanted {
            Bson::Null if found.is_empty() => true,
            wanted => found.iter().any(|found| are_equal(found, wanted)),
        })
    })
}

fn is_operators(document: &Document) -> bool {
    document
        .keys()
        .next()
        .is_some_and(|key| key.starts_with('$'))
}

fn unknown(what: &Bson) -> ! {
    panic!(
        "`set_collection` compares for equality and by `$in`, it does not know {what}: use `testing::set_lookup`"
    )
}

/// The values at a dotted path, each element of an array among them, as the server compares them.
fn values_at<'d>(document: &'d Document, path: &str) -> Vec<&'d Bson> {
    let mut values = Vec::new();
    let (key, rest) = match path.split_once('.') {
        Some((key, rest)) => (key, Some(rest)),
        None => (path, None),
    };
    let Some(value) = document.get(key) else {
        return values;
    };
    let elements = value.as_array().into_iter().flatten();
    for value in std::iter::once(value).chain(elements) {
        match (rest, value) {
            (None, value) => values.push(value),
            (Some(rest), Bson::Document(inner)) => values.extend(values_at(inner, rest)),
            _ => {}
        }
    }
    values
}

fn are_equal(a: &Bson, b: &Bson) -> bool {
    let integer = |bson: &Bson| match bson {
        Bson::Int32(n) => Some(i64::from(*n)),
        Bson::Int64(n) => Some(*n),
        _ => None,
    };
    let double = |bson: &Bson| bson.as_f64().or_else(|| integer(bson).map(|n| n as f64));
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a == b,
        _ => match (double(a), double(b)) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(filter: Document, expected: bool) {
        let document = doc! {
            "_id": 7, "n": 5.0, "a": {"b": "x"}, "tags": ["red", "blue"], "items": [{"sku": 1}, {"sku": 2}], "none": null,
        };
        assert_eq!(matches(&document, &filter), expected, "{filter}");
    }

    #[test]
    fn filters_compare_as_the_server_does() {
        check(doc! {}, true);
        check(doc! {"_id": 7_i64, "n": 5}, true);
        check(doc! {"_id": 7, "n": 6}, false);
        check(doc! {"a.b": "x"}, true);
        check(doc! {"a": {"b": "x"}}, true);
        check(doc! {"a.c": "x"}, false);
        check(doc! {"tags": "blue"}, true);
        check(doc! {"tags": ["red", "blue"]}, true);
        check(doc! {"items.sku": 2}, true);
        check(doc! {"items.sku": 3}, false);
        check(doc! {"_id": {"$in": [1, 7]}}, true);
        check(doc! {"_id": {"$in": []}}, false);
        check(doc! {"none": null, "absent": null}, true);
        check(doc! {"n": null}, false);
    }

    #[test]
    #[should_panic(expected = "does not know { \"$gt\": 1 }: use `testing::set_lookup`")]
    fn what_it_cannot_compare_it_does_not_guess() {
        check(doc! {"n": {"$gt": 1}}, true);
    }
}
