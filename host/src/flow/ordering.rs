//! What stays in order.

use std::str::FromStr;

/// Which ops are handled in the order in which they happened. The words are gtm's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OrderingGuarantee {
    /// All of them, one after another.
    Oplog,
    /// Those of one namespace.
    Namespace,
    /// Those of one document.
    #[default]
    Document,
    /// None: batches go to whichever lane has the least to do.
    AnyOrder,
}

impl OrderingGuarantee {
    /// Every guarantee with the word that users write.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("oplog", Self::Oplog),
        ("namespace", Self::Namespace),
        ("document", Self::Document),
        ("any", Self::AnyOrder),
    ];
}

impl FromStr for OrderingGuarantee {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::WORDS
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, ordering)| *ordering)
            .ok_or(())
    }
}
