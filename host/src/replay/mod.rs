//! Recordings: files of ops, written, read, and played to a module without a server.
//!
//! Enters: op documents, for a [`Writer`], with a [`Redaction`] on the way; a file, for a
//! [`Recording`]. Leaves: [`Chunk`]s of documents as they lie in the file, and, from a [`Player`],
//! what a module makes of each op, with a [`Report`] at the end.
//!
//! A recording is Extended JSON, one op document a line, or BSON, one op document behind the other;
//! which of the two, the first bytes tell. It may also hold raw oplog entries, as mongodump writes
//! them: what they mean the room does not know, and says so ([`Content`]). An op document that a person
//! wrote may leave out what follows from the rest, and is completed.
//!
//! What is wrong with a recording is an [`Error`], which names the file and the line or document; all
//! that lies before it is given first. What is wrong with a module is data, as everywhere.

mod documents;
mod envelope;
mod error;
mod player;
mod recording;
mod redact;
mod report;
mod times;
mod writer;

pub use envelope::OpFault;
pub use error::{Error, Place};
pub use player::{Answer, Played, Player, Setup};
pub use recording::{Chunk, Content, Recording};
pub use redact::{FieldError, Redaction};
pub use report::Report;
pub use times::Times;
pub use writer::{Encoding, Writer};
