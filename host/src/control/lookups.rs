//! Documents for modules, from the deployment that the run reads.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use bson::{RawDocument, RawDocumentBuf, cstr, rawdoc};
use mongodb::{Client, error::Error};
use oplet_sdk::raw::{Malformed, Walk};
use tokio::runtime::Handle;

use super::{Deployments, Options};
use crate::{
    backoff::Backoff,
    flow::Gate,
    guest::{LookupAnswer, LookupError, LookupQuery, Lookups},
    mongo::{Fault, Reply, Server, code, describe, has_code, only_reply},
    source,
};

/// How much longer than the server itself the way to it and back may take.
const WAY_TIME: Duration = Duration::from_secs(1);

/// How often it is said that the server cannot be asked: each op that wants to finds out anew.
const WARNING_INTERVAL: Duration = Duration::from_secs(5);

/// Looks up on the primary what a majority has acknowledged.
#[derive(Debug)]
pub(super) struct ServerLookups {
    /// Of the run's own deployment.
    client: Client,
    /// Of the deployments that are read, where they are several.
    others: Mutex<HashMap<String, Client>>,
    /// Whether a cluster time of an op is one that the server knows, see [`crate::flow::Lookup`].
    is_causal: bool,
    runtime: Handle,
    /// Where it is said that nothing is waited for any more.
    gate: Mutex<Gate>,
    warned: Mutex<Option<Instant>>,
}

impl ServerLookups {
    /// Must be made inside the runtime that the client works in.
    pub(super) fn new(client: Client, is_causal: bool) -> Self {
        Self {
            client,
            others: Mutex::default(),
            is_causal,
            runtime: Handle::current(),
            gate: Mutex::default(),
            warned: Mutex::default(),
        }
    }

    /// Looks up on the server whose changes the run reads.
    pub(super) fn of_run(server: &Server, options: &Options) -> Self {
        let is_causal = options.oplog_namespace == source::default_oplog_namespace();
        Self::new(server.client.clone(), is_causal)
    }

    /// From now on ops of these deployments are handled: each op looks up in its own.
    pub(super) fn serve(&self, deployments: &Deployments) {
        let mut others = self.others.lock().expect("no holder of this lock panics");
        others.clear();
        if deployments.are_told_apart() {
            let clients = deployments.read().iter().map(|deployment| {
                let client = deployments.client_for_lookups(deployment).clone();
                (deployment.cluster.name().to_owned(), client)
            });
            others.extend(clients);
        }
    }

    /// Where a query is to be asked, and whether the cluster times of its op mean something there.
    fn client_for(&self, query: &LookupQuery<'_>) -> (Client, bool) {
        let others = self.others.lock().expect("no holder of this lock panics");
        match query.cluster.map(|cluster| others.get(cluster)) {
            None => (self.client.clone(), self.is_causal),
            Some(Some(client)) => (client.clone(), self.is_causal),
            // A deployment that is not read any more, or a name that the guest wrote.
            Some(None) => (self.client.clone(), false),
        }
    }

    /// From now on lookups are given up when that gate is thrown: who is thrown out waits for nothing.
    pub(super) fn give_up_with(&self, gate: Gate) {
        *self.gate.lock().expect("no holder of this lock panics") = gate;
    }

    /// Asks, and asks again for as long as the query has patience.
    async fn ask(&self, query: &LookupQuery<'_>) -> Result<Reply, LookupError> {
        let give_up = Instant::now() + query.patience;
        let (client, is_causal) = self.client_for(query);
        let database = client.database(query.database);
        let mut backoff = Backoff::new();
        loop {
            let command = find_command(query, is_causal)?;
            let reason = match only_reply(&database, command, query.time + WAY_TIME).await {
                Ok(reply) => return Ok(reply),
                Err(error) => match error_of(&error) {
                    LookupError::Unavailable(reason) => reason,
                    failed @ LookupError::Failed(_) => return Err(failed),
                },
            };
            self.warn(query, &reason);
            let delay = backoff.next_delay();
            if Instant::now() + delay >= give_up {
                return Err(LookupError::Unavailable(reason));
            }
            tokio::time::sleep(delay).await;
        }
    }

    fn warn(&self, query: &LookupQuery<'_>, error: &str) {
        if !self.is_warning_due() {
            return;
        }
        let module = query.module;
        let namespace = format!("{}.{}", query.database, query.collection);
        tracing::warn!(
            module,
            namespace,
            error,
            "a module cannot look up documents; what it handles is tried again"
        );
    }

    fn is_warning_due(&self) -> bool {
        let mut warned = self.warned.lock().expect("no holder of this lock panics");
        let now = Instant::now();
        let is_due = warned.is_none_or(|before| now - before >= WARNING_INTERVAL);
        if is_due {
            *warned = Some(now);
        }
        is_due
    }
}

impl Lookups for ServerLookups {
    fn find(&self, query: &LookupQuery<'_>, answer: &mut LookupAnswer) -> Result<(), LookupError> {
        let gate = self
            .gate
            .lock()
            .expect("no holder of this lock panics")
            .clone();
        let reply = self.runtime.block_on(async {
            tokio::select! {
                biased;
                // First: a lane that was left behind has no timers any more.
                () = gate.thrown() => Err(LookupError::Unavailable("the run ends".into())),
                reply = self.ask(query) => reply,
            }
        })?;
        let malformed = |error: Malformed| LookupError::Failed(error.to_string());
        for document in Walk::new(reply.documents().map_err(malformed)?).map_err(malformed)? {
            answer.push(document.map_err(malformed)?.value)?;
        }
        Ok(())
    }
}

fn find_command(query: &LookupQuery<'_>, is_causal: bool) -> Result<RawDocumentBuf, LookupError> {
    let document = |bytes| {
        let document = RawDocument::from_bytes(bytes).map(RawDocument::to_owned);
        document.map_err(|error| LookupError::Failed(error.to_string()))
    };
    // One may be more than is wanted, never more than fits.
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    // Zero would be no bound at all.
    let time_ms = i64::try_from(query.time.as_millis()).unwrap_or(i64::MAX);
    let mut read_concern = rawdoc! { "level": "majority" };
    if let Some(after) = query.after.filter(|_| is_causal) {
        read_concern.append(cstr!("afterClusterTime"), bson::Timestamp::from(after));
    }
    let mut command = rawdoc! {
        "find": query.collection,
        "filter": document(query.filter)?,
        "limit": limit,
        "batchSize": limit,
        "singleBatch": true,
        "maxTimeMS": time_ms.max(1),
        "readConcern": read_concern,
        "comment": format!("oplet, for the module {}", query.module),
    };
    if let Some(projection) = query.projection {
        command.append(cstr!("projection"), document(projection)?);
    }
    Ok(command)
}

/// What an error means to the module: a query that takes too long is its own fault.
fn error_of(error: &Error) -> LookupError {
    let is_slow = has_code(error, &[code::MAX_TIME_MS_EXPIRED]);
    match Fault::of(error) {
        Fault::Passing if !is_slow => LookupError::Unavailable(describe(error)),
        _ => LookupError::Failed(describe(error)),
    }
}
