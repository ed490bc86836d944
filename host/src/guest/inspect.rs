//! Reading what a module holds, without running or compiling any of it.

use std::fmt::Write as _;

use oplet_sdk::abi::export;
use serde::Serialize;
use sha2::{Digest, Sha256};
use wasmparser::{
    CompositeInnerType, ExternalKind, FuncType, KnownCustom, MemoryType, Name, Parser, Payload,
    TableType, TypeRef, Validator,
};

use super::engine::FEATURES;
use super::findings::Finding;
use super::limits::{Limits, MEMORIES};
use super::signature;

/// Bytes of a page of linear memory.
const PAGE_BYTES: u64 = 64 << 10;

/// How Rust's linker marks an export that it wrapped with constructors and destructors.
const COMMAND_WRAPPER: &str = ".command_export";

/// What some bytes are, as `oplet inspect` prints it. Made for refused modules too; what could not
/// be read is left empty.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Size in bytes.
    pub size: usize,
    /// SHA-256 digest of the bytes, in hex.
    pub sha256: String,
    /// The ABI version that the module is marked with; none when there is no marker, or several.
    pub abi_version: Option<u32>,
    /// Bytes of linear memory at the start.
    pub memory_bytes: Option<u64>,
    /// What the module exports, in its own order.
    pub exports: Vec<Item>,
    /// What the module imports, in its own order.
    pub imports: Vec<Item>,
    /// What would be refused; empty when the module can be loaded.
    pub findings: Vec<Finding>,
    /// What can be loaded, but is slower or harder to debug than need be.
    pub warnings: Vec<String>,
}

/// An export or an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The module that it is imported from; none for exports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// Its name.
    pub name: String,
    /// Its type as in the text format: `(func (param i32 i32) (result i32))`, `(memory 17)`.
    pub signature: String,
}

impl Inspection {
    /// Reads the bytes and holds them against the ABI and the limits.
    #[must_use]
    pub fn new(wasm: &[u8], limits: &Limits) -> Self {
        let mut inspection = Self::scan(wasm, limits);
        // Slow on large modules, and loading does it again while compiling; so not part of `scan`.
        if inspection.is_module()
            && let Err(error) = Validator::new_with_features(FEATURES).validate_all(wasm)
            && !inspection.has_invalid()
        {
            inspection.findings.push(Finding::Invalid {
                message: error.to_string(),
            });
        }
        inspection
    }

    /// As [`new`](Self::new), but for the validation of each instruction.
    pub(super) fn scan(wasm: &[u8], limits: &Limits) -> Self {
        let mut inspection = Self {
            size: wasm.len(),
            sha256: hex(&Sha256::digest(wasm)),
            abi_version: None,
            memory_bytes: None,
            exports: Vec::new(),
            imports: Vec::new(),
            findings: Vec::new(),
            warnings: Vec::new(),
        };
        if let Some(finding) = not_a_module(wasm) {
            inspection.findings.push(finding);
            return inspection;
        }
        if wasm.len() > limits.module_bytes {
            inspection.findings.push(Finding::TooLarge {
                size: wasm.len(),
                limit: limits.module_bytes,
            });
        }
        let mut contents = Contents::default();
        match contents.read(wasm) {
            Ok(()) => inspection.judge(&contents, limits),
            Err(error) => inspection.findings.push(Finding::Invalid {
                message: error.to_string(),
            }),
        }
        inspection.exports = contents.exports;
        inspection.imports = contents.imports;
        inspection
    }

    /// Whether the module exports a function of that name.
    #[must_use]
    pub fn has_export(&self, name: &str) -> bool {
        self.exports.iter().any(|item| item.name == name)
    }

    fn is_module(&self) -> bool {
        !self
            .findings
            .iter()
            .any(|finding| matches!(finding, Finding::NotWasm { .. } | Finding::Component))
    }

