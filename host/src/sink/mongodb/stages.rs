//! In which order statements are sent, by as few commands as that takes.

use std::collections::HashMap;

use super::statement::{Among, Statement, Verb};

/// Statements of one kind on one collection, in order; they become one command, or more where one
/// would be too large.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) namespace: String,
    pub(super) verb: Verb,
    pub(super) statements: Vec<Statement>,
}

/// Where the last statement about a document was put.
struct Reached {
    stage: usize,
    verb: Verb,
    among: Among,
    /// Its place in the group.
    place: usize,
}

/// Shares statements out to groups, to be sent one after the other.
///
/// Only the order of statements about one document matters. Each goes to the earliest stage in which
/// that is kept: where a document's statements change their kind, or [may not stand in one
/// command](Among), the next stage begins for it. A stage has one group per collection and kind, so
/// there are few round trips, however the kinds mix.
pub(super) fn stages(statements: Vec<Statement>) -> Vec<Group> {
    let mut reached: HashMap<(String, Vec<u8>), Reached> = HashMap::new();
    let mut stages: Vec<Vec<Group>> = Vec::new();
    for statement in statements {
        let target = (statement.namespace.clone(), statement.target.clone());
        let before = reached.get(&target);
        let is_same = before
            .is_some_and(|before| before.verb == statement.verb && before.among == statement.among);
        let stage = match before {
            None => 0,
            Some(before) if is_same && statement.among != Among::Apart => before.stage,
            Some(before) => before.stage + 1,
        };
        if stages.len() == stage {
            stages.push(Vec::new());
        }
        let groups = &mut stages[stage];
        let is_of =
            |group: &Group| group.verb == statement.verb && group.namespace == statement.namespace;
        let at = groups.iter().position(is_of).unwrap_or_else(|| {
            groups.push(Group {
                namespace: statement.namespace.clone(),
                verb: statement.verb,
                statements: Vec::new(),
            });
            groups.len() - 1
        });
        let group = &mut groups[at].statements;
        let (verb, among) = (statement.verb, statement.among);
        let place = match before {
            Some(before) if is_same && among == Among::Last => {
                let last = &mut group[before.place];
                let superseded = std::mem::replace(last, statement);
                last.supersede(superseded);
                before.place
            }
            _ => {
                group.push(statement);
                group.len() - 1
            }
        };
        let now = Reached {
            stage,
            verb,
            among,
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
            history in prop::collection::vec((0..5_u8, 0..5_usize), 0..60)
        ) {
            const KINDS: [(Verb, Among); 5] = [
                (Verb::Insert, Among::Share),
                (Verb::Update, Among::Share),
                (Verb::Delete, Among::Share),
                (Verb::Update, Among::Last),
                (Verb::Update, Among::Apart),
            ];
            let all = history.iter().enumerate();
            let all = all.map(|(index, (target, kind))| statement(index, *target, KINDS[*kind]));
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
                let changes = kinds.windows(2).filter(|pair| pair[0] != pair[1] || *pair[0] == 4).count();
                changes_max = changes_max.max(changes);
            }
            prop_assert!(groups.len() <= 3 * (changes_max + 1));
        }
    }
}
