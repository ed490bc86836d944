//! `$set` and `$unset` with dotted paths, as entries of servers up to 4.4 have them, applied.
//!
//! What a path names and is not there is made on the way: documents, also for components that are
//! numbers, and nulls in arrays up to a place beyond their end. What is new comes last, in the order
//! of the entry, which is the one in which that server made it.

use oplet_sdk::raw::{Element, Walk, Writer, kind};

use super::{
    DEPTH_MAX, UpdateFault,
    apply::PADDING_MAX,
    name,
    path::{Decimal, parse_index},
    section,
};

/// What the modifiers say of one place in the document.
enum Change<'a> {
    Set(Element<'a>),
    Unset,
    Below(Tree<'a>),
}

/// What they say of the places below, in the order of the entry.
#[derive(Default)]
struct Tree<'a>(Vec<(&'a [u8], Change<'a>)>);

/// Writes the fields of the document after the modifiers, if it was `before` before them.
pub(super) fn apply(
    before: &[u8],
    object: &[u8],
    writer: &mut Writer<'_>,
) -> Result<(), UpdateFault> {
    let mut tree = Tree::default();
    for modifier in Walk::new(object)? {
        let modifier = modifier?;
        let is_set = match modifier.key {
            b"$v" => continue,
            b"$set" => true,
            b"$unset" => false,
            _ => return Err(UpdateFault::UnknownModifier(name(&modifier))),
        };
        for field in section(&modifier)? {
            let field = field?;
            tree.add(
                field.key,
                if is_set {
                    Change::Set(field)
                } else {
                    Change::Unset
                },
            )?;
        }
    }
    document(before, &tree, writer)
}

impl<'a> Tree<'a> {
    fn add(&mut self, path: &'a [u8], change: Change<'a>) -> Result<(), UpdateFault> {
        let conflict = || UpdateFault::WrongSection(String::from_utf8_lossy(path).into_owned());
        let mut tree = self;
        let mut names = path.split(|&byte| byte == b'.').peekable();
        let mut change = Some(change);
        for depth in 0.. {
            let name = names.next().ok_or_else(conflict)?;
            if depth > DEPTH_MAX {
                return Err(UpdateFault::TooDeep);
            }
            let is_last = names.peek().is_none();
            let at = tree.0.iter().position(|(other, _)| *other == name);
            if is_last {
                if at.is_some() {
                    return Err(conflict());
                }
                tree.0.extend(change.take().map(|change| (name, change)));
                return Ok(());
            }
            let at = at.unwrap_or_else(|| {
                tree.0.push((name, Change::Below(Tree::default())));
                tree.0.len() - 1
            });
            match &mut tree.0[at].1 {
                Change::Below(below) => tree = below,
                _ => return Err(conflict()),
            }
        }
        Ok(())
    }

    fn at(&self, name: &[u8]) -> Option<&Change<'a>> {
        let found = self.0.iter().find(|(other, _)| *other == name);
        found.map(|(_, change)| change)
    }

    /// Whether anything is set here or below: else nothing is made on the way.
    fn sets(&self) -> bool {
        self.0.iter().any(|(_, change)| change.sets())
    }
}

impl Change<'_> {
    fn sets(&self) -> bool {
        match self {
            Self::Set(_) => true,
            Self::Unset => false,
            Self::Below(tree) => tree.sets(),
        }
    }
}

fn document(before: &[u8], tree: &Tree<'_>, writer: &mut Writer<'_>) -> Result<(), UpdateFault> {
    let mut met = vec![false; tree.0.len()];
    for field in Walk::new(before)? {
        let field = field?;
        match tree.0.iter().position(|(name, _)| *name == field.key) {
            None => writer.raw(field.key, field.kind, field.value),
            Some(at) => {
                met[at] = true;
                changed(Some(&field), field.key, &tree.0[at].1, writer)?;
            }
        }
    }
    for ((name, change), _) in tree.0.iter().zip(met).filter(|(_, is_met)| !is_met) {
        changed(None, name, change, writer)?;
    }
    Ok(())
}

fn array(before: &[u8], tree: &Tree<'_>, writer: &mut Writer<'_>) -> Result<(), UpdateFault> {
    let mut end = 0;
    for (name, change) in &tree.0 {
        let index = parse_index(name).and_then(|index| u32::try_from(index).ok());
        let index = index.ok_or(UpdateFault::OtherDocument)?;
        if change.sets() {
            end = end.max(index + 1);
        }
    }
    let mut olds = Walk::new(before)?;
    let mut padding = 0;
    for index in 0_u32.. {
        let old = olds.next().transpose()?;
        if old.is_none() && index >= end {
            break;
        }
        let digits = Decimal::new(index);
        let key = digits.as_bytes();
        match (tree.at(key), &old) {
            // An element leaves a hole, since the others keep their places.
            (Some(Change::Unset), _) => writer.raw(key, kind::NULL, &[]),
            (Some(change), old) if old.is_some() || change.sets() => {
                changed(old.as_ref(), key, change, writer)?;
            }
            (_, Some(old)) => writer.raw(key, old.kind, old.value),
            (_, None) => {
                padding += 1;
                if padding > PADDING_MAX {
                    return Err(UpdateFault::WrongSection("$set".into()));
                }
                writer.raw(key, kind::NULL, &[]);
            }
        }
    }
    Ok(())
}

/// Writes what has that name, or had none.
fn changed(
    old: Option<&Element<'_>>,
    key: &[u8],
    change: &Change<'_>,
    writer: &mut Writer<'_>,
) -> Result<(), UpdateFault> {
    let tree = match change {
        Change::Unset => return Ok(()),
        Change::Set(new) => {
            writer.raw(key, new.kind, new.value);
            return Ok(());
        }
        Change::Below(tree) => tree,
    };
    match old {
        None if !tree.sets() => {}
        None => {
            writer.begin(key, kind::DOCUMENT);
            document(&oplet_sdk::raw::EMPTY_DOCUMENT, tree, writer)?;
            writer.end();
        }
        Some(old) if old.kind == kind::DOCUMENT || old.kind == kind::ARRAY => {
            writer.begin(key, old.kind);
            match old.kind {
                kind::ARRAY => array(old.value, tree, writer)?,
                _ => document(old.value, tree, writer)?,
            }
            writer.end();
        }
        // Below a number is nothing to remove; and nothing to set, in an entry of this document.
        Some(old) if !tree.sets() => writer.raw(key, old.kind, old.value),
        Some(_) => return Err(UpdateFault::OtherDocument),
    }
    Ok(())
}
