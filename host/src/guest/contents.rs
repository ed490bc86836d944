//! Reading the sections of a module.

use std::fmt::Write as _;

use wasmparser::{
    CompositeInnerType, ExternalKind, FuncType, KnownCustom, MemoryType, Name, Parser, Payload,
    TableType, TypeRef,
};

use super::complexity::Complexity;
use super::findings::Finding;
use super::inspect::Item;
use super::log::shown;

/// How Rust's linker marks an export that it wrapped with constructors and destructors.
const COMMAND_WRAPPER: &str = ".command_export";
/// How the sections of DWARF are called.
const DEBUG_SECTION: &str = ".debug_";

/// Characters of a name that are kept. Names are shown to people, and none that matters is so long.
const NAME_CHARACTERS_MAX: usize = 200;

/// Parameters and results that a signature shows. Thousands of functions could share one type of a
/// thousand parameters.
const SIGNATURE_TYPES_MAX: usize = 16;

/// How many of each a module may have: what it takes to read them is bounded so, whatever the file
/// says. A handler has a tenth of this. Tables and memories have limits of their own.
const TYPES_MAX: u32 = 20_000;
/// 100,000 functions, were they empty, take seconds and half a gigabyte to compile.
const FUNCTIONS_MAX: u32 = 30_000;
const IMPORTS_MAX: u32 = 300;
const TABLES_MAX: u32 = 1_000;
const MEMORIES_MAX: u32 = 1_000;
const EXPORTS_MAX: u32 = 20_000;

/// Tells a core module from everything else by its first bytes.
pub(super) fn not_a_module(bytes: &[u8]) -> Option<Finding> {
    match bytes {
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => return Some(Finding::Component),
        [0, b'a', b's', b'm', _, _, _, _, ..] => return None,
        _ => {}
    }
    const BUILD: &str =
        "build the handler for `wasm32-wasip1`, and give the `.wasm` file that this makes";
    let begins = |prefix: &[u8]| bytes.starts_with(prefix);
    let text = std::str::from_utf8(bytes).ok().map(str::trim_start);
    let (looks_like, remedy) = if bytes.is_empty() {
        ("an empty file", BUILD)
    } else if begins(b"\0asm") {
        ("a module that was cut off", BUILD)
    } else if text.is_some_and(|text| {
        text.starts_with("(module") || text.starts_with(";;") || text.starts_with("(;")
    }) {
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

/// What stands in a module's sections, as far as it is of interest.
#[derive(Default)]
pub(super) struct Contents {
    types: Vec<Option<FuncType>>,
    /// Type of each function, the imported ones first.
    functions: Vec<u32>,
    pub(super) memories: Vec<MemoryType>,
    pub(super) tables: Vec<TableType>,
    pub(super) exports: Vec<Item>,
    pub(super) imports: Vec<Item>,
    pub(super) complexity: Complexity,
    pub(super) has_names: bool,
    pub(super) command_wrapper: Option<String>,
    /// What there is too much of; that was not read.
    pub(super) too_many: Vec<Finding>,
    /// Bytes of debugging information.
    pub(super) debug_bytes: usize,
}

impl Contents {
    pub(super) fn read(&mut self, wasm: &[u8]) -> wasmparser::Result<()> {
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            if let Some(finding) = too_many(&payload) {
                self.too_many.push(finding);
                continue;
            }
            match payload {
                Payload::TypeSection(types) => {
                    for group in types {
                        // A group is one entry of the section, whatever it holds.
                        if self.types.len() > TYPES_MAX as usize {
                            self.too_many
                                .push(many("types", self.types.len(), TYPES_MAX));
                            break;
                        }
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
                        if self.imports.len() > IMPORTS_MAX as usize {
                            self.too_many
                                .push(many("imports", self.imports.len(), IMPORTS_MAX));
                            break;
                        }
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
                            name: shown(export.name, NAME_CHARACTERS_MAX),
                            signature: self.signature(export.kind, export.index),
                        });
                    }
                }
                Payload::CodeSectionEntry(body) => self.complexity.look_at(&body),
                Payload::CustomSection(section) => {
                    if section.name().starts_with(DEBUG_SECTION) {
                        self.debug_bytes += section.data().len();
                    }
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
                                .map(|naming| shown(naming.name, NAME_CHARACTERS_MAX));
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
            module: Some(shown(import.module, NAME_CHARACTERS_MAX)),
            name: shown(import.name, NAME_CHARACTERS_MAX),
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
            Some(Some(func))
                if func.params().len() + func.results().len() > SIGNATURE_TYPES_MAX =>
            {
                format!(
                    "(func with {} parameters and {} results)",
                    func.params().len(),
                    func.results().len()
                )
            }
            Some(Some(func)) => func.to_string(),
            _ => "(func (type ?))".into(),
        }
    }
}

/// What a section has too much of, by its own count.
fn too_many(payload: &Payload<'_>) -> Option<Finding> {
    let (what, count, limit) = match payload {
        Payload::TypeSection(section) => ("types", section.count(), TYPES_MAX),
        Payload::ImportSection(section) => ("imports", section.count(), IMPORTS_MAX),
        Payload::FunctionSection(section) => ("functions", section.count(), FUNCTIONS_MAX),
        Payload::TableSection(section) => ("tables", section.count(), TABLES_MAX),
        Payload::MemorySection(section) => ("memories", section.count(), MEMORIES_MAX),
        Payload::ExportSection(section) => ("exports", section.count(), EXPORTS_MAX),
        _ => return None,
    };
    (count > limit).then(|| many(what, count as usize, limit))
}

fn many(what: &'static str, count: usize, limit: u32) -> Finding {
    Finding::TooMany {
        what,
        count,
        limit: limit as usize,
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
