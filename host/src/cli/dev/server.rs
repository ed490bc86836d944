//! The server of `oplet dev`: one of its own, or one that runs already.

use std::path::{Path, PathBuf};

use oplet::mongo::{self, Server, Throwaway, ThrowawayError};

use super::DevArgs;
use crate::{
    cli::{error::UserError, settings},
    config::{self, Uri},
};

/// Where a copy of Oplet's sources has its mongod.
const TOOLS: &str = ".tools/mongod/bin/mongod";

/// Which server it is to be.
pub(super) enum Choice {
    Running(Uri),
    Own(PathBuf),
}

impl Choice {
    /// Finds out, without starting anything.
    pub(super) fn of(args: &DevArgs) -> Result<Self, UserError> {
        if let Some(uri) = &args.uri {
            settings::parse_uri(uri)?;
            return Ok(Self::Running(uri.clone()));
        }
        let given = args.mongod.clone();
        let mongod = given.or_else(|| find(&args.folder)).ok_or_else(|| {
            UserError::failed("there is no mongod for a server of its own")
                .hint("install MongoDB, or name its mongod by --mongod or OPLET_MONGOD")
                .hint("`--uri mongodb://localhost:27017` uses a replica set that runs already")
        })?;
        Ok(Self::Own(mongod))
    }

    /// Starts it, if it is its own, and connects. What was started lives as long as what is given.
    pub(super) async fn open(self) -> Result<(Option<Throwaway>, Server), UserError> {
        let (own, uri) = match self {
            Self::Running(uri) => (None, uri),
            Self::Own(mongod) => {
                let own = Throwaway::start(&mongod).await?;
                let uri = Uri::from(own.uri());
                (Some(own), uri)
            }
        };
        let uri = settings::parse_uri(&uri)?;
        let server = Server::connect(&uri, &mongo::Options::default()).await?;
        Ok((own, server))
    }
}

/// The first on the search path, else that of a copy of Oplet's sources.
fn find(folder: &Path) -> Option<PathBuf> {
    let path = config::environment("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("mongod"));
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let tools = folder.ancestors().map(|folder| folder.join(TOOLS));
    on_path.chain(tools).find(|path| path.is_file())
}

impl From<ThrowawayError> for UserError {
    fn from(error: ThrowawayError) -> Self {
        Self::of(&error).hint(
            "--mongod or OPLET_MONGOD names another mongod, `--uri` a server that runs already",
        )
    }
}
