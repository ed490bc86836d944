//! A server in miniature, on which everything goes wrong that can.

use std::collections::{HashMap, HashSet};

use bson::{Document, RawDocument, doc};
use proptest::prelude::*;

use super::*;
use crate::sink::mongodb::stages::stages;

/// What the server makes of a statement, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    Good,
    Refused,
    Unreadable,
}

/// What happens to a command, beside its own merits.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Answered,
    /// So many statements are carried out, and no answer comes.
    Lost(usize),
    /// It never arrives.
    Unsent,
    /// This statement cannot be carried out now.
    Busy(usize),
    /// No majority.
    Alone,
}

#[derive(Debug)]
struct Server {
    natures: Vec<Nature>,
    /// The statements that were carried out, in order.
    done: Vec<usize>,
    /// By number of the command, which of its statements were carried out.
    known: HashMap<i64, (Vec<u8>, HashSet<usize>)>,
}

enum Answer {
    Reply(Document),
    Unreadable,
    None,
}

impl Server {
    fn carry_out(&mut self, command: &Command<'_>, fate: Fate) -> Answer {
        if let Fate::Unsent = fate {
            return Answer::None;
        }
        let bytes = command.bytes.as_bytes().to_vec();
        let document: Document = RawDocument::from_bytes(&bytes).unwrap().try_into().unwrap();
        let (_, array) = document.iter().last().unwrap();
        let indexes: Vec<usize> = array
            .as_array()
            .unwrap()
            .iter()
            .map(|statement| {
                let index = statement.as_document().unwrap().get_i32("i");
                index.unwrap() as usize
            })
            .collect();
        let is_unreadable = |index: &usize| self.natures[*index] == Nature::Unreadable;
        if indexes.iter().any(is_unreadable) {
            return Answer::Unreadable;
        }
        let number = command.number.unwrap();
        let known = self.known.entry(number);
        let (first_bytes, known) = known.or_insert((bytes.clone(), HashSet::new()));
        assert_eq!(*first_bytes, bytes, "one number, one command");
        let mut errors = Vec::new();
        for (place, index) in indexes.iter().enumerate() {
            if let Fate::Lost(count) = fate
                && count == place
            {
                return Answer::None;
            }
            let code = match (self.natures[*index], fate) {
                _ if known.contains(&place) => continue,
                (Nature::Refused, _) => 121,
                (_, Fate::Busy(busy)) if busy % indexes.len() == place => 112,
                _ => {
                    known.insert(place);
                    self.done.push(*index);
                    continue;
                }
            };
            errors.push(doc! { "index": place as i32, "code": code });
            if document.get_bool("ordered").unwrap() {
                break;
            }
        }
        let mut reply = doc! { "ok": 1, "writeErrors": errors };
        match fate {
            Fate::Lost(_) => return Answer::None,
            Fate::Alone => {
                reply.insert("writeConcernError", doc! { "code": 64 });
            }
            _ => {}
        }
        Answer::Reply(reply)
    }
}

const CHOICE: Choice = Choice {
    of_key_by_id: true,
    of_namespace_by_document: false,
};

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        2 => Just(Fate::Answered),
        3 => (0..8_usize).prop_map(Fate::Lost),
        1 => Just(Fate::Unsent),
        3 => (0..8_usize).prop_map(Fate::Busy),
        1 => Just(Fate::Alone),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_each_statement_is_carried_out_once_and_in_order(
        history in prop::collection::vec((0..5_u8, 0..3_usize, 0..12_u8), 1..40),
        fates in prop::collection::vec(fate(), 0..40),
    ) {
        let verbs = [Verb::Insert, Verb::Update, Verb::Delete];
        let statements = history.iter().enumerate().map(|(index, (target, verb, _))| Statement {
            index,
            namespace: "a.b".into(),
            verb: verbs[*verb],
            bytes: doc! { "i": index as i32 }.to_vec().unwrap(),
            target: vec![*target],
        });
        let nature = |kind: u8| match kind {
            0 => Nature::Unreadable,
            1 => Nature::Refused,
            _ => Nature::Good,
        };
        let natures: Vec<_> = history.iter().map(|(_, _, kind)| nature(*kind)).collect();
        let mut work = Work::new(stages(statements.collect()), Vec::new());
        let mut server = Server { natures, done: Vec::new(), known: HashMap::new() };
        let mut fates = fates.into_iter();
        let mut numbers = 0..;
        for attempt in 0.. {
            prop_assert!(attempt < 1_000, "it comes to an end");
            let fate = fates.next().unwrap_or(Fate::Answered);
            let Some(command) = work.command(|_| numbers.next()) else { break };
            match server.carry_out(&command, fate) {
                Answer::Reply(reply) => {
                    let _ = work.learn(&reply, CHOICE);
                }
                Answer::Unreadable => work.unreadable("unreadable".into()),
                Answer::None => {}
            }
        }

        let rejected: Vec<_> = work.finish().iter().map(|rejection| rejection.index).collect();
        let is_bad = |index: &usize| server.natures[*index] != Nature::Good;
        let bad: Vec<_> = (0..history.len()).filter(is_bad).collect();
        prop_assert_eq!(&rejected, &bad);
        let mut done = server.done.clone();
        done.sort_unstable();
        let good: Vec<_> = (0..history.len()).filter(|index| !is_bad(index)).collect();
        prop_assert_eq!(done, good);
        for target in 0..5 {
            let of_target = |index: &&usize| history[**index].0 == target;
            // The order of deletes of one document makes no difference.
            let moves: Vec<_> = server.done.iter().filter(of_target).collect();
            let disordered = moves.windows(2).find(|pair| pair[0] > pair[1]
                && !pair.iter().all(|index| history[**index].1 == 2));
            prop_assert_eq!(disordered, None);
        }
    }
}
