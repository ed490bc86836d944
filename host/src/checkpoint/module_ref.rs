//! Which version of which module ran.

use bson::{Document, doc};

use super::{
    fields::{text, wrong},
    holder::whole,
};

/// A module that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleRef {
    /// Its name.
    pub name: String,
    /// SHA-256 of the bytes of the version that worked, in hex.
    pub digest: String,
    /// Counts the versions that took over under this name; 1 is what the first run began with.
    pub generation: u64,
    /// SHA-256 of the file that the run was started with. A restart with the same file goes on with
    /// the version of `digest`; where the file is another one, that counts.
    pub given: String,
}

impl ModuleRef {
    /// A module that works as it was given.
    #[must_use]
    pub fn as_given(name: &str, digest: &str) -> Self {
        Self {
            name: name.to_owned(),
            digest: digest.to_owned(),
            generation: 1,
            given: digest.to_owned(),
        }
    }

    pub(super) fn to_document(&self) -> Document {
        doc! {
            "name": &self.name,
            "digest": &self.digest,
            "generation": self.generation as i64,
            "given": &self.given,
        }
    }

    /// Before modules were swapped, a checkpoint had neither generations nor what was given.
    pub(super) fn from_document(document: &Document) -> Result<Self, String> {
        let mut module = Self::as_given(&text(document, "name")?, &text(document, "digest")?);
        if document.contains_key("generation") {
            let generation = whole(document, "generation").and_then(|count| count.try_into().ok());
            module.generation = generation.ok_or_else(|| wrong("modules.generation"))?;
        }
        if document.contains_key("given") {
            module.given = text(document, "given").map_err(|_| wrong("modules.given"))?;
        }
        Ok(module)
    }
}

#[cfg(test)]
mod tests {
    use bson::Bson;

    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let module = ModuleRef {
            generation: 7,
            given: "2c".into(),
            ..ModuleRef::as_given("a", "9f")
        };
        let document = module.to_document();
        assert_eq!(ModuleRef::from_document(&document), Ok(module));
        for field in ["name", "digest", "generation", "given"] {
            for value in [Bson::Null, Bson::from(-1), Bson::from(0.5)] {
                let mut odd = document.clone();
                odd.insert(field, value);
                let error = ModuleRef::from_document(&odd).unwrap_err();
                assert!(error.contains(field), "{field}: {error}");
            }
        }
    }

    #[test]
    fn a_checkpoint_from_before_swaps_has_modules_as_they_were_given() {
        let old = doc! {"name": "a", "digest": "9f"};
        let module = ModuleRef::from_document(&old);
        assert_eq!(module, Ok(ModuleRef::as_given("a", "9f")));
    }
}