    fn has_invalid(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| matches!(finding, Finding::Invalid { .. }))
    }

    fn judge(&mut self, contents: &Contents, limits: &Limits) {
        self.memory_bytes = contents
            .memories
            .first()
            .map(|memory| memory.initial.saturating_mul(PAGE_BYTES));
        self.judge_exports(contents);
        self.judge_imports(contents);
        self.judge_limits(contents, limits);
        self.warn(contents);
    }

    fn judge_exports(&mut self, contents: &Contents) {
        let exports = |name: &str| contents.exports.iter().any(|item| item.name == name);
        if exports(export::START) {
            self.findings.push(Finding::Command);
        }

        let handlers: Vec<&'static str> = [export::FILTER, export::HANDLE, export::PIPELINE]
            .into_iter()
            .filter(|name| exports(name))
            .collect();
        let markers: Vec<(&str, u32)> = contents
            .exports
            .iter()
            .filter_map(|item| {
                let version = item.name.strip_prefix(export::MARKER_PREFIX)?;
                Some((item.name.as_str(), version.parse().ok()?))
            })
            .collect();
        match markers.as_slice() {
            [] => self.findings.push(Finding::NoMarker {
                handlers: handlers.clone(),
            }),
            [(marker, version)] => {
                self.abi_version = Some(*version);
                if *marker != export::MARKER_V1 {
                    self.findings.push(Finding::UnknownVersion {
                        marker: (*marker).to_owned(),
                    });
                }
            }
            several => self.findings.push(Finding::SeveralVersions {
                markers: several.iter().map(|(name, _)| (*name).to_owned()).collect(),
            }),
        }
        if handlers.is_empty() {
            self.findings.push(Finding::NoHandler);
        }
        for name in [export::MEMORY, export::ALLOC] {
            if !exports(name) {
                self.findings.push(Finding::MissingExport { name });
            }
        }

        for item in &contents.exports {
            let expected = if item.name == export::MEMORY {
                if item.signature.starts_with("(memory") {
                    continue;
                }
                "(memory)".to_owned()
            } else {
                match signature::EXPORTS.iter().find(|(name, _)| *name == item.name) {
                    Some((_, expected)) => expected.to_string(),
                    None => continue,
                }
            };
            if item.signature != expected {
                self.findings.push(Finding::WrongExport {
                    name: item.name.clone(),
                    expected,
                    found: item.signature.clone(),
                });
            }
        }
    }

    fn judge_imports(&mut self, contents: &Contents) {
        for item in &contents.imports {
            let module = item.module.clone().unwrap_or_default();
            let known = signature::imports()
                .find(|(from, name, _)| *from == module && *name == item.name);
            match known {
                None => self.findings.push(Finding::UnknownImport {
                    module,
                    name: item.name.clone(),
                }),
                Some((_, _, expected)) if expected.to_string() != item.signature => {
                    self.findings.push(Finding::WrongImport {
                        module,
                        name: item.name.clone(),
                        expected: expected.to_string(),
                        found: item.signature.clone(),
                    });
                }
                Some(_) => {}
            }
        }
    }

    fn judge_limits(&mut self, contents: &Contents, limits: &Limits) {
        if contents.memories.len() > MEMORIES {
            self.findings.push(Finding::SeveralMemories {
                count: contents.memories.len(),
            });
        }
        if contents.memories.iter().any(|memory| memory.shared) {
            self.findings.push(Finding::SharedMemory);
        }
        if let Some(bytes) = self.memory_bytes
            && bytes > limits.memory_bytes as u64
        {
            self.findings.push(Finding::InitialMemory {
                bytes,
                limit: limits.memory_bytes,
            });
        }
        if contents.tables.len() > limits.tables {
            self.findings.push(Finding::SeveralTables {
                count: contents.tables.len(),
                limit: limits.tables,
            });
        }
        for table in &contents.tables {
            if table.initial > limits.table_elements as u64 {
                self.findings.push(Finding::InitialTable {
                    elements: table.initial,
                    limit: limits.table_elements,
                });
            }
        }
    }

    fn warn(&mut self, contents: &Contents) {
        if let Some(name) = &contents.command_wrapper {
            self.warnings.push(format!(
                "constructors and destructors run around every call (`{name}`): export an \
                 `_initialize` that calls `__wasm_call_ctors`, as `oplet_sdk::export!` does"
            ));
        }
        let unbounded = |memory: &MemoryType| memory.maximum.is_none();
        if contents.memories.first().is_some_and(unbounded) {
            self.warnings.push(
                "its memory has no maximum of its own: only the host's limit stops its growth".into(),
            );
        }
        if !contents.has_names {
            self.warnings.push(
                "no names of functions: backtraces will show numbers; with Rust set \
                 `strip = \"debuginfo\"`, with AssemblyScript build with `--debug`"
                    .into(),
            );
        }
    }
}

/// What stands in a module's sections, as far as it is of interest.
#[derive(Default)]
struct Contents {
    types: Vec<Option<FuncType>>,
    /// Type of each function, the imported ones first.
    functions: Vec<u32>,
    memories: Vec<MemoryType>,
    tables: Vec<TableType>,
    exports: Vec<Item>,
    imports: Vec<Item>,
    has_names: bool,
    command_wrapper: Option<String>,
}

