//! What is tailed.

use mongodb::Client;

use crate::mongo::{self, Server};

/// A deployment, by any of the ways to reach it.
#[derive(Debug, Clone)]
pub enum Deployment {
    /// By a connection string; the client that is made of it ends with the tail.
    Uri(String),
    /// By a client of the caller's own, which stays the caller's.
    Client(Client),
    /// A server that was seen to answer, which stays the caller's, too.
    Server(Box<Server>),
}

impl Deployment {
    /// Connects; and tells whether the client is nobody else's.
    pub(super) async fn connect(
        self,
        options: &mongo::Options,
    ) -> Result<(Server, bool), mongo::Error> {
        match self {
            Self::Uri(uri) => {
                let uri = mongo::parse_uri(&uri)?;
                Ok((Server::connect(&uri, options).await?, true))
            }
            Self::Client(client) => Ok((Server::of_client(client).await?, false)),
            Self::Server(server) => Ok((*server, false)),
        }
    }
}

impl From<&str> for Deployment {
    fn from(uri: &str) -> Self {
        Self::Uri(uri.to_owned())
    }
}

impl From<String> for Deployment {
    fn from(uri: String) -> Self {
        Self::Uri(uri)
    }
}

impl From<Client> for Deployment {
    fn from(client: Client) -> Self {
        Self::Client(client)
    }
}

impl From<&Client> for Deployment {
    fn from(client: &Client) -> Self {
        Self::Client(client.clone())
    }
}

impl From<&Server> for Deployment {
    fn from(server: &Server) -> Self {
        Self::Server(Box::new(server.clone()))
    }
}
