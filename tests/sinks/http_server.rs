//! An HTTP server that answers as it is told, and keeps what it was sent.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    body::Bytes,
    extract::{ConnectInfo, State},
    http::{HeaderMap, Response, StatusCode, Uri},
};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) from: SocketAddr,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// What to answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

pub(crate) fn status(status: u16) -> Reply {
    Reply {
        status,
        ..Reply::default()
    }
}

type Script = dyn Fn(&Request, usize) -> Reply + Send + Sync;

/// The server; it ends with the runtime of the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    state: Arc<Answering>,
}

struct Answering {
    script: Box<Script>,
    seen: Mutex<Vec<Request>>,
}

impl Server {
    /// Answers each request by `script`, which gets the request and how many came before it.
    pub(crate) async fn start(
        script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::new(Answering {
            script: Box::new(script),
            seen: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = axum::Router::new()
            .fallback(answer)
            .with_state(state.clone())
            .into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/in?code=hush", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.seen.lock().unwrap().clone()
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.requests()
            .into_iter()
            .map(|request| request.body)
            .collect()
    }

    pub(crate) fn connections(&self) -> usize {
        let requests = self.requests();
        requests
            .iter()
            .map(|request| request.from)
            .collect::<HashSet<_>>()
            .len()
    }
}

async fn answer(
    State(state): State<Arc<Answering>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<axum::body::Body> {
    let request = Request {
        from,
        path: uri.path().to_owned(),
        headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let before = {
        let mut seen = state.seen.lock().unwrap();
        seen.push(request.clone());
        seen.len() - 1
    };
    let reply = (state.script)(&request, before);
    let mut response = Response::new(reply.body.into());
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap();
    for (name, value) in reply.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}
