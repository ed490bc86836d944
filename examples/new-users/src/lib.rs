//! Welcomes new users: every insert into `users.users` becomes a mail, for a sink that sends it.
#![forbid(unsafe_code)]

use oplet_sdk::{Handler, Op, Outcome, emit};
use serde::{Deserialize, Serialize};

/// Writes the mails. It needs no state.
#[derive(Debug, Default)]
pub struct NewUsers;

#[derive(Deserialize)]
struct User<'a> {
    username: &'a str,
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
        // Nobody can write to a user without an address.
        op.is_insert() && op.namespace() == "users.users" && op.get_str("data.email").is_some()
    }

    fn handle(&mut self, op: &Op) -> Outcome {
        // `?` rejects a user without a name, with the reason.
        let Some(User { username, email }) = op.data_as()? else {
            return Ok(());
        };
        emit(&Mail {
            _id: op.op_id(),
            to: email,
            subject: format!("Welcome, {username}!"),
            body: format!("Hello {username},\n\nyour account is ready.\n"),
        })?;
        Ok(())
    }
}

oplet_sdk::export!(NewUsers);
