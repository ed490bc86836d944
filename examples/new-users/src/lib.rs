//! Welcomes new users: every insert into `users.users` becomes a mail, for a sink that sends it.
#![forbid(unsafe_code)]

use oplet_sdk::{Handler, Op, Outcome, emit};
use serde::{Deserialize, Serialize};

/// Writes the mails. It needs no state.
#[derive(Debug, Default)]
pub struct NewUsers;

#[derive(Deserialize)]
struct User<'a> {
    name: &'a str,
    email: &'a str,
}

#[derive(Serialize)]
struct Mail<'a> {
    /// The same when the op comes again, so that a sink can tell that this mail is out already.
    _id: &'a str,
    to: &'a str,
    subject: String,
    body: String,
}

impl Handler for NewUsers {
    fn filter(&self, op: &Op) -> bool {
        op.is_insert() && op.namespace() == "users.users"
    }

    fn handle(&mut self, op: &Op) -> Outcome {
        // A user without name or address is rejected, with the reason: nobody can write to them.
        let Some(User { name, email }) = op.data_as()? else {
            return Ok(());
        };
        emit(&Mail {
            _id: op.op_id(),
            to: email,
            subject: format!("Welcome, {name}!"),
            body: format!("Hello {name},\n\nyour account is ready.\n"),
        })?;
        Ok(())
    }
}

oplet_sdk::export!(NewUsers);
