//! Numbers the ops that it handles, and hands the number over to the next version: a number that is
//! missing, or there twice, tells of a state that was lost.
#![forbid(unsafe_code)]

use oplet_sdk::{Error, Handler, Op, Outcome, State, bson::doc, emit};

/// The form of the state.
const VERSION: i32 = 1;

#[derive(Default)]
struct Tally {
    handled: i64,
}

impl Handler for Tally {
    fn filter(&self, op: &Op) -> bool {
        !op.is_command()
    }

    fn handle(&mut self, op: &Op) -> Outcome {
        self.handled += 1;
        let namespace = op.namespace().as_str();
        let (database, _) = namespace.split_once('.').unwrap_or((namespace, ""));
        emit(&doc! {
            "_id": op.op_id(),
            "_ns": format!("{database}_audit.ops"),
            "_mode": "update",
            "$inc": { "times": 1 },
            "$set": { "number": self.handled },
        })?;
        Ok(())
    }

    fn save(&self) -> Result<Option<State<'_>>, Error> {
        Ok(Some(State::new(VERSION, &self.handled)?))
    }

    fn restore(&mut self, state: &State<'_>) -> Outcome {
        match state.version() {
            VERSION => self.handled = state.read()?,
            _ => return Err(state.unknown()),
        }
        Ok(())
    }
}

oplet_sdk::export!(Tally);
