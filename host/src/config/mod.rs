//! Settings: what they are called, where their values came from, what is wrong with them.
//!
//! Enters: what the command line says, a configuration file, environment variables. Leaves:
//! [`Settings`], each value with its [`Origin`], or every [`Problem`] that was found, in one go. Flags win
//! over the environment, that over the file, that over the default. Nothing is opened but the file and
//! those that it names for secrets. A secret is never shown.
//!
//! `definitions` has every setting; a new one is a new entry there, a flag in `cli/args.rs` if it is to
//! have one, and a row in `docs/configuration.md`: tests compare the three.

mod deferred;
mod definitions;
mod document;
mod granted;
mod load;
mod origin;
mod parts;
mod problem;
mod readers;
mod secret;
mod settings;
mod show;
mod values;

pub(crate) use deferred::{checkpoint, dead_letters};
#[cfg(test)]
pub(crate) use definitions::{Definition, GuestValues, PolicyValues};
pub(crate) use definitions::{Layer, PolicyLayer, Row, Values};
pub(crate) use load::{CommandLine, environment, load};
pub(crate) use origin::{Origin, Sourced};
pub(crate) use parts::{ModuleSettings, SinkSettings, module_name};
pub(crate) use problem::{Problem, unknown};
pub(crate) use secret::{Secret, without_secrets};
pub(crate) use settings::Settings;
pub(crate) use values::{
    Begin, SOURCES, Setting, Uri, Uris, address, begin, collection, count, list_document, name,
    namespace, on_position_lost, oplog_namespace, setting, since, span, until, worker,
};

#[cfg(test)]
mod tests;
