//! What keeps a module from being loaded, each with the way out.

use std::fmt;

use oplet_sdk::abi::{IMPORT_MODULE, export};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::log::shown;
use super::{signature, wasi};

/// One reason why a module is refused. Printed as a clause; [`hint`](Self::hint) is the remedy.
/// Serialised as `{message, hint}`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// The bytes are something else.
    NotWasm {
        /// What they look like.
        looks_like: &'static str,
        /// What to do about that.
        remedy: &'static str,
    },
    /// A component of the component model.
    Component,
    /// More bytes than a module may have.
    TooLarge {
        /// Bytes of the module.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Starts like a module, but does not validate, or uses a proposal that is off.
    Invalid {
        /// What the validator said.
        message: String,
    },
    /// A WASI program.
    Command,
    /// No version marker.
    NoMarker {
        /// The handler functions that it exports all the same.
        handlers: Vec<&'static str>,
    },
    /// Markers of several ABI versions.
    SeveralVersions {
        /// The markers.
        markers: Vec<String>,
    },
    /// The marker of a version that this host does not speak.
    UnknownVersion {
        /// The marker.
        marker: String,
    },
    /// None of `filter`, `handle`, `pipeline`.
    NoHandler,
    /// An export that every module needs.
    MissingExport {
        /// Its name.
        name: &'static str,
    },
    /// An export of the ABI that is something else than the ABI says.
    WrongExport {
        /// Its name.
        name: String,
        /// As the ABI has it.
        expected: String,
        /// As the module has it.
        found: String,
    },
    /// An import that the host does not provide.
    UnknownImport {
        /// The module that it is imported from.
        module: String,
        /// Its name.
        name: String,
    },
    /// An import of the host that the module declares otherwise.
    WrongImport {
        /// The module that it is imported from.
        module: String,
        /// Its name.
        name: String,
        /// As the host has it.
        expected: String,
        /// As the module has it.
        found: String,
    },
    /// A memory that is shared between threads.
    SharedMemory,
    /// More than one memory.
    SeveralMemories {
        /// How many.
        count: usize,
    },
    /// A memory that begins larger than it may ever be.
    InitialMemory {
        /// Bytes at the start.
        bytes: u64,
        /// Bytes allowed.
        limit: usize,
    },
    /// A table that begins larger than it may ever be.
    InitialTable {
        /// Elements at the start.
        elements: u64,
        /// Elements allowed.
        limit: usize,
    },
    /// More tables than a module may have.
    SeveralTables {
        /// How many.
        count: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// More of something than is read at all; then nothing else of the module is looked at.
    TooMany {
        /// What: `imports`, for instance.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A function that would take very long to compile.
    SlowToCompile {
        /// Loops around each other, times variables.
        score: u64,
        /// How much is allowed.
        limit: u64,
    },
}

impl Finding {
    /// What the validator or the compiler says, which may quote names of any kind and length.
    pub(super) fn invalid(message: &impl fmt::Display) -> Self {
        const CHARACTERS_MAX: usize = 1_000;
        Self::Invalid {
            message: shown(&message.to_string(), CHARACTERS_MAX),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NotWasm { remedy, .. } => *remedy,
            Self::Component => {
                "build a core module, as `--target wasm32-wasip1` does, not `wasm32-wasip2`, \
                 `cargo component` or `wasm-tools component new`"
            }
            Self::TooLarge { .. } => {
                "build with `--release`, `opt-level = \"s\"` and `strip = \"debuginfo\"`, \
                 or raise the limit"
            }
            // The validator tells in words only.
            Self::Invalid { message } if message.contains("unexpected end") => {
                "the file seems to be cut off: build or copy it again"
            }
            Self::Invalid { .. } => {
                "threads, memory64, several memories, relaxed SIMD, GC and exceptions are off here"
            }
            Self::Command => {
                "build a library instead of a program: `crate-type = [\"cdylib\"]` in Rust, \
                 `-mexec-model=reactor` in C"
            }
            Self::NoMarker { handlers } if handlers.is_empty() => {
                "is this an Oplet handler? one exports the marker `oplet_abi_v1`, as \
                 `oplet_sdk::export!` does"
            }
            Self::NoMarker { .. } => {
                "put `oplet_sdk::export!(YourHandler);` into the crate, or export an empty function \
                 `oplet_abi_v1` by hand"
            }
            Self::SeveralVersions { .. } => "build against one version of the SDK",
            Self::UnknownVersion { .. } => {
                "this host speaks version 1: build against a matching SDK, or run a newer host"
            }
            Self::NoHandler => "export at least one of `filter`, `handle` and `pipeline`",
            Self::MissingExport { name } if *name == export::MEMORY => {
                "export the linear memory as `memory`"
            }
            Self::MissingExport { name } => {
                return Some(format!(
                    "export `{name}`, as the SDKs do: the host writes ops into the module's memory with it"
                ));
            }
            Self::WrongExport { .. } | Self::WrongImport { .. } => {
                "see the guest ABI, version 1, for the signatures"
            }
            Self::UnknownImport { module, name } => return unknown_import_hint(module, name),
            Self::SharedMemory => "build without threads: no `+atomics`, no `--shared-memory`",
            Self::SeveralMemories { .. } => "a module has one memory",
            Self::InitialMemory { .. } | Self::InitialTable { .. } | Self::SeveralTables { .. } => {
                "make it start smaller, or raise the module's limit"
            }
            Self::SlowToCompile { .. } => {
                "no compiler makes a handler like this; split the function, or put its loops into \
                 functions of their own"
            }
            Self::TooMany { .. } => "no compiler makes a handler like this: is it another module?",
        };
        Some(text.to_owned())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWasm { looks_like, .. } => {
                write!(f, "not WebAssembly: it looks like {looks_like}")
            }
            Self::Component => f.write_str("a component, not a core module"),
            Self::TooLarge { size, limit } => {
                write!(f, "{size} bytes large, more than the {limit} allowed")
            }
            Self::Invalid { message } => write!(f, "not a valid module: {message}"),
            Self::Command => write!(f, "exports `{}`: a program, no handler", export::START),
            Self::NoMarker { handlers } => match handlers.as_slice() {
                [] => write!(f, "exports no `{}`", export::MARKER_V1),
                [first, ..] => write!(
                    f,
                    "exports `{first}` but no `{}`: was `oplet_sdk::export!` forgotten?",
                    export::MARKER_V1
                ),
            },
            Self::SeveralVersions { markers } => {
                write!(f, "speaks several ABI versions: `{}`", markers.join("`, `"))
            }
            Self::UnknownVersion { marker } => {
                write!(f, "speaks an ABI version unknown to this host: `{marker}`")
            }
            Self::NoHandler => f.write_str("exports none of `filter`, `handle`, `pipeline`"),
            Self::MissingExport { name } => write!(f, "exports no `{name}`"),
            Self::WrongExport {
                name,
                expected,
                found,
            } => write!(f, "export `{name}` is {found}, expected {expected}"),
            Self::UnknownImport { module, name } => {
                write!(f, "unknown import `{module}.{name}`")
            }
            Self::WrongImport {
                module,
                name,
                expected,
                found,
            } => write!(
                f,
                "import `{module}.{name}` is {found}, expected {expected}"
            ),
            Self::SharedMemory => f.write_str("its memory is shared between threads"),
            Self::SeveralMemories { count } => write!(f, "it has {count} memories"),
            Self::InitialMemory { bytes, limit } => write!(
                f,
                "its memory starts at {bytes} bytes, more than the limit of {limit}"
            ),
            Self::InitialTable { elements, limit } => write!(
                f,
                "a table starts at {elements} elements, more than the limit of {limit}"
            ),
            Self::SeveralTables { count, limit } => {
                write!(f, "it has {count} tables, more than the limit of {limit}")
            }
            Self::SlowToCompile { score, limit } => write!(
                f,
                "it would take very long to compile: loops around each other times variables are \
                 {score}, more than the limit of {limit}"
            ),
            Self::TooMany { what, count, limit } => {
                write!(f, "it has {count} {what}, more than the limit of {limit}")
            }
        }
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Finding", 2)?;
        fields.serialize_field("message", &self.to_string())?;
        fields.serialize_field("hint", &self.hint())?;
        fields.end()
    }
}

/// Tells a misspelt import from one that another toolchain wants.
fn unknown_import_hint(module: &str, name: &str) -> Option<String> {
    if module.starts_with("__wbindgen") || module == "wbg" {
        return Some("built for a browser by wasm-bindgen: build for `wasm32-wasip1`".into());
    }
    if module.starts_with("wasi:") || module == "wasi_unstable" {
        return Some(format!(
            "built for another WASI: build for `wasm32-wasip1`, whose imports come from `{}`",
            wasi::MODULE
        ));
    }
    if module == "env" && name == "seed" {
        return Some("AssemblyScript's `Math.random`: build with `--use Math.random=` of the SDK, or `--use seed=`".into());
    }
    let sought = format!("{module}.{name}");
    let (distance, nearest) = signature::imports()
        .map(|(module, name, _)| format!("{module}.{name}"))
        .map(|known| (strsim::damerau_levenshtein(&known, &sought), known))
        .min()?;
    if distance <= 3 {
        return Some(format!("did you mean `{nearest}`?"));
    }
    Some(if module == IMPORT_MODULE {
        "this host's version does not provide it: run a newer host, or build against an older SDK"
            .into()
    } else if module == "env" {
        format!("`{name}` was declared but never linked in: link its library, or remove the call")
    } else {
        format!(
            "a module can import from `{IMPORT_MODULE}` and `{}`",
            wasi::MODULE
        )
    })
}
