//! What the field `workers` of a document becomes by the changes of it.

use bson::{Bson, Document};
use oplet_sdk::raw::Walk;

use crate::{
    flow::workers::WorkerList,
    op::{Op, Operation},
};

/// The field as it is, in whatever case it is written; none where the document has none, or is gone.
pub(super) type Field = Option<Bson>;

/// The field of a document.
pub(super) fn field_of(document: &Document) -> Field {
    let mut found = document.iter().filter(|(key, _)| is_ours(key));
    found.next().map(|(_, value)| value.clone())
}

/// The list in it.
///
/// # Errors
/// Why there is none.
pub(super) fn list_of(field: &Field) -> Result<WorkerList, String> {
    let Some(value) = field else {
        return Err("it has no `workers`".into());
    };
    let wrong = || "`workers` is not a list of texts".to_owned();
    let values = value.as_array().ok_or_else(wrong)?;
    let names = values.iter().map(|value| value.as_str().map(str::to_owned));
    let names = names.collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
    WorkerList::new(names).map_err(|error| error.to_string())
}

/// The field after an op on its document. An update is applied as it is described: what the server looks
/// up of it may have changed again since.
pub(super) fn after(op: &Op<'_>, field: Field) -> Field {
    let document = |bytes: &[u8]| Document::from_reader(bytes).ok();
    match op.operation() {
        Operation::Delete => None,
        Operation::Command => field,
        Operation::Insert => op.data().and_then(document).as_ref().and_then(field_of),
        Operation::Update if op.is_replace() => {
            op.data().and_then(document).as_ref().and_then(field_of)
        }
        Operation::Update => match op.update_description() {
            Some(description) => updated(description, field),
            None => field,
        },
    }
}

/// `{updatedFields: {"workers.3": "d"}, removedFields: ["workers"], truncatedArrays: [{field: "workers",
/// newSize: 2}]}`
fn updated(description: &[u8], mut field: Field) -> Field {
    // Keys may be there twice and have dots: only these are looked at.
    let part = |name: &str| Walk::find(description, name).ok().flatten();
    let part = |name: &str| part(name).and_then(|part| Document::from_reader(part.value).ok());
    let truncated = part("truncatedArrays").unwrap_or_default();
    for (_, entry) in truncated {
        let Some(entry) = entry.as_document() else {
            continue;
        };
        if entry.get_str("field").is_ok_and(is_ours)
            && let Some(size) = entry.get("newSize").and_then(whole)
            && let Some(Bson::Array(values)) = &mut field
        {
            values.truncate(size);
        }
    }
    for (path, value) in part("updatedFields").unwrap_or_default() {
        match path.split_once('.') {
            None if is_ours(&path) => field = Some(value),
            Some((outer, inner)) if is_ours(outer) => {
                if let (Some(Bson::Array(values)), Ok(at)) = (&mut field, inner.parse::<usize>())
                    && at <= values.len()
                {
                    match values.get_mut(at) {
                        Some(present) => *present = value,
                        None => values.push(value),
                    }
                }
            }
            _ => {}
        }
    }
    let removed = part("removedFields").unwrap_or_default();
    if removed
        .iter()
        .any(|(_, path)| path.as_str().is_some_and(is_ours))
    {
        field = None;
    }
    field
}

fn is_ours(key: &str) -> bool {
    key.eq_ignore_ascii_case("workers")
}

fn whole(value: &Bson) -> Option<usize> {
    match value {
        Bson::Int32(number) => usize::try_from(*number).ok(),
        Bson::Int64(number) => usize::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bson::{RawDocumentBuf, doc};

    use super::*;

    #[test]
    fn updates_are_applied_as_they_are_described() {
        let check = |description: Document, expected: Option<&[&str]>| {
            let bytes = RawDocumentBuf::try_from(&description).unwrap().into_bytes();
            let before = Some(Bson::from(vec!["a", "b", "c"]));
            let expected = expected.map(|names| Bson::from(names.to_vec()));
            assert_eq!(updated(&bytes, before), expected, "{description}");
        };
        let updated = |fields: Document| doc! {"updatedFields": fields, "removedFields": []};
        check(
            updated(doc! {"other": 1, "x.workers": 2}),
            Some(&["a", "b", "c"]),
        );
        check(updated(doc! {"workers": ["z"]}), Some(&["z"]));
        check(
            updated(doc! {"workers.3": "d"}),
            Some(&["a", "b", "c", "d"]),
        );
        check(
            updated(doc! {"workers.0": "z", "workers.2": "y"}),
            Some(&["z", "b", "y"]),
        );
        check(
            doc! {
                "updatedFields": {"workers.0": "b"},
                "truncatedArrays": [{"field": "workers", "newSize": 1}],
            },
            Some(&["b"]),
        );
        check(
            doc! {"updatedFields": {}, "removedFields": ["workers"]},
            None,
        );
    }

    #[test]
    fn what_is_no_list_is_told() {
        for (document, expected) in [
            (doc! {"workers": ["a", "b"]}, Ok(2)),
            (doc! {"_id": 1, "Workers": ["a"]}, Ok(1)),
            (doc! {}, Err("it has no `workers`")),
            (doc! {"workers": "a"}, Err("not a list of texts")),
            (doc! {"workers": [1]}, Err("not a list of texts")),
            (doc! {"workers": []}, Err("empty")),
            (doc! {"workers": ["a", "a"]}, Err("twice")),
        ] {
            match (list_of(&field_of(&document)), expected) {
                (Ok(list), Ok(len)) => assert_eq!(list.names().len(), len),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                (found, _) => panic!("{document}: {found:?}"),
            }
        }
    }
}
