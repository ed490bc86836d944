//! Handlers as people write them: folders with source code, made from a template and built into modules.
//!
//! [`create`] makes a folder with a handler, sample ops, what is expected of them, and a test. [`build`]
//! finds out what a folder holds, compiles it with the toolchain that is there, and puts the module at one
//! place, whichever language it was written in:
//!
//! ```text
//! create(folder, &NewOptions)          ->  Created {name, files}
//! build(folder, &BuildOptions, lines)  ->  Built {wasm, took, toolchain}
//! ```
//!
//! What compilers say goes to the caller line by line, unchanged. Nothing that exists is overwritten but
//! the module itself, which appears by a rename: who reads it meets the old one or the new one, and an
//! unchanged one keeps its time. Where a tool is missing, the error names the command that mends it.
//!
//! A [`SourceWatcher`] tells when somebody has changed the sources of a project.
//!
//! Both functions block; a long-running caller puts them on a thread of its own.

mod assemblyscript;
mod build;
mod cargo;
mod child;
mod create;
mod language;
mod name;
mod resident;
mod template;
mod toolchain;
mod watch;

pub use build::{BuildError, BuildOptions, Built, Profile, build, build_again};
pub use create::{CreateError, Created, NewOptions, create};
pub use language::{FindError, Language, Project};
pub use name::NameError;
pub use resident::ResidentCompiler;
pub use toolchain::{Missing, RustToolchain};
pub use watch::SourceWatcher;
