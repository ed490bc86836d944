//! Flags of the verbs that talk to a run through its admin API.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use oplet::{
    control::{self, RolloutError},
    op::{Namespace, Since},
};
use url::Url;

use crate::config;

/// Where `oplet run --admin` is looked for.
const DEFAULT_PORT: u16 = 9090;

/// `oplet status`, `pause`, `resume`, `drain`
#[derive(Debug, Args)]
pub(crate) struct RemoteArgs {
    /// Address of the run's admin API: HOST:PORT, or an URL
    #[arg(long, value_name = "ADDR", env = "OPLET_ADMIN", hide_env_values = true,
        default_value = "127.0.0.1:9090", value_parser = admin_url)]
    pub(crate) admin: Url,
    /// File that holds the token, where one is required; OPLET_ADMIN_TOKEN may hold it instead
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,
    /// Print text, or the JSON document that the run answered [default for `status`: text on a
    /// terminal, else json; for the others: text]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<RemoteFormat>,
}

/// `oplet snapshot`
#[derive(Debug, Args)]
pub(crate) struct SnapshotArgs {
    /// The collection or view, as in `shop.orders`
    #[arg(value_name = "NS", value_parser = config::collection)]
    pub(crate) namespace: Namespace,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// `oplet seek`
#[derive(Debug, Args)]
pub(crate) struct SeekArgs {
    /// Where to go on: `now`, `oldest`, `90m` ago, a time as `2026-01-02T10:00:00Z`, a cluster time as
    /// `1700000001:7`, `token:JSON`
    #[arg(long, value_name = "POSITION", value_parser = position)]
    pub(crate) since: String,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// `oplet swap`
#[derive(Debug, Args)]
pub(crate) struct SwapArgs {
    /// The module's name in the run, and the file that holds its new version
    #[arg(value_name = "NAME=FILE.wasm", value_parser = module_file)]
    pub(crate) module: (String, PathBuf),
    /// Add a module, where none has that name
    #[arg(long, conflicts_with_all = ["canary", "shadow"])]
    pub(crate) add: bool,
    /// Let it see this share of the keys first, as in `5%`; it takes over by itself, or falls back
    #[arg(long, value_name = "SHARE", group = "trial", value_parser = share)]
    pub(crate) canary: Option<String>,
    /// Let it run beside the present version; what it emits is compared and thrown away
    #[arg(long, group = "trial", conflicts_with = "canary")]
    pub(crate) shadow: bool,
    /// End the trial after so many of its ops [default: 1000]
    #[arg(long, value_name = "N", requires = "trial",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) ops: Option<u64>,
    /// How many of a canary's ops may fail [default: 0]
    #[arg(long, value_name = "N", requires = "canary")]
    pub(crate) failures: Option<u64>,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// `oplet rollback`, `remove`
#[derive(Debug, Args)]
pub(crate) struct NamedArgs {
    /// The module's name in the run
    #[arg(value_name = "NAME")]
    pub(crate) module: String,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// `oplet profile`
#[derive(Debug, Args)]
pub(crate) struct ProfileArgs {
    /// The module's name in the run
    #[arg(value_name = "NAME")]
    pub(crate) module: String,
    /// For how long samples are taken
    #[arg(long, value_name = "N", default_value = "10",
        value_parser = clap::value_parser!(u64).range(1..=300))]
    pub(crate) seconds: u64,
    /// Where the profile goes [default: NAME.profile.json]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// How the answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RemoteFormat {
    Text,
    Json,
}

/// A position as it was written: the run reads it again, by its own clock.
fn position(text: &str) -> Result<String, String> {
    let _: Since = config::since(text)?;
    Ok(text.to_owned())
}

/// A share as it was written: the run reads it again.
fn share(text: &str) -> Result<String, RolloutError> {
    control::share(text).map(|_| text.to_owned())
}

/// A name and a file.
fn module_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), file.into()))
        }
        _ => {
            let name = config::module_name(text.trim_matches('=').as_ref());
            Err(format!(
                "a version is written `NAME=FILE.wasm`, as in `{name}={name}.wasm`"
            ))
        }
    }
}

/// The URL of an address, below which the routes lie.
fn admin_url(text: &str) -> Result<Url, String> {
    let has_scheme = text.contains("://");
    let written = match (has_scheme, text.strip_prefix(':')) {
        (true, _) => text.to_owned(),
        (false, Some(port)) => format!("http://127.0.0.1:{port}"),
        (false, None) => format!("http://{text}"),
    };
    let refused = || "an address is written `HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`";
    let mut url = Url::parse(&written).map_err(|_| refused())?;
    let is_address = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !is_address {
        return Err(refused().into());
    }
    // A port that is the scheme's own is not kept by the URL: it is looked for in what was written.
    if !has_scheme && url.port().is_none() && !written.trim_end_matches('/').ends_with(":80") {
        url.set_port(Some(DEFAULT_PORT)).map_err(|()| refused())?;
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, expected) in [
            ("127.0.0.1:9090", "http://127.0.0.1:9090/"),
            ("localhost", "http://localhost:9090/"),
            (":7000", "http://127.0.0.1:7000/"),
            ("[::1]:7000", "http://[::1]:7000/"),
            ("host:80", "http://host/"),
            ("http://host:7000/", "http://host:7000/"),
            ("https://oplet.example", "https://oplet.example/"),
            ("https://host/oplet", "https://host/oplet/"),
        ] {
            assert_eq!(admin_url(text).unwrap().as_str(), expected, "{text}");
        }
        for text in [
            "",
            "ftp://host",
            "http://user:pw@host",
            "host:port",
            "http://host/?a=b",
        ] {
            assert!(admin_url(text).is_err(), "{text}");
        }
    }
}
