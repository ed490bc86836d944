//! In which order statements are sent, by as few commands as that takes.

use std::collections::HashMap;

use super::statement::{Statement, Verb};

/// Statements of one kind on one collection, in order; they become one command, or more where one
/// would be too large.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) namespace: String,
    pub(super) verb: Verb,
    pub(super) statements: Vec<Statement>,
}

/// Where the last statement about a document was put.
#[derive(Clone, Copy)]
struct Reached {
    stage: usize,
    group: usize,
    place: usize,
}

/// Shares statements out to groups, to be sent one after the other.
///
/// Only the order of statements about one document matters. Each goes to the earliest stage in which
/// that is kept: where a document's statements change their kind, or [may not stand in one
/// command](super::statement::Among), the next stage begins for it. A stage has one group per collection
/// and kind, so there are few round trips, however the kinds mix.
pub(super) fn stages(statements: Vec<Statement>) -> Vec<Group> {
    let mut reached: HashMap<(String, Vec<u8>), Reached> = HashMap::new();
    let mut stages: Vec<Vec<Group>> = Vec::new();
    for statement in statements {
        let target = (statement.namespace.clone(), statement.target.clone());
        let before = reached.get(&target).copied();
        let mut stage = 0;
        if let Some(before) = before {
            let last = &mut stages[before.stage][before.group].statements[before.place];
            if statement.is_enough_for(last) {
                let superseded = std::mem::replace(last, statement);
                last.supersede(superseded);
                continue;
            }
            stage = before.stage + usize::from(!statement.may_share(last));
        }
        if stages.len() == stage {
            stages.push(Vec::new());
        }
        let groups = &mut stages[stage];
        let is_of =
            |group: &Group| group.verb == statement.verb && group.namespace == statement.namespace;
        let group = groups.iter().position(is_of).unwrap_or_else(|| {
            groups.push(Group {
                namespace: statement.namespace.clone(),
                verb: statement.verb,
                statements: Vec::new(),
            });
            groups.len() - 1
        });
        let place = groups[group].statements.len();
        groups[group].statements.push(statement);
        let now = Reached {
            stage,
            group,
            place,
        };
        reached.insert(target, now);
    }
    stages.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sink::mongodb::statement::{Among, Extent};

    fn statement(index: usize, target: u8, (verb, among): (Verb, Among)) -> Statement {
        Statement {
            index,
            namespace: "a.b".into(),
            verb,
            bytes: Vec::new(),
            target: vec![target],
            among,
            superseded: Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn order_is_kept_per_document_and_groups_are_few(
            history in prop::collection::vec((0..5_u8, 0..6_usize), 0..60)
        ) {
            const APART: usize = 0;
            const WHOLE: usize = 1;
            const FIELDS: usize = 2;
            let kind = |kind: usize| match kind {
                APART => (Verb::Update, Among::Apart),
                WHOLE => (Verb::Update, Among::Last(Extent::Whole)),
                FIELDS => (Verb::Update, Among::Last(Extent::Fields(Vec::new()))),
                3 => (Verb::Insert, Among::Share),
                4 => (Verb::Delete, Among::Share),
                _ => (Verb::Update, Among::Share),
            };
            let all = history.iter().enumerate();
            let all = all.map(|(index, (target, of))| statement(index, *target, kind(*of)));
            let groups = stages(all.collect());
            for group in &groups {
                for (at, one) in group.statements.iter().enumerate() {
                    let shares = |one: &Statement| one.among == Among::Share;
                    let mut others = group.statements[..at].iter();
                    let may_stand = |other: &Statement| other.target != one.target || shares(one) && shares(other);
                    prop_assert!(others.all(may_stand));
                }
            }
            let mut sent = Vec::new();
            for statement in groups.iter().flat_map(|group| &group.statements) {
                sent.extend(&statement.superseded);
                sent.push(statement);
            }
            prop_assert_eq!(sent.len(), history.len());
            let mut changes_max = 0;
            for target in 0..5 {
                let indexes: Vec<_> = sent.iter().filter(|s| s.target == [target]).map(|s| s.index).collect();
                prop_assert!(indexes.is_sorted());
                let kinds: Vec<_> = history.iter().filter(|(t, _)| *t == target).map(|(_, kind)| kind).collect();
                let begins = |pair: &&[&usize]| match (*pair[0], *pair[1]) {
                    (APART, APART) => true,
                    (FIELDS, WHOLE) => false,
                    (before, now) => before != now,
                };
                let changes = kinds.windows(2).filter(begins).count();
                changes_max = changes_max.max(changes);
            }
            prop_assert!(groups.len() <= 3 * (changes_max + 1));
        }
    }
}