impl Contents {
    fn read(&mut self, wasm: &[u8]) -> wasmparser::Result<()> {
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::TypeSection(types) => {
                    for group in types {
                        for ty in group?.into_types() {
                            self.types.push(match ty.composite_type.inner {
                                CompositeInnerType::Func(func) => Some(func),
                                _ => None,
                            });
                        }
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        self.import(import?);
                    }
                }
                Payload::FunctionSection(functions) => {
                    for ty in functions {
                        self.functions.push(ty?);
                    }
                }
                Payload::TableSection(tables) => {
                    for table in tables {
                        self.tables.push(table?.ty);
                    }
                }
                Payload::MemorySection(memories) => {
                    for memory in memories {
                        self.memories.push(memory?);
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export?;
                        self.exports.push(Item {
                            module: None,
                            name: export.name.to_owned(),
                            signature: self.signature(export.kind, export.index),
                        });
                    }
                }
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(names) = section.as_known() {
                        // A damaged name section is no reason to refuse a module.
                        for name in names {
                            let Ok(Name::Function(functions)) = name else {
                                continue;
                            };
                            self.has_names = functions.count() > 0;
                            self.command_wrapper = functions
                                .into_iter()
                                .flatten()
                                .find(|naming| naming.name.ends_with(COMMAND_WRAPPER))
                                .map(|naming| naming.name.to_owned());
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn import(&mut self, import: wasmparser::Import<'_>) {
        let signature = match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                self.functions.push(ty);
                self.func_type(ty)
            }
            TypeRef::Memory(memory) => {
                self.memories.push(memory);
                memory_text(&memory)
            }
            TypeRef::Table(table) => {
                self.tables.push(table);
                table_text(&table)
            }
            TypeRef::Global(global) => {
                if global.mutable {
                    format!("(global (mut {}))", global.content_type)
                } else {
                    format!("(global {})", global.content_type)
                }
            }
            TypeRef::Tag(_) => "(tag)".into(),
        };
        self.imports.push(Item {
            module: Some(import.module.to_owned()),
            name: import.name.to_owned(),
            signature,
        });
    }

    fn signature(&self, kind: ExternalKind, index: u32) -> String {
        let at = index as usize;
        match kind {
            ExternalKind::Func | ExternalKind::FuncExact => match self.functions.get(at) {
                Some(&ty) => self.func_type(ty),
                None => "(func)".into(),
            },
            ExternalKind::Memory => match self.memories.get(at) {
                Some(memory) => memory_text(memory),
                None => "(memory)".into(),
            },
            ExternalKind::Table => match self.tables.get(at) {
                Some(table) => table_text(table),
                None => "(table)".into(),
            },
            ExternalKind::Global => "(global)".into(),
            ExternalKind::Tag => "(tag)".into(),
        }
    }

    fn func_type(&self, ty: u32) -> String {
        match self.types.get(ty as usize) {
            Some(Some(func)) => func.to_string(),
            _ => "(func (type ?))".into(),
        }
    }
}

fn memory_text(memory: &MemoryType) -> String {
    let mut text = format!("(memory {}", memory.initial);
    if let Some(maximum) = memory.maximum {
        let _infallible = write!(text, " {maximum}");
    }
    if memory.shared {
        text.push_str(" shared");
    }
    text.push(')');
    text
}

fn table_text(table: &TableType) -> String {
    match table.maximum {
        Some(maximum) => format!("(table {} {maximum} {})", table.initial, table.element_type),
        None => format!("(table {} {})", table.initial, table.element_type),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// Tells a core module from everything else by its first bytes.
fn not_a_module(bytes: &[u8]) -> Option<Finding> {
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => return Some(Finding::Component),
        [0, b'a', b's', b'm', _, _, _, _, ..] => return None,
        _ => {}
    }
    const BUILD: &str = "build the handler for `wasm32-wasip1`, and give the `.wasm` file that this makes";
    let begins = |prefix: &[u8]| bytes.starts_with(prefix);
    let text = std::str::from_utf8(bytes).ok().map(str::trim_start);
    let (looks_like, remedy) = if bytes.is_empty() {
        ("an empty file", BUILD)
    } else if begins(b"\0asm") {
        ("a module that was cut off", BUILD)
    } else if text.is_some_and(|text| text.starts_with("(module") || text.starts_with(";;") || text.starts_with("(;")) {
        (
            "WebAssembly text (.wat)",
            "make a binary of it first: `wat2wasm FILE.wat` or `wasm-tools parse FILE.wat -o FILE.wasm`",
        )
    } else if begins(b"\x7fELF") || begins(b"MZ") || begins(&[0xCF, 0xFA, 0xED, 0xFE]) {
        ("a library or program for a machine", BUILD)
    } else if begins(b"!<arch>") {
        ("a static library", BUILD)
    } else if begins(&[0x1F, 0x8B]) || begins(b"PK\x03\x04") || begins(&[0x28, 0xB5, 0x2F, 0xFD]) {
        ("a compressed file", "unpack it first")
    } else if text.is_some() {
        ("text", BUILD)
    } else {
        ("other binary data", BUILD)
    };
    Some(Finding::NotWasm { looks_like, remedy })
}
