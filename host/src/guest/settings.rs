//! What a module is given and held to, besides its configuration.

use std::time::Duration;

use super::limits::Limits;

/// How a module is run. The default is what a module gets of which nothing was said: the limits of
/// the guest ABI, no grants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// How much it may take. What an engine reserves or compiles for all of its modules bounds it:
    /// [`Limits::within`].
    pub limits: Limits,
    /// How long an instance lives.
    pub isolation: Isolation,
    /// Clock and random come from the op, and NaN has one form: the same op gives the same outputs
    /// each time it is handled.
    pub deterministic: bool,
    /// Fuel of one call, in units of wasmtime: about one for each instruction. `None` measures none.
    /// [`Limits::call_time`] holds beside it.
    pub fuel: Option<u64>,
    /// How often `oplet_tick` is called; `None` never.
    pub tick: Option<Duration>,
    /// Environment variables that it can read, name and value; no others are there.
    pub variables: Vec<(String, String)>,
    /// Collections that it may look documents up in, as `db.coll`, or `db.*` for all of a database.
    pub lookup: Vec<String>,
}

impl Settings {
    /// The default, but for the limits.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// What it is granted beyond what every module may, for people; `None` for nothing. Values of
    /// variables may be secrets, and are not told.
    #[must_use]
    pub fn grants(&self) -> Option<String> {
        let variables: Vec<_> = self.variables.iter().map(|(name, _)| &**name).collect();
        let lookup: Vec<_> = self.lookup.iter().map(|namespace| &**namespace).collect();
        let told = [("lookup", lookup), ("variables", variables)];
        let told = told.iter().filter(|(_, names)| !names.is_empty());
        let told: Vec<_> = told
            .map(|(grant, names)| format!("{grant} {}", names.join(", ")))
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

/// How long an instance lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Isolation {
    /// As long as its lane: what it keeps in memory it finds again with the next op.
    #[default]
    Lane,
    /// For one op: nothing gets from one op to the next.
    Op,
}

impl Isolation {
    /// The words that users write.
    pub const WORDS: [(&str, Self); 2] = [("lane", Self::Lane), ("op", Self::Op)];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_told_without_values() {
        let mut settings = Settings::default();
        assert_eq!(settings.grants(), None);
        settings.lookup = vec!["shop.customers".into(), "archive.*".into()];
        let expected = "lookup shop.customers, archive.*";
        assert_eq!(settings.grants().as_deref(), Some(expected));
        settings.variables = vec![("TOKEN".into(), "secret".into())];
        let expected = "lookup shop.customers, archive.*; variables TOKEN";
        assert_eq!(settings.grants().as_deref(), Some(expected));
    }
}
