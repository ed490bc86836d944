//! Whom the sink trusts.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;

/// The TLS that `https` is spoken with: the certificates of a file, or the system's. The cryptography
/// is ring's, given here since no library should choose one for the whole process.
///
/// The error says, for people, why there is none.
pub(super) fn config(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let builder = match ca_file {
        None => builder
            .with_platform_verifier()
            .map_err(|error| format!("the system's certificates cannot be used: {error}"))?,
        Some(path) => builder.with_root_certificates(read(path)?),
    };
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// TLS that trusts nobody, for a sink that does not speak it: looking for the system's certificates
/// costs time, and there may be none.
pub(super) fn config_of_none() -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    Ok(builder
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

fn read(path: &Path) -> Result<RootCertStore, String> {
    let invalid = |error: &dyn std::fmt::Display| {
        format!(
            "`{}` cannot be read as certificates: {error}",
            path.display()
        )
    };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| invalid(&error))? {
        let certificate = certificate.map_err(|error| invalid(&error))?;
        store.add(certificate).map_err(|error| invalid(&error))?;
    }
    match store.is_empty() {
        true => Err(invalid(&"it holds none")),
        false => Ok(store),
    }
}
