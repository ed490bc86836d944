//! The names of the workers.

/// The longest name of a worker: it is a part of the name of its checkpoint.
const NAME_BYTES_MAX: usize = 100;

/// The workers that share the work: at least one, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerList(Vec<String>);

/// Why names are no list of workers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// There is nobody to do the work.
    #[error("the list of workers is empty")]
    Empty,
    /// Two processes would do the same work.
    #[error("the worker `{name}` is listed twice")]
    Duplicate {
        /// Its name.
        name: String,
    },
    /// A name that cannot be a part of a checkpoint's.
    #[error("`{}` is no name of a worker: {reason}", .name.escape_debug())]
    Name {
        /// What is listed.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl WorkerList {
    /// A list of these workers, in any order.
    ///
    /// # Errors
    /// [`ListError`].
    pub fn new(names: Vec<String>) -> Result<Self, ListError> {
        if names.is_empty() {
            return Err(ListError::Empty);
        }
        for (at, name) in names.iter().enumerate() {
            if let Err(reason) = check_name(name) {
                let name = name.clone();
                return Err(ListError::Name { name, reason });
            }
            if names[..at].contains(name) {
                return Err(ListError::Duplicate { name: name.clone() });
            }
        }
        Ok(Self(names))
    }

    /// Their names, as they are listed.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Where a worker is listed.
    #[must_use]
    pub fn place(&self, worker: &str) -> Option<usize> {
        self.0.iter().position(|name| name == worker)
    }
}

/// Whether that can be the name of a worker.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("it is empty"),
        _ if name.len() > NAME_BYTES_MAX => Err("it is longer than 100 bytes"),
        _ if name.chars().any(char::is_control) => {
            Err("it has a line break or another control character")
        }
        _ if name.trim() != name => Err("it begins or ends with a space"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_each_worker_once() {
        let list =
            |names: &[&str]| WorkerList::new(names.iter().map(ToString::to_string).collect());
        assert_eq!(list(&[]), Err(ListError::Empty));
        assert_eq!(list(&["Tom", "Dick"]).unwrap().place("Dick"), Some(1));
        assert_eq!(list(&["Tom"]).unwrap().place("tom"), None);
        let duplicate = ListError::Duplicate { name: "a".into() };
        assert_eq!(list(&["a", "b", "a"]), Err(duplicate));
        for (name, reason) in [
            ("", "empty"),
            ("a\nb", "control"),
            (" a", "space"),
            (&*"a".repeat(101), "100"),
        ] {
            let error = list(&["ok", name]).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains('\n'), "{error}");
        }
    }
}
