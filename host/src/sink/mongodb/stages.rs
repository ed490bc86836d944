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

/// Shares statements out to groups, to be sent one after the other.
///
/// Only the order of statements about one document matters. Each goes to the earliest stage in which
/// that is kept: where a document's statements change their kind, the next stage begins for it. A
/// stage has one group per collection and kind, so there are few round trips, however the kinds mix.
pub(super) fn stages(statements: Vec<Statement>) -> Vec<Group> {
    let mut reached: HashMap<(String, Vec<u8>), (usize, Verb)> = HashMap::new();
    let mut stages: Vec<Vec<Group>> = Vec::new();
    for statement in statements {
        let target = (statement.namespace.clone(), statement.target.clone());
        let stage = match reached.get(&target) {
            None => 0,
            Some((stage, verb)) if *verb == statement.verb => *stage,
            Some((stage, _)) => stage + 1,
        };
        reached.insert(target, (stage, statement.verb));
        if stages.len() == stage {
            stages.push(Vec::new());
        }
        let groups = &mut stages[stage];
        let group = groups
            .iter_mut()
            .find(|group| group.verb == statement.verb && group.namespace == statement.namespace);
        match group {
            Some(group) => group.statements.push(statement),
            None => groups.push(Group {
                namespace: statement.namespace.clone(),
                verb: statement.verb,
                statements: vec![statement],
            }),
        }
    }
    stages.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn statement(index: usize, target: u8, verb: Verb) -> Statement {
        Statement {
            index,
            namespace: "a.b".into(),
            verb,
            bytes: Vec::new(),
            target: vec![target],
        }
    }

    proptest! {
        #[test]
        fn order_is_kept_per_document_and_groups_are_few(
            history in prop::collection::vec((0..5_u8, 0..3_usize), 0..60)
        ) {
            let verb = |verb: usize| [Verb::Insert, Verb::Update, Verb::Delete][verb];
            let all = history.iter().enumerate();
            let all = all.map(|(index, (target, kind))| statement(index, *target, verb(*kind)));
            let groups = stages(all.collect());
            let sent: Vec<_> = groups.iter().flat_map(|group| &group.statements).collect();
            prop_assert_eq!(sent.len(), history.len());
            let mut changes_max = 0;
            for target in 0..5 {
                let indexes: Vec<_> = sent.iter().filter(|s| s.target == [target]).map(|s| s.index).collect();
                prop_assert!(indexes.is_sorted());
                let kinds: Vec<_> = history.iter().filter(|(t, _)| *t == target).map(|(_, kind)| kind).collect();
                let changes = kinds.windows(2).filter(|pair| pair[0] != pair[1]).count();
                changes_max = changes_max.max(changes);
            }
            prop_assert!(groups.len() <= 3 * (changes_max + 1));
        }
    }
}
