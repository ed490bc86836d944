//! Reading what a module holds, without running or compiling any of it.

use std::fmt::Write as _;

use oplet_sdk::abi::export;
use serde::Serialize;
use sha2::{Digest, Sha256};
use wasmparser::Validator;

use super::contents::{Contents, not_a_module};
use super::findings::Finding;
use super::limits::{Limits, MEMORIES};
use super::runtime::FEATURES;
use super::signature;
use super::warnings::Warning;

/// Bytes of a page of linear memory.
const PAGE_BYTES: u64 = 64 << 10;

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
    pub warnings: Vec<Warning>,
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
        if inspection.is_worth_reading()
            && let Err(error) = Validator::new_with_features(FEATURES).validate_all(wasm)
            && !inspection.is_known_invalid()
        {
            inspection.findings.push(Finding::invalid(&error));
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
            // Reading on would take time and memory in proportion.
            return inspection;
        }
        let mut contents = Contents::default();
        match contents.read(wasm) {
            Ok(()) if contents.too_many.is_empty() => inspection.judge(&contents, limits),
            Ok(()) => inspection.findings.append(&mut contents.too_many),
            Err(error) => inspection.findings.push(Finding::invalid(&error)),
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

    fn is_worth_reading(&self) -> bool {
        !self.findings.iter().any(|finding| {
            matches!(
                finding,
                Finding::NotWasm { .. }
                    | Finding::Component
                    | Finding::TooLarge { .. }
                    | Finding::TooMany { .. }
                    | Finding::SlowToCompile { .. }
            )
        })
    }

    /// Whether there is a finding already that the validator would only repeat in other words.
    fn is_known_invalid(&self) -> bool {
        self.findings.iter().any(|finding| {
            matches!(
                finding,
                Finding::Invalid { .. } | Finding::SeveralMemories { .. } | Finding::SharedMemory
            )
        })
    }

    fn judge(&mut self, contents: &Contents, limits: &Limits) {
        self.memory_bytes = contents
            .memories
            .first()
            .map(|memory| memory.initial.saturating_mul(PAGE_BYTES));
        self.judge_exports(contents);
        self.judge_imports(contents);
        self.judge_limits(contents, limits);
        self.findings.extend(contents.complexity.finding());
        self.warnings = Warning::all(contents, self.size);
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
                match signature::EXPORTS
                    .iter()
                    .find(|(name, _)| *name == item.name)
                {
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
            let known =
                signature::imports().find(|(from, name, _)| *from == module && *name == item.name);
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
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
