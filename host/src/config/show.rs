//! How values of settings are shown: as in a file, without secrets.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use oplet::{
    control::{ListDocument, OnError, OnPositionLost, WhenOpen},
    flow::{OrderingGuarantee, workers::RingKind},
    guest::Isolation,
    op::{Namespace, SourceKind},
    source::{Before, Commands, FullDocument, Updates},
};
use serde_json::Value;

use super::{
    deferred::Deferred,
    granted::Variable,
    secret::Secret,
    values::{Begin, Size, Uri, Uris},
};

/// A value that can be shown.
pub(super) trait Show {
    fn show(&self) -> Value;
}

/// By what `Display` writes.
macro_rules! show_as_text {
    ($($type:ty),*) => {$(
        impl Show for $type {
            fn show(&self) -> Value {
                self.to_string().into()
            }
        }
    )*};
}

show_as_text!(
    String,
    Uri,
    Namespace,
    Begin,
    Deferred,
    SocketAddr,
    Size,
    Variable,
    ListDocument
);

/// By the word that users write.
macro_rules! show_as_word {
    ($($type:ty),*) => {$(
        impl Show for $type {
            fn show(&self) -> Value {
                let found = Self::WORDS.iter().find(|(_, choice)| choice == self);
                found.map(|(word, _)| *word).into()
            }
        }
    )*};
}

show_as_word!(
    OrderingGuarantee,
    OnPositionLost,
    OnError,
    WhenOpen,
    Isolation,
    RingKind,
    Commands,
    FullDocument,
    Updates,
    Before
);

/// By itself.
macro_rules! show_as_is {
    ($($type:ty),*) => {$(
        impl Show for $type {
            fn show(&self) -> Value {
                (*self).into()
            }
        }
    )*};
}

show_as_is!(bool, i32, u32, u64, usize);

impl Show for NonZeroU32 {
    fn show(&self) -> Value {
        self.get().into()
    }
}

impl Show for SourceKind {
    fn show(&self) -> Value {
        let words = super::values::SOURCES;
        let found = words.iter().find(|(_, kind)| kind == self);
        found.map(|(word, _)| *word).into()
    }
}

impl Show for Uris {
    fn show(&self) -> Value {
        match self.all() {
            [one] => one.show(),
            all => all.iter().map(Show::show).collect(),
        }
    }
}

impl Show for Duration {
    fn show(&self) -> Value {
        humantime::format_duration(*self).to_string().into()
    }
}

impl Show for PathBuf {
    fn show(&self) -> Value {
        self.display().to_string().into()
    }
}

impl Show for Secret {
    fn show(&self) -> Value {
        "***".into()
    }
}

impl Show for (String, String) {
    fn show(&self) -> Value {
        format!("{}.{}", self.0, self.1).into()
    }
}

impl<T: Show> Show for Vec<T> {
    fn show(&self) -> Value {
        self.iter().map(Show::show).collect()
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self) -> Value {
        self.as_ref().map_or(Value::Null, Show::show)
    }
}
