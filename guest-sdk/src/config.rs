//! Making a handler from its configuration.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::{decode::decode, raw};

/// Makes a handler from its configuration; the error is what the host is told.
///
/// # Errors
/// When the document does not fit the configuration's type, or the handler refuses it.
pub fn from_config<H, C>(input: &[u8]) -> Result<H, String>
where
    H: TryFrom<C, Error: fmt::Display>,
    C: DeserializeOwned,
{
    let config: C = decode(input, "").map_err(|error| error.to_string())?;
    H::try_from(config).map_err(|error| error.to_string())
}

/// Makes a handler for a host that gives no configuration.
///
/// # Panics
/// When the handler needs some.
#[must_use]
pub fn from_no_config<H, C>() -> H
where
    H: TryFrom<C, Error: fmt::Display>,
    C: DeserializeOwned,
{
    from_config(&raw::EMPTY_DOCUMENT)
        .unwrap_or_else(|error| panic!("the handler was not configured: {error}"))
}
