//! Variables of the environment that modules are granted.

use std::fmt;

use super::document::Environment;

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

#[cfg(test)]
mod tests {
    use super::*;

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
