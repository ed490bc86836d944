//! Modules in WebAssembly text, which only know the ABI.

use bson::{Document, RawDocumentBuf};

/// A module that emits `{_id, n, by}` for each op: the document's `_id` and its field `n`, -1 where
/// there is none, both 32-bit integers, and its own name.
///
/// Its functions can be replaced, and have these helpers at hand:
/// - `$field (document, name) -> element`: the element of a top-level field, its type byte first, or
///   0; names lie in memory, ended by a zero byte
/// - `$int (document, name) -> i32`: the integer in it, or -1
/// - `$data (op) -> document`: the op's `data`, or 0
/// - `$emit_one (op)`: emits the document above
#[derive(Clone, Debug)]
pub(crate) struct Handwritten {
    by: String,
    imports: String,
    memory: String,
    alloc: String,
    items: String,
    filter: Option<String>,
    handle: Option<String>,
}

/// Where the names of fields lie; `$field` is given these.
const NAMES: [(&str, u32); 9] = [
    ("_id", 16),
    ("data", 32),
    ("n", 48),
    ("pending", 64),
    ("keep", 80),
    ("operation", 96),
    ("updateDescription", 112),
    ("drop", 136),
    ("renameCollection", 144),
];

impl Handwritten {
    /// A module that takes every op.
    pub(crate) fn new(by: &str) -> Self {
        Self {
            by: by.to_owned(),
            imports: String::new(),
            memory: "(memory (export \"memory\") 4)".into(),
            // Ops have a place of 192 KiB from 64 KiB on.
            alloc:
                "(if (i32.gt_u (local.get $len) (i32.const 0x30000)) (then (return (i32.const 0))))
                (i32.const 0x10000)"
                    .into(),
            items: String::new(),
            filter: None,
            handle: Some("(call $emit_one (local.get $op)) (i32.const 0)".into()),
        }
    }

    /// Where a field's name lies in memory, as an instruction.
    pub(crate) fn name(field: &str) -> String {
        let (_, at) = NAMES.iter().find(|(name, _)| *name == field).unwrap();
        format!("(i32.const {at})")
    }

    /// Keeps the ops for which this expression of `$op` is 1.
    pub(crate) fn filter(mut self, body: &str) -> Self {
        self.filter = Some(body.to_owned());
        self
    }

    /// Keeps ops of this kind only: `i`, `u`, `d`, `c`.
    pub(crate) fn only(self, operation: char) -> Self {
        let code = operation as u32;
        // The first field of an op is `operation`: its one letter lies at the same place in all.
        self.filter(&format!(
            "(i32.eq (i32.load8_u offset=19 (local.get $op)) (i32.const {code}))"
        ))
    }

    /// Handles an op by this expression of `$op`, which gives the outcome.
    pub(crate) fn handle(mut self, body: &str) -> Self {
        self.handle = Some(body.to_owned());
        self
    }

    /// Has no `handle`.
    pub(crate) fn without_handle(mut self) -> Self {
        self.handle = None;
        self
    }

    /// Imports a function of the host.
    pub(crate) fn import(mut self, name: &str, signature: &str) -> Self {
        self.imports += &format!(r#"(import "oplet" "{name}" (func ${name} {signature}))"#);
        self
    }

    /// Imports a function of WASI.
    pub(crate) fn wasi(mut self, name: &str, signature: &str) -> Self {
        self.imports +=
            &format!(r#"(import "wasi_snapshot_preview1" "{name}" (func ${name} {signature}))"#);
        self
    }

    /// Has this memory instead of one of four pages.
    pub(crate) fn memory(mut self, memory: &str) -> Self {
        self.memory = memory.to_owned();
        self
    }

    /// Gives the host this place for `$len` bytes.
    pub(crate) fn alloc(mut self, body: &str) -> Self {
        self.alloc = body.to_owned();
        self
    }

    /// Has more functions, globals and data.
    pub(crate) fn with(mut self, items: &str) -> Self {
        self.items += items;
        self
    }

    /// Answers these stages, whatever it is asked for.
    pub(crate) fn pipeline(self, stages: &[Document]) -> Self {
        let answer = bytes(&bson::doc! {"pipeline": stages});
        let (data, len) = (data(&answer), answer.len());
        self.with(&format!(
            r#"(data (i32.const 1024) "{data}")
            (func (export "pipeline") (param i32 i32) (result i64)
                (i64.or (i64.shl (i64.const 1024) (i64.const 32)) (i64.const {len})))"#
        ))
    }

    /// Answers these stages for changes, and none for what is read directly.
    pub(crate) fn pipeline_of_changes(self, stages: &[Document]) -> Self {
        let answer = bytes(&bson::doc! {"pipeline": stages});
        let (data, len) = (data(&answer), answer.len());
        // The question ends with its source: `changeStream` or `directRead`, a zero byte, and another.
        let last = 'm' as u32;
        self.with(&format!(
            r#"(data (i32.const 1024) "{data}")
            (func (export "pipeline") (param $question i32) (param $len i32) (result i64)
                (select
                    (i64.or (i64.shl (i64.const 1024) (i64.const 32)) (i64.const {len}))
                    (i64.const 0)
                    (i32.eq
                        (i32.load8_u (i32.sub (i32.add (local.get $question) (local.get $len)) (i32.const 3)))
                        (i32.const {last}))))"#
        ))
    }

    /// The module's text.
    pub(crate) fn text(&self) -> String {
        let function = |name: &str, body: &Option<String>| match body {
            Some(body) => format!(
                r#"(func (export "{name}") (param $op i32) (param $len i32) (result i32) {body})"#
            ),
            None => String::new(),
        };
        let names: String = NAMES
            .iter()
            .map(|(name, at)| format!(r#"(data (i32.const {at}) "{name}\00")"#))
            .collect();
        let output = bytes(&bson::doc! {"_id": 0, "n": 0, "by": &self.by});
        include_str!("handwritten.wat")
            .replace(";;IMPORTS", &self.imports)
            .replace(";;MEMORY", &self.memory)
            .replace(";;ALLOC", &self.alloc)
            .replace(";;NAMES", &names)
            .replace(
                ";;OUTPUT",
                &format!(r#"(data (i32.const 256) "{}")"#, data(&output)),
            )
            .replace(";;LEN", &format!("(i32.const {})", output.len()))
            .replace(";;FILTER", &function("filter", &self.filter))
            .replace(";;HANDLE", &function("handle", &self.handle))
            .replace(";;ITEMS", &self.items)
    }
}

/// A document's bytes.
pub(crate) fn bytes(document: &Document) -> Vec<u8> {
    RawDocumentBuf::try_from(document).unwrap().into_bytes()
}

/// Bytes as a string of the text format.
pub(crate) fn data(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}
