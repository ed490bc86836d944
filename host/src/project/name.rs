//! What a handler can be called: as a crate, as a package, and as a module.

/// A name is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot be the name of a handler: {reason}")]
pub struct NameError {
    /// What was given.
    pub name: String,
    /// Why not.
    pub reason: &'static str,
    /// What would do, made of it.
    pub instead: Option<String>,
}

/// Names that mean something else to cargo, to Rust or to npm.
const TAKEN: [&str; 14] = [
    "alloc",
    "build",
    "core",
    "deps",
    "examples",
    "incremental",
    "node-modules",
    "oplet",
    "oplet-sdk",
    "proc-macro",
    "self",
    "std",
    "super",
    "test",
];
/// Rust's keywords, which no crate can be called.
const KEYWORDS: [&str; 49] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized",
    "use", "virtual", "where", "while", "yield",
];
/// The longest that crates.io takes.
const LENGTH_MAX: usize = 64;

/// Looks whether all tools take a name.
pub(super) fn check(name: &str) -> Result<(), NameError> {
    match problem(name) {
        None => Ok(()),
        Some(reason) => Err(NameError {
            name: name.to_owned(),
            reason,
            instead: instead(name),
        }),
    }
}

fn problem(name: &str) -> Option<&'static str> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > LENGTH_MAX {
        Some("it is longer than 64 letters")
    } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        Some("it does not begin with a small letter")
    } else if !name.chars().all(is_allowed) {
        Some("only small letters, digits, `-` and `_` can be in it")
    } else if KEYWORDS.contains(&name) {
        Some("it is a word of Rust")
    } else if TAKEN.contains(&name.replace('_', "-").as_str()) {
        Some("it means something else to the tools")
    } else {
        None
    }
}

/// The nearest name that would do.
fn instead(name: &str) -> Option<String> {
    let mut made = String::new();
    for c in name.trim().chars() {
        match c {
            'a'..='z' | '0'..='9' | '_' => made.push(c),
            'A'..='Z' => made.push(c.to_ascii_lowercase()),
            _ if made.ends_with('-') => {}
            _ => made.push('-'),
        }
    }
    let begin = made.find(|c: char| c.is_ascii_lowercase())?;
    let mut made = made[begin..].trim_end_matches('-').to_owned();
    made.truncate(LENGTH_MAX);
    if problem(&made).is_some() {
        made.push_str("-handler");
    }
    problem(&made).is_none().then_some(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_all_tools_take_are_taken() {
        for name in ["hello", "paid-orders", "a", "new_users2"] {
            assert_eq!(check(name), Ok(()));
        }
    }

    #[test]
    fn others_are_refused_with_one_that_would_do() {
        for (name, instead) in [
            ("My Handler", Some("my-handler")),
            ("2fast", Some("fast")),
            ("Größe", Some("gr-e")),
            ("match", Some("match-handler")),
            ("test", Some("test-handler")),
            ("oplet_sdk", Some("oplet_sdk-handler")),
            ("a.b", Some("a-b")),
            ("", None),
            ("...", None),
        ] {
            let error = check(name).unwrap_err();
            assert_eq!(error.instead.as_deref(), instead, "{name}");
            if let Some(instead) = instead {
                assert_eq!(check(instead), Ok(()), "{name}");
            }
        }
        assert!(check(&"a".repeat(65)).is_err());
    }
}
