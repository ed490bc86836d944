//! What a module is allowed beyond its own memory: variables of the environment, and collections to
//! look documents up in.

use std::fmt;

use oplet::op::Namespace;

use super::{
    document::Environment,
    values::{self, with_nearest},
};

/// An environment variable that a module can read. Its value may be a secret, and is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    name: String,
    value: String,
}

impl Variable {
    /// Name and value.
    pub(super) fn granted(&self) -> (String, String) {
        (self.name.clone(), self.value.clone())
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Variable({})", self.name)
    }
}

/// Finds the variable of that name, which has to be set: a handler that goes without it by mistake
/// would show late.
pub(super) fn variable(name: &str, environment: Environment<'_>) -> Result<Variable, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err("the name of an environment variable is expected".into());
    }
    let value = environment(name).ok_or_else(|| format!("the variable `{name}` is not set"))?;
    // The guest gets it as C has it.
    if value.contains('\0') {
        return Err(format!("the variable `{name}` has a zero in it"));
    }
    Ok(Variable {
        name: name.to_owned(),
        value,
    })
}

/// A collection, or all of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant(String);

impl Grant {
    /// As `db.coll` or `db.*`.
    pub(super) fn pattern(&self) -> String {
        self.0.clone()
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads where documents may be looked up; `db.*` has to be written out, as much is granted by it.
pub(super) fn lookup(text: &str) -> Result<Grant, String> {
    const FORMS: &str = "a grant is written `db.coll`, or `db.*` for all collections of a database";
    match values::namespace(text)? {
        Namespace::Deployment => Err(FORMS.into()),
        Namespace::Database(_) if !text.ends_with(".*") => {
            Err(with_nearest(FORMS, Some(&format!("{text}.*"))))
        }
        Namespace::Database(_) | Namespace::Collection { .. } => Ok(Grant(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_exact() {
        for (text, expected) in [
            ("shop.customers", Ok(())),
            ("shop.a.b", Ok(())),
            ("shop.*", Ok(())),
            ("shop", Err("did you mean `shop.*`?")),
            ("*", Err("written `db.coll`")),
            ("*.*", Err("written `db.coll`")),
            ("", Err("empty")),
            ("a b.c", Err("cannot contain")),
        ] {
            match (lookup(text), expected) {
                (Ok(grant), Ok(())) => assert_eq!(grant.pattern(), text),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_variable_is_set_and_never_shown() {
        let environment = |name: &str| (name == "TOKEN").then(|| "s3cret".to_owned());
        let token = variable("TOKEN", &environment).unwrap();
        assert_eq!(token.granted(), ("TOKEN".to_owned(), "s3cret".to_owned()));
        assert!(!format!("{token} {token:?}").contains("s3cret"));
        for (name, expected) in [
            ("OTHER", "is not set"),
            ("", "the name of"),
            ("A=B", "the name of"),
        ] {
            let error = variable(name, &environment).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
