//! The stages that a module wants the server to run.
//!
//! ```json
//! {"pipeline": [{"$match": {"operationType": "insert"}}, {"$project": {"fullDocument.secret": 0}}]}
//! ```
//!
//! A change stream takes only some stages, and breaks off when an event has lost its `_id`, the
//! resume token. Both show here, with the stage's number, rather than as a server's error after the
//! stream was opened.

use std::fmt;

use bson::RawDocumentBuf;
use oplet_sdk::raw::{Element, Malformed, Walk, kind};

use super::error::GuestError;
use super::log::shown;

/// Why there are no stages.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The guest failed.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// It answered stages that cannot be pushed to a change stream.
    #[error(transparent)]
    Refused(#[from] PipelineRefused),
}

/// What is wrong with the answer of `pipeline`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineRefused {
    /// Number of the stage, from 0; none when it is the answer as a whole.
    pub stage: Option<usize>,
    /// The stage's operator, as `$match`; none when there is no telling.
    pub operator: Option<String>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for PipelineRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the module's pipeline is refused: ")?;
        match (self.stage, &self.operator) {
            (Some(stage), Some(operator)) => write!(f, "stage {stage} (`{operator}`) ")?,
            (Some(stage), None) => write!(f, "stage {stage} ")?,
            (None, _) => {}
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for PipelineRefused {}

/// The stages of a module that a change stream can run. It also takes `$replaceRoot`, `$replaceWith`
/// and `$changeStreamSplitLargeEvent`, which are refused with reasons of their own.
/// <https://www.mongodb.com/docs/manual/changeStreams/#modify-change-stream-output>
const ALLOWED: [&str; 6] = [
    "$match",
    "$project",
    "$addFields",
    "$set",
    "$unset",
    "$redact",
];

/// Characters of an operator's name that are shown: none that exists is so long.
const OPERATOR_CHARACTERS_MAX: usize = 40;

/// Operators that run code on the server.
const CODE: [&str; 3] = ["$where", "$function", "$accumulator"];

/// Takes the stages out of a module's answer, which is a valid document.
pub(super) fn stages(answer: &[u8]) -> Result<Vec<RawDocumentBuf>, PipelineRefused> {
    let whole = |reason: &str| PipelineRefused {
        stage: None,
        operator: None,
        reason: reason.to_owned(),
    };
    let malformed = |error: Malformed| whole(&error.to_string());
    let pipeline = Walk::find(answer, "pipeline")
        .map_err(malformed)?
        .ok_or_else(|| whole("the answer has no field `pipeline`"))?
        .array()
        .ok_or_else(|| whole("`pipeline` is not an array"))?;
    let mut stages = Vec::new();
    for (number, element) in Walk::new(pipeline).map_err(malformed)?.enumerate() {
        stages.push(stage(number, element.map_err(malformed)?)?);
    }
    Ok(stages)
}

fn stage(number: usize, element: Element<'_>) -> Result<RawDocumentBuf, PipelineRefused> {
    let refused = |operator: Option<&str>, reason: String| PipelineRefused {
        stage: Some(number),
        operator: operator.map(|operator| shown(operator, OPERATOR_CHARACTERS_MAX)),
        reason,
    };
    let malformed = |error: Malformed| refused(None, format!("is {error}"));
    let document = element
        .document()
        .ok_or_else(|| refused(None, "is not a document".into()))?;
    let mut elements = Walk::new(document).map_err(malformed)?;
    let (Some(first), None) = (elements.next(), elements.next()) else {
        return Err(refused(None, "has not exactly one field".into()));
    };
    let body = first.map_err(malformed)?;
    let operator = body.key_text().unwrap_or_default();
    let refused = |reason: String| refused(Some(operator), reason);
    if !operator.starts_with('$') {
        return Err(refused(
            "does not begin with `$`: a stage is `{$operator: ...}`".into(),
        ));
    }
    match operator {
        "$changeStreamSplitLargeEvent" => {
            return Err(refused("is added by the host where it is needed".into()));
        }
        "$replaceRoot" | "$replaceWith" => {
            return Err(refused(
                "replaces the event, whose `_id` is what the stream resumes by: use `$project` or `$set`"
                    .into(),
            ));
        }
        _ if !ALLOWED.contains(&operator) => {
            return Err(refused(format!(
                "is no stage for a change stream; those are {}",
                ALLOWED.join(", ")
            )));
        }
        _ => {}
    }
    if let Some(code) =
        operator_inside(body, &CODE).map_err(|error| refused(format!("is {error}")))?
    {
        return Err(refused(format!(
            "uses `{code}`, which runs code on the server"
        )));
    }
    if let Some(reason) =
        loses_id(operator, body).map_err(|error| refused(format!("is {error}")))?
    {
        return Err(refused(reason));
    }
    RawDocumentBuf::from_bytes(document.to_vec())
        .map_err(|error| refused(format!("is no document: {error}")))
}

/// How the stage would drop or change the event's `_id`, if it would.
fn loses_id(operator: &str, body: Element<'_>) -> Result<Option<String>, Malformed> {
    let is_id = |name: &str| name == "_id" || name.starts_with("_id.");
    let because = |what: &str| {
        Some(format!(
            "{what} the event's `_id`, which is what the stream resumes by"
        ))
    };
    match operator {
        "$project" | "$set" | "$addFields" => {
            let Some(fields) = body.document() else {
                return Ok(Some("is not a document".into()));
            };
            for field in Walk::new(fields)? {
                let field = field?;
                let keeps = operator == "$project" && field.key == b"_id" && is_inclusion(field);
                if field.key_text().is_some_and(is_id) && !keeps {
                    return Ok(because(if is_exclusion(field) {
                        "drops"
                    } else {
                        "changes"
                    }));
                }
            }
        }
        "$unset" => {
            if body.text().is_some_and(is_id) {
                return Ok(because("drops"));
            }
            if let Some(names) = body.array() {
                for name in Walk::new(names)? {
                    if name?.text().is_some_and(is_id) {
                        return Ok(because("drops"));
                    }
                }
            }
        }
        _ => {}
    }
    Ok(None)
}

fn is_inclusion(field: Element<'_>) -> bool {
    field.bool() == Some(true) || field.double().is_some_and(|number| number != 0.0)
}

fn is_exclusion(field: Element<'_>) -> bool {
    field.bool() == Some(false) || field.double() == Some(0.0)
}

/// The first of these operators anywhere inside. The depth is bounded: the document is valid.
pub(super) fn operator_inside(
    element: Element<'_>,
    operators: &[&'static str],
) -> Result<Option<&'static str>, Malformed> {
    if let Some(operator) = operators.iter().find(|name| element.key == name.as_bytes()) {
        return Ok(Some(operator));
    }
    if !matches!(element.kind, kind::DOCUMENT | kind::ARRAY) {
        return Ok(None);
    }
    for inner in Walk::new(element.value)? {
        if let Some(operator) = operator_inside(inner?, operators)? {
            return Ok(Some(operator));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    fn check(answer: Document) -> Result<Vec<Document>, String> {
        let bytes = RawDocumentBuf::try_from(&answer).unwrap().into_bytes();
        stages(&bytes)
            .map(|stages| {
                stages
                    .iter()
                    .map(|stage| Document::try_from(stage.clone()).unwrap())
                    .collect()
            })
            .map_err(|refused| refused.to_string())
    }

    #[test]
    fn stages_that_keep_the_event_pass_as_they_are() {
        for stage in [
            doc! {"$match": {"operationType": {"$in": ["insert", "update"]}}},
            doc! {"$project": {"fullDocument": 1}},
            doc! {"$project": {"fullDocument": 1, "_id": true}},
            doc! {"$project": {"_id": 1.0, "ns": 1}},
            doc! {"$project": {"fullDocument._id": 0}},
            doc! {"$set": {"_ids": 1}},
            doc! {"$addFields": {"fullDocument._id": "x"}},
            doc! {"$unset": "fullDocument"},
            doc! {"$unset": ["a", "b._id"]},
            doc! {"$redact": "$$KEEP"},
        ] {
            assert_eq!(check(doc! {"pipeline": [stage.clone()]}), Ok(vec![stage]));
        }
        assert_eq!(check(doc! {"pipeline": []}), Ok(vec![]));
    }

    #[test]
    fn the_rest_is_refused_with_its_stage() {
        for (stage, expected) in [
            (doc! {"$group": {"_id": 1}}, "`$group`) is no stage"),
            (doc! {"$out": "x"}, "`$out`) is no stage"),
            (doc! {}, "not exactly one field"),
            (doc! {"$match": {}, "$set": {}}, "not exactly one field"),
            (doc! {"match": {}}, "does not begin with `$`"),
            (
                doc! {"$replaceRoot": {"newRoot": "$fullDocument"}},
                "replaces the event",
            ),
            (doc! {"$replaceWith": "$fullDocument"}, "replaces the event"),
            (
                doc! {"$changeStreamSplitLargeEvent": {}},
                "added by the host",
            ),
            (doc! {"$project": {"_id": 0}}, "drops the event's `_id`"),
            (
                doc! {"$project": {"_id": false, "ns": 1}},
                "drops the event's `_id`",
            ),
            (
                doc! {"$project": {"_id": "$ns"}},
                "changes the event's `_id`",
            ),
            (
                doc! {"$project": {"_id._data": 0}},
                "drops the event's `_id`",
            ),
            (doc! {"$unset": "_id"}, "drops the event's `_id`"),
            (doc! {"$unset": ["a", "_id"]}, "drops the event's `_id`"),
            (doc! {"$set": {"_id": 1}}, "changes the event's `_id`"),
            (
                doc! {"$addFields": {"_id._data": 1}},
                "changes the event's `_id`",
            ),
            (doc! {"$match": {"$where": "1"}}, "uses `$where`"),
            (
                doc! {"$match": {"$or": [{"a": 1}, {"$expr": {"$function": {}}}]}},
                "uses `$function`",
            ),
            (
                doc! {"$set": {"x": {"$accumulator": {}}}},
                "uses `$accumulator`",
            ),
        ] {
            let error = check(doc! {"pipeline": [{"$match": {}}, stage]}).unwrap_err();
            assert!(error.contains("stage 1"), "{error}");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_answer_of_another_shape_is_refused() {
        for (answer, expected) in [
            (doc! {}, "no field `pipeline`"),
            (doc! {"pipeline": {}}, "not an array"),
            (doc! {"pipeline": [1]}, "stage 0 is not a document"),
            (doc! {"pipeline": [[]]}, "stage 0 is not a document"),
        ] {
            let error = check(answer).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
