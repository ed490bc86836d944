//! A server in miniature, on which everything goes wrong that can.

use std::collections::HashMap;

use bson::{Document, RawDocument, doc};
use proptest::prelude::*;

use super::*;
use crate::sink::mongodb::{
    stages::stages,
    statement::{Among, Extent},
};

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

/// What a statement does to its document, which has two fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Insert(u8),
    Replace(u8),
    /// Of one field.
    Set(usize, u8),
    /// Of both fields, by what they hold.
    Raise(u8),
    Add,
    Delete,
}

impl Change {
    fn among(self) -> Among {
        match self {
            Self::Replace(_) => Among::Last(Extent::Whole),
            Self::Set(field, _) => Among::Last(Extent::Fields(vec![field as u8])),
            Self::Raise(_) => Among::Apart,
            Self::Insert(_) | Self::Add | Self::Delete => Among::Share,
        }
    }

    /// Whether nothing is left of what was before.
    fn overwrites(self, before: Self) -> bool {
        match (self, before) {
            (Self::Replace(_), Self::Replace(_) | Self::Set(..)) => true,
            (Self::Set(now, _), Self::Set(then, _)) => now == then,
            _ => false,
        }
    }
}

/// Documents by their targets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Documents(HashMap<u8, [u32; 2]>);

impl Documents {
    /// Tells whether that has changed anything.
    fn change(&mut self, target: u8, change: Change) -> bool {
        let before = self.0.get(&target).copied();
        let mut fields = before.unwrap_or_default();
        match change {
            Change::Insert(value) | Change::Replace(value) => fields = [value.into(), 0],
            Change::Set(field, value) => fields[field] = value.into(),
            Change::Raise(value) => fields = fields.map(|field| field.max(value.into())),
            Change::Add => fields[0] += 1,
            Change::Delete => {}
        }
        match (change, before) {
            (Change::Insert(_), Some(_)) => {}
            (Change::Delete, _) => {
                self.0.remove(&target);
            }
            _ => {
                self.0.insert(target, fields);
            }
        }
        self.0.get(&target).copied() != before
    }
}

#[derive(Debug)]
struct Server {
    /// Of each statement its target, what it does, and what becomes of it.
    statements: Vec<(u8, Change, Nature)>,
    documents: Documents,
    /// The statements that have changed something, in order.
    done: Vec<usize>,
    /// By numbers of a command and a statement, what has changed something.
    known: HashMap<(i64, usize), usize>,
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
        let is_unreadable = |index: &usize| self.statements[*index].2 == Nature::Unreadable;
        if indexes.iter().any(is_unreadable) {
            return Answer::Unreadable;
        }
        let Number { txn_number, first } = command.number.unwrap();
        assert_eq!(document.get_i64("txnNumber").unwrap(), txn_number);
        assert_eq!(document.get_i32("stmtId").unwrap_or(0), first as i32);
        let mut errors = Vec::new();
        for (place, index) in indexes.iter().enumerate() {
            if let Fate::Lost(count) = fate
                && count == place
            {
                return Answer::None;
            }
            let (target, change, nature) = self.statements[*index];
            let id = (txn_number, first + place);
            let code = match (nature, fate) {
                _ if self.known.contains_key(&id) => {
                    assert_eq!(self.known[&id], *index, "one number, one statement");
                    continue;
                }
                (Nature::Refused, _) => 121,
                (_, Fate::Busy(busy)) if busy % indexes.len() == place => 112,
                _ => {
                    // Of what changes nothing it keeps no record.
                    if self.documents.change(target, change) {
                        self.known.insert(id, *index);
                        self.done.push(*index);
                    }
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

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0..3_u8).prop_map(Change::Insert),
        (0..3_u8).prop_map(Change::Replace),
        (0..2_usize, 0..3_u8).prop_map(|(field, value)| Change::Set(field, value)),
        (0..3_u8).prop_map(Change::Raise),
        Just(Change::Add),
        Just(Change::Delete),
    ]
}

fn nature() -> impl Strategy<Value = Nature> {
    prop_oneof![
        1 => Just(Nature::Unreadable),
        1 => Just(Nature::Refused),
        10 => Just(Nature::Good),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_documents_come_to_what_they_would_have_and_nothing_counts_twice(
        before in prop::collection::hash_map(0..5_u8, prop::array::uniform2(0..3_u32), 0..5),
        statements in prop::collection::vec((0..5_u8, change(), nature()), 1..40),
        fates in prop::collection::vec(fate(), 0..40),
    ) {
        let all = statements.iter().enumerate().map(|(index, (target, change, _))| Statement {
            index,
            namespace: "a.b".into(),
            verb: match change {
                Change::Insert(_) => Verb::Insert,
                Change::Replace(_) | Change::Set(..) | Change::Raise(_) | Change::Add => Verb::Update,
                Change::Delete => Verb::Delete,
            },
            bytes: doc! { "i": index as i32 }.to_vec().unwrap(),
            target: vec![*target],
            among: change.among(),
            superseded: Vec::new(),
        });
        let mut work = Work::new(stages(all.collect()), Vec::new());
        let mut expected = Documents(before);
        let mut server = Server {
            statements: statements.clone(),
            documents: expected.clone(),
            done: Vec::new(),
            known: HashMap::new(),
        };
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
        let is_bad = |index: &usize| statements[*index].2 != Nature::Good;
        // One was not even tried where the next one of that document went through, and overwrites it.
        let is_told = |index: &usize| {
            let (target, change, _) = statements[*index];
            let mut later = statements[index + 1..].iter();
            let next = later.find(|(of, ..)| *of == target);
            !next.is_some_and(|(_, next, _)| next.overwrites(change))
        };
        prop_assert!(rejected.iter().all(is_bad));
        let told: Vec<_> = rejected.into_iter().filter(is_told).collect();
        let bad = (0..statements.len()).filter(is_bad);
        prop_assert_eq!(told, bad.filter(is_told).collect::<Vec<_>>());
        let mut added = Vec::new();
        for (index, (target, change, nature)) in statements.iter().enumerate() {
            if *nature == Nature::Good {
                expected.change(*target, *change);
                added.extend((*change == Change::Add).then_some(index));
            }
        }
        prop_assert_eq!(&server.documents, &expected);
        let mut done = server.done;
        done.retain(|index| statements[*index].1 == Change::Add);
        done.sort_unstable();
        prop_assert_eq!(done, added);
    }
}
