//! An emitted document, as the parts that statements are spliced from.

use oplet_sdk::raw::{Element, Walk, Writer, kind};

/// An emitted document, taken apart.
pub(super) struct Parts<'a> {
    /// The fields that are to be written, in order, `_id` among them.
    pub(super) fields: Vec<Element<'a>>,
    /// The key's fields with their values.
    pub(super) key: Vec<Element<'a>>,
    /// The document's own `_id`.
    pub(super) id: Option<Element<'a>>,
    /// The output key as a BSON string, the `_id` of a document that has none.
    pub(super) output_key: &'a [u8],
}

impl Parts<'_> {
    /// Writes the document's `_id`, be it its own or the output key.
    fn write_id(&self, writer: &mut Writer<'_>) {
        match self.id {
            Some(id) => writer.raw(b"_id", id.kind, id.value),
            None => writer.raw(b"_id", kind::STRING, self.output_key),
        }
    }

    /// Writes the document with an `_id`, in front, where the server would put it, too.
    pub(super) fn write_whole(&self, writer: &mut Writer<'_>) {
        self.write_id(writer);
        self.write_others(writer);
    }

    /// Writes all fields but `_id`.
    fn write_others(&self, writer: &mut Writer<'_>) {
        for field in self.fields.iter().filter(|field| field.key != b"_id") {
            writer.raw(field.key, field.kind, field.value);
        }
    }

    /// `q: {KEY: VALUE, ..}`
    pub(super) fn write_query(&self, writer: &mut Writer<'_>) {
        writer.begin(b"q", kind::DOCUMENT);
        for field in &self.key {
            write_equality(writer, field.key, field.kind, field.value);
        }
        writer.end();
    }

    /// `q: {..}, u: DOCUMENT, upsert: true`
    pub(super) fn write_replace(&self, writer: &mut Writer<'_>) {
        self.write_query(writer);
        let is_keyed_by_id = self.key.iter().any(|field| field.key == b"_id");
        if self.id.is_some() || is_keyed_by_id {
            writer.begin(b"u", kind::DOCUMENT);
            self.write_whole(writer);
            writer.end();
        } else {
            // A document that is there keeps its `_id`, which is not known here; a new one gets the
            // output key, so that two attempts at a time cannot both insert.
            writer.begin(b"u", kind::ARRAY);
            writer.begin(b"0", kind::DOCUMENT);
            writer.begin(b"$replaceWith", kind::DOCUMENT);
            writer.begin(b"$mergeObjects", kind::ARRAY);
            writer.begin(b"0", kind::DOCUMENT);
            writer.begin(b"_id", kind::DOCUMENT);
            writer.begin(b"$ifNull", kind::ARRAY);
            writer.text(b"0", "$_id");
            writer.begin(b"1", kind::DOCUMENT);
            writer.raw(b"$literal", kind::STRING, self.output_key);
            writer.end();
            writer.end();
            writer.end();
            writer.end();
            writer.begin(b"1", kind::DOCUMENT);
            writer.begin(b"$literal", kind::DOCUMENT);
            self.write_others(writer);
            writer.end();
            writer.end();
            writer.end();
            writer.end();
            writer.end();
            writer.end();
        }
        writer.bool(b"upsert", true);
    }

    /// An insert that finds the document there already must not fail in a transaction, since that
    /// would end it. `$setOnInsert` would sort the fields; so a pipeline looks whether the document
    /// is new, that is, has nothing but the `_id` that the query gave it.
    pub(super) fn write_insert_unless_there(&self, writer: &mut Writer<'_>) {
        writer.begin(b"q", kind::DOCUMENT);
        match self.id {
            Some(id) => write_equality(writer, b"_id", id.kind, id.value),
            None => writer.raw(b"_id", kind::STRING, self.output_key),
        }
        writer.end();
        writer.begin(b"u", kind::ARRAY);
        writer.begin(b"0", kind::DOCUMENT);
        writer.begin(b"$replaceWith", kind::DOCUMENT);
        writer.begin(b"$cond", kind::ARRAY);
        writer.begin(b"0", kind::DOCUMENT);
        writer.begin(b"$eq", kind::ARRAY);
        writer.text(b"0", "$$ROOT");
        writer.begin(b"1", kind::DOCUMENT);
        writer.text(b"_id", "$_id");
        writer.end();
        writer.end();
        writer.end();
        writer.begin(b"1", kind::DOCUMENT);
        writer.begin(b"$literal", kind::DOCUMENT);
        self.write_whole(writer);
        writer.end();
        writer.end();
        writer.text(b"2", "$$ROOT");
        writer.end();
        writer.end();
        writer.end();
        writer.end();
        writer.bool(b"upsert", true);
    }

    /// Whether an update with it only adds numbers, and elements to arrays: several such updates come to the
    /// same in any order, and one that changes nothing where it stands does so behind others.
    pub(super) fn only_add(&self) -> bool {
        let mut rest = self.others().peekable();
        rest.peek().is_some()
            && rest.all(|field| match field.key {
                b"$inc" | b"$setOnInsert" => true,
                b"$push" => is_plain_push(field),
                _ => false,
            })
    }

    /// The names of the fields that an update with it writes, each behind its operator, in order, if it
    /// writes the same whatever it finds.
    pub(super) fn overwritten(&self) -> Option<Vec<u8>> {
        let mut names = Vec::new();
        for field in self.others() {
            match field.key {
                b"$set" | b"$unset" if field.kind == kind::DOCUMENT => {
                    for inner in Walk::new(field.value).ok()? {
                        names.push((field.key, inner.ok()?.key));
                    }
                }
                key if key.starts_with(b"$") => return None,
                key => names.push((b"$set", key)),
            }
        }
        names.sort_unstable();
        let mut out = Vec::new();
        for part in names.into_iter().flat_map(<[&[u8]; 2]>::from) {
            out.extend_from_slice(part);
            // No name holds one.
            out.push(0);
        }
        Some(out)
    }

    /// All fields but `_id` and those of the key.
    fn others(&self) -> impl Iterator<Item = &Element<'_>> {
        let is_key = |field: &&Element<'_>| self.key.iter().any(|key| key.key == field.key);
        let others = self.fields.iter().filter(|field| field.key != b"_id");
        others.filter(move |field| !is_key(field))
    }

    /// `q: {..}, u: {$set: FIELDS}` or the operators that the document holds, `upsert: true`
    pub(super) fn write_update(&self, writer: &mut Writer<'_>) -> Result<(), String> {
        self.write_query(writer);
        let rest = || self.others();
        let operators = rest().filter(|field| field.key.starts_with(b"$")).count();
        if operators > 0 && operators < rest().count() {
            return Err("it holds update operators, and fields beside them".into());
        }
        writer.begin(b"u", kind::DOCUMENT);
        let mut has_set_on_insert = false;
        if operators == 0 && rest().next().is_some() {
            writer.begin(b"$set", kind::DOCUMENT);
            for field in rest() {
                writer.raw(field.key, field.kind, field.value);
            }
            writer.end();
        } else {
            for field in rest() {
                if field.key == b"$setOnInsert" && field.kind == kind::DOCUMENT {
                    has_set_on_insert = true;
                    writer.begin(field.key, kind::DOCUMENT);
                    let mut has_id = false;
                    for inner in Walk::new(field.value).map_err(|error| error.to_string())? {
                        let inner = inner.map_err(|error| error.to_string())?;
                        has_id |= inner.key == b"_id";
                        writer.raw(inner.key, inner.kind, inner.value);
                    }
                    if !has_id {
                        self.write_id(writer);
                    }
                    writer.end();
                } else {
                    writer.raw(field.key, field.kind, field.value);
                }
            }
        }
        if !has_set_on_insert {
            writer.begin(b"$setOnInsert", kind::DOCUMENT);
            self.write_id(writer);
            writer.end();
        }
        writer.end();
        writer.bool(b"upsert", true);
        Ok(())
    }
}

/// Whether each value of a `$push` is itself what is pushed: with modifiers it may push nothing.
fn is_plain_push(push: &Element<'_>) -> bool {
    let is_plain = |field: Result<Element<'_>, _>| {
        let Ok(field) = field else { return false };
        let first = Walk::new(field.value)
            .ok()
            .and_then(|mut inner| inner.next());
        let is_modifier = |first: Element<'_>| first.key.starts_with(b"$");
        field.kind != kind::DOCUMENT || first.is_none_or(|first| !first.is_ok_and(is_modifier))
    };
    push.kind == kind::DOCUMENT
        && Walk::new(push.value).is_ok_and(|mut fields| fields.all(is_plain))
}

/// `KEY: VALUE`, where no value may be taken for a condition.
fn write_equality(writer: &mut Writer<'_>, key: &[u8], kind: u8, value: &[u8]) {
    if matches!(kind, kind::DOCUMENT | kind::REGEX) {
        writer.begin(key, kind::DOCUMENT);
        writer.raw(b"$eq", kind, value);
        writer.end();
    } else {
        writer.raw(key, kind, value);
    }
}
