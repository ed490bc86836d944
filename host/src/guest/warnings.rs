//! What could be better about a module that can be loaded, each with the way to it.

use std::fmt;

use oplet_sdk::abi::export;
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{contents::Contents, signature};

/// From here on a module without its debugging information counts as large: its compilation takes the
/// better part of a second.
const LARGE_BYTES: usize = 1 << 20;
/// From here on debugging information is worth a word.
const DEBUG_BYTES: usize = 64 << 10;
/// Every export that only the host calls starts with this.
const EXPORT_PREFIX: &str = "oplet_";
/// How many letters a misspelt export may differ in.
const MISSPELT_DISTANCE_MAX: usize = 2;

/// One thing that makes a module slower, larger or harder to debug than need be. Printed as a clause;
/// [`hint`](Self::hint) is the remedy. Serialised as `{kind, message, hint}`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The linker took it for a program, and wrapped its exports.
    ConstructorWrapper {
        /// The first wrapped function.
        function: String,
    },
    /// Nothing but the host's limit stops the growth of its memory.
    UnboundedMemory,
    /// Backtraces will show numbers.
    NoNames,
    /// Much of it is debugging information.
    DebugInformation {
        /// Bytes of it.
        bytes: usize,
    },
    /// Much code.
    Large {
        /// Bytes, without debugging information.
        bytes: usize,
    },
    /// An export that looks like one of the ABI's, and is none: the host never calls it.
    UnknownExport {
        /// Its name.
        name: String,
    },
}

impl Warning {
    /// All that there is to say about a module of so many bytes.
    pub(super) fn all(contents: &Contents, size: usize) -> Vec<Self> {
        let mut warnings = Vec::new();
        if let Some(function) = &contents.command_wrapper {
            warnings.push(Self::ConstructorWrapper {
                function: function.clone(),
            });
        }
        let memory = contents.memories.first();
        if memory.is_some_and(|memory| memory.maximum.is_none()) {
            warnings.push(Self::UnboundedMemory);
        }
        if !contents.has_names {
            warnings.push(Self::NoNames);
        }
        if contents.debug_bytes >= DEBUG_BYTES {
            warnings.push(Self::DebugInformation {
                bytes: contents.debug_bytes,
            });
        }
        let bytes = size.saturating_sub(contents.debug_bytes);
        if bytes > LARGE_BYTES {
            warnings.push(Self::Large { bytes });
        }
        let unknown = contents
            .exports
            .iter()
            .filter(|item| is_unknown(&item.name));
        warnings.extend(unknown.map(|item| Self::UnknownExport {
            name: item.name.clone(),
        }));
        warnings
    }

    /// One word for programs, the same in every version.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ConstructorWrapper { .. } => "constructor-wrapper",
            Self::UnboundedMemory => "unbounded-memory",
            Self::NoNames => "no-names",
            Self::DebugInformation { .. } => "debug-information",
            Self::Large { .. } => "large",
            Self::UnknownExport { .. } => "unknown-export",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let text = match self {
            Self::ConstructorWrapper { .. } => {
                "export an `_initialize` that calls `__wasm_call_ctors`, as `oplet_sdk::export!` does"
            }
            Self::UnboundedMemory => {
                "give it one: `link-arg=--max-memory=67108864` in Rust and C, `--maximumMemory 1024` \
                 in AssemblyScript"
            }
            Self::NoNames => {
                "set `strip = \"debuginfo\"` in Rust, build with `--debug` in AssemblyScript"
            }
            Self::DebugInformation { .. } => {
                "`oplet build` leaves it out, as `strip = \"debuginfo\"` does in Rust; names stay"
            }
            Self::Large { .. } => {
                "`oplet build --optimize size` may help, and fewer or smaller dependencies do"
            }
            Self::UnknownExport { name } => {
                return match nearest_export(name) {
                    Some(nearest) => format!("did you mean `{nearest}`?"),
                    None => {
                        "names that begin with `oplet_` belong to the ABI: a newer host may know \
                         it; else call it something else"
                            .into()
                    }
                };
            }
        };
        text.to_owned()
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConstructorWrapper { function } => write!(
                f,
                "constructors and destructors run around every call (`{function}`)"
            ),
            Self::UnboundedMemory => f.write_str(
                "its memory has no maximum of its own: only the host's limit stops its growth",
            ),
            Self::NoNames => f.write_str("no names of functions: backtraces will show numbers"),
            Self::DebugInformation { bytes } => {
                write!(f, "{bytes} bytes of it are debugging information")
            }
            Self::Large { bytes } => write!(
                f,
                "{bytes} bytes are much for a handler: it takes long to compile"
            ),
            Self::UnknownExport { name } => {
                write!(f, "export `{name}` is none that this host calls")
            }
        }
    }
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Warning", 3)?;
        fields.serialize_field("kind", self.kind())?;
        fields.serialize_field("message", &self.to_string())?;
        fields.serialize_field("hint", &self.hint())?;
        fields.end()
    }
}

/// Whether a name was meant for the host, which does not know it.
fn is_unknown(name: &str) -> bool {
    let is_known =
        name == export::MEMORY || signature::EXPORTS.iter().any(|(known, _)| *known == name);
    // Markers have findings of their own.
    let is_marker = name.starts_with(export::MARKER_PREFIX);
    !is_known && !is_marker && (name.starts_with(EXPORT_PREFIX) || nearest_export(name).is_some())
}

/// The function of the ABI with nearly that name.
fn nearest_export(name: &str) -> Option<&'static str> {
    let known = signature::EXPORTS.iter().map(|(known, _)| *known);
    known
        .filter(|known| *known != export::MARKER_V1)
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .filter(|(distance, _)| *distance <= MISSPELT_DISTANCE_MAX)
        .min()
        .map(|(_, known)| known)
}
