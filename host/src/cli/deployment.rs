//! The deployment that stores are on, for verbs that work on a store without a run.

use std::time::Duration;

use clap::Args;
use mongodb::options::ConnectionString;
use oplet::mongo::{self, Server};

use super::{error::UserError, settings};
use crate::config::{self, Uri, Uris};

/// Where it is looked for when nobody says.
pub(super) const LOCAL: &str = "mongodb://localhost:27017";

/// Of several connection strings, as a run takes them, the one of the deployment that stores are on.
pub(super) fn home(uri: &Uri) -> Uri {
    Uris::of([uri.expose()]).first().clone()
}

/// Which deployment.
#[derive(Debug, Args)]
pub(crate) struct DeploymentArgs {
    /// Connection string of the deployment [default: `mongodb://localhost:27017`]
    #[arg(
        long,
        global = true,
        value_name = "URI",
        env = "OPLET_URI",
        hide_env_values = true,
        help_heading = "Store"
    )]
    pub(crate) uri: Option<Uri>,
    /// Give up when no server answers for this long
    #[arg(long, global = true, value_name = "SPAN", default_value = "10s", value_parser = config::span,
        help_heading = "Store")]
    pub(crate) connect_timeout: Duration,
}

impl DeploymentArgs {
    /// The connection string, when one is given.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn uri(&self) -> Result<ConnectionString, UserError> {
        let local = || Uri::from(LOCAL.to_owned());
        settings::parse_uri(&home(&self.uri.clone().unwrap_or_else(local)))
    }

    /// Looks for the deployment.
    ///
    /// # Errors
    /// When none answers in time, or it cannot be used.
    pub(super) async fn connect(&self, uri: &ConnectionString) -> Result<Server, UserError> {
        let options = mongo::Options {
            connect_timeout: Some(self.connect_timeout),
        };
        Ok(Server::connect(uri, &options).await?)
    }
}
