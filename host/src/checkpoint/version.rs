//! Versions of modules that are kept, so that a restart and a rollback find them.

use sha2::{Digest as _, Sha256};

use super::Error;

/// How many versions of a module are kept.
pub const VERSIONS_MAX: usize = 5;

/// Which version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionKey {
    /// The name that the checkpoint is kept under.
    pub name: String,
    /// The module's name.
    pub module: String,
    /// SHA-256 of its bytes, in hex.
    pub digest: String,
}

/// A version that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptVersion {
    /// SHA-256 of its bytes, in hex.
    pub digest: String,
    /// When it was kept last, in milliseconds since 1970, by the store's clock.
    pub kept_ms: i64,
}

/// Hands on the bytes when they are that version. `store` tells where they lie.
pub(super) fn check(
    key: &VersionKey,
    store: impl FnOnce() -> String,
    wasm: Vec<u8>,
) -> Result<Vec<u8>, Error> {
    let digest: String = Sha256::digest(&wasm)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if digest == key.digest {
        return Ok(wasm);
    }
    Err(Error::WrongVersion {
        module: key.module.clone(),
        digest: key.digest.clone(),
        store: store(),
        reason: format!("its SHA-256 is {digest}"),
    })
}
