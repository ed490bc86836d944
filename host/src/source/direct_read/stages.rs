//! The stages of a module's pipeline, as far as they decide how a read can go.

use bson::{RawBsonRef, RawDocumentBuf};

/// Stages that look at one document at a time, and leave it in its place among the others.
const PER_DOCUMENT: [&str; 11] = [
    "$match",
    "$redact",
    "$project",
    "$addFields",
    "$set",
    "$unset",
    "$lookup",
    "$graphLookup",
    "$replaceRoot",
    "$replaceWith",
    "$unwind",
];

/// Stages that the server applies to the documents that are read.
#[derive(Debug, Clone)]
pub struct Stages {
    stages: Vec<RawDocumentBuf>,
    is_per_document: bool,
    keeps_id: bool,
}

impl Stages {
    /// These stages, in this order.
    #[must_use]
    pub fn new(stages: Vec<RawDocumentBuf>) -> Self {
        Self {
            is_per_document: stages
                .iter()
                .all(|stage| name_of(stage).is_some_and(|name| PER_DOCUMENT.contains(&name))),
            keeps_id: stages.iter().all(keeps_id),
            stages,
        }
    }

    /// Whether there is none, so that documents come as they are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// The stages.
    #[must_use]
    pub fn as_slice(&self) -> &[RawDocumentBuf] {
        &self.stages
    }

    /// Whether each document is treated by itself, so that ranges of them can be read apart. A stage
    /// that gathers, sorts or counts documents needs all of them at once.
    #[must_use]
    pub fn is_per_document(&self) -> bool {
        self.is_per_document
    }

    /// Whether what comes out has the `_id` of what went in, so that reading can go on behind it.
    #[must_use]
    pub fn keeps_id(&self) -> bool {
        self.keeps_id
    }
}

impl Default for Stages {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

fn name_of(stage: &RawDocumentBuf) -> Option<&str> {
    let (name, _) = stage.iter().next()?.ok()?;
    Some(name.as_str())
}

fn keeps_id(stage: &RawDocumentBuf) -> bool {
    let Some(Ok((name, value))) = stage.iter().next() else {
        return false;
    };
    match (name.as_str(), value) {
        ("$match" | "$redact", _) => true,
        ("$project" | "$addFields" | "$set", RawBsonRef::Document(fields)) => {
            let leaves = |(field, value): (&bson::raw::CStr, RawBsonRef<'_>)| {
                let is_kept = matches!(
                    value,
                    RawBsonRef::Boolean(true) | RawBsonRef::Int32(1) | RawBsonRef::Int64(1)
                ) || value.as_f64() == Some(1.0);
                let is_included = name.as_str() == "$project" && field.as_str() == "_id" && is_kept;
                is_included || !is_about_id(field.as_str())
            };
            fields.iter().all(|field| field.is_ok_and(leaves))
        }
        ("$unset", RawBsonRef::String(field)) => !is_about_id(field),
        ("$unset", RawBsonRef::Array(fields)) => fields
            .into_iter()
            .all(|field| field.is_ok_and(|field| !field.as_str().is_some_and(is_about_id))),
        ("$lookup" | "$graphLookup", RawBsonRef::Document(options)) => {
            options.get_str("as").is_ok_and(|field| !is_about_id(field))
        }
        _ => false,
    }
}

fn is_about_id(field: &str) -> bool {
    field == "_id" || field.starts_with("_id.")
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    fn stages(stages: &[Document]) -> Stages {
        let raw = |stage| RawDocumentBuf::try_from(stage).unwrap();
        Stages::new(stages.iter().map(raw).collect())
    }

    #[test]
    fn stages_are_told_apart_by_what_they_leave_of_a_document() {
        for (stage, is_per_document, keeps_id) in [
            (doc! { "$match": { "_id": { "$gt": 5 } } }, true, true),
            (doc! { "$project": { "a": 1 } }, true, true),
            (doc! { "$project": { "_id": 1, "a": 1 } }, true, true),
            (doc! { "$project": { "_id": 0, "a": 1 } }, true, false),
            (doc! { "$project": { "_id": "$a" } }, true, false),
            (doc! { "$set": { "_id": 1 } }, true, false),
            (doc! { "$set": { "_id.a": 1 } }, true, false),
            (doc! { "$set": { "a": 1 } }, true, true),
            (doc! { "$unset": "_id" }, true, false),
            (doc! { "$unset": ["a", "_id.b"] }, true, false),
            (doc! { "$unset": ["a", "b"] }, true, true),
            (doc! { "$replaceRoot": { "newRoot": "$a" } }, true, false),
            (doc! { "$unwind": "$a" }, true, false),
            (doc! { "$lookup": { "from": "x", "as": "y" } }, true, true),
            (doc! { "$group": { "_id": "$a" } }, false, false),
            (doc! { "$limit": 5 }, false, false),
            (doc! {}, false, false),
        ] {
            let found = stages(std::slice::from_ref(&stage));
            assert_eq!(
                (found.is_per_document(), found.keeps_id()),
                (is_per_document, keeps_id),
                "{stage}"
            );
        }
        let none = stages(&[]);
        assert!(none.is_empty() && none.is_per_document() && none.keeps_id());
        let both = stages(&[doc! { "$match": {} }, doc! { "$sort": { "a": 1 } }]);
        assert!(!both.is_per_document());
    }
}
