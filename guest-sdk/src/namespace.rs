//! `db.collection`, as it stands in an op.

use std::fmt;

/// Where an op happened: `db.collection`, or `db` alone for `dropDatabase`.
///
/// Compares with text: `op.namespace() == "shop.orders"`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Namespace<'a> {
    // Bytes, so that comparing costs no check of the encoding.
    text: &'a [u8],
}

impl<'a> Namespace<'a> {
    /// The namespace of that text; a database's name cannot contain a dot, a collection's may.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
        }
    }

    pub(crate) fn from_bytes(text: &'a [u8]) -> Self {
        Self { text }
    }

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> &'a str {
        utf8(&self.text[..self.dot().unwrap_or(self.text.len())])
    }

    /// The collection's name, if this is a collection's namespace.
    #[must_use]
    pub fn collection(&self) -> Option<&'a str> {
        self.dot().map(|dot| utf8(&self.text[dot + 1..]))
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        utf8(self.text)
    }

    fn dot(&self) -> Option<usize> {
        self.text.iter().position(|&byte| byte == b'.')
    }
}

/// The server has no other names than UTF-8 ones.
fn utf8(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or_default()
}

impl PartialEq<str> for Namespace<'_> {
    fn eq(&self, other: &str) -> bool {
        self.text == other.as_bytes()
    }
}

impl PartialEq<&str> for Namespace<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.text == other.as_bytes()
    }
}

impl fmt::Display for Namespace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Namespace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_the_first_dot() {
        let parts = |text| {
            let ns = Namespace::new(text);
            (ns.database(), ns.collection())
        };
        assert_eq!(parts("shop.orders"), ("shop", Some("orders")));
        assert_eq!(parts("shop.orders.2026"), ("shop", Some("orders.2026")));
        assert_eq!(parts("shop"), ("shop", None));
    }
}
