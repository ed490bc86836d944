//! The beginning of a tail: everything that can refuse does so here.

use std::sync::Arc;

use tokio::{sync::mpsc, time::timeout};
use tracing::info;

use super::{
    Begin, Deployment, Error, Options, Saving, Tail,
    handle::{Parts, Shared},
    reads,
    session::{Session, window},
    task::{RELEASE_TIME, Task},
};
use crate::{
    checkpoint::{
        Checkpoint, Holder, Keeper, Lease, LeaseOptions, Standby, Store, StreamCheckpoint,
        StreamIdentity, digest_of, take,
    },
    control::{
        self, Bounds, OnPositionLost, Plan, begin,
        direct::DirectReads,
        pipeline,
        saver::{self, Saved, Saver},
    },
    mongo::{self, Server},
    op::{Frontier, Position, Scope, Since, SourceKind, Timestamp},
    source,
};

/// How many batches wait for the stream, besides the one that is made ready. What is in them is
/// bounded by the window, but the documents of their updates are not.
const BATCHES_AHEAD: usize = 1;

/// What a tail holds that keeps its position.
pub(super) struct Kept {
    pub(super) store: Store,
    pub(super) lease: Lease,
    keeper: Arc<Keeper>,
}

/// Connects, and begins.
pub(super) async fn start(from: Deployment, options: Options) -> Result<Tail, Error> {
    check(&options)?;
    let connect = mongo::Options {
        connect_timeout: options.connect_timeout,
    };
    let (server, owns_client) = from.connect(&connect).await?;
    let client = server.clone();
    match begin_on(server, owns_client, options).await {
        Ok(tail) => Ok(tail),
        Err(error) => {
            if owns_client {
                client.shutdown().await;
            }
            Err(error)
        }
    }
}

fn check(options: &Options) -> Result<(), Error> {
    let refuse = |reason: &str| {
        let reason = reason.to_owned();
        Err(Error::Options { reason })
    };
    if options.source == SourceKind::Oplog && !options.pipeline.is_empty() {
        return refuse("the oplog runs no pipelines; filter, or read a change stream");
    }
    if let Err(error) = options.reading.check(options.source) {
        return refuse(&error.to_string());
    }
    if options.on_position_lost == OnPositionLost::Resnapshot {
        return refuse(
            "`resnapshot` is for runs; pass over what is lost, and read again by `snapshot`",
        );
    }
    if options.batch_size == 0 {
        return refuse("a batch size of 0 asks for nothing");
    }
    if options.direct.concurrency == 0 {
        return refuse("without a cursor nothing is read directly");
    }
    options.direct.namespaces.iter().try_for_each(reads::check)
}

async fn begin_on(server: Server, owns_client: bool, options: Options) -> Result<Tail, Error> {
    let kept = match &options.saving {
        Some(saving) => Some(take_over(&server, saving).await?),
        None => None,
    };
    match find(&server, &options, kept.as_ref()).await {
        Ok(found) => run(server, owns_client, options, kept, found).await,
        Err(error) => {
            if let Some(kept) = kept {
                let released = timeout(RELEASE_TIME, kept.store.release(&kept.lease)).await;
                drop(released);
            }
            Err(error)
        }
    }
}

/// Opens the store, and waits for the lease.
async fn take_over(server: &Server, saving: &Saving) -> Result<Kept, Error> {
    let store = Store::open(&saving.store, &server.client);
    let options = LeaseOptions::with_ttl(saving.lease);
    let standby = match saving.standby {
        true => Standby::Wait,
        false => Standby::Refuse,
    };
    let (name, holder) = (&saving.name, Holder::this_process());
    let lease = take(&store, name, &holder, &options, standby, |by| {
        info!(name, holder = %by.holder, "another process holds the lease");
    });
    let lease = lease.await?;
    let keeper = Arc::new(Keeper::start(store.clone(), lease.clone(), options));
    Ok(Kept {
        store,
        lease,
        keeper,
    })
}

/// Where it begins and ends.
struct Found {
    begin: begin::Begin,
    bounds: Bounds,
    template: Arc<Checkpoint>,
    plan: Plan,
    reads: Arc<DirectReads>,
}

async fn find(server: &Server, options: &Options, kept: Option<&Kept>) -> Result<Found, Error> {
    let template = template(options);
    let identity = StreamIdentity {
        digest: template.streams[0].digest.clone(),
        modules: Vec::new(),
        cluster: None,
    };
    let saved = match (&options.begin, kept) {
        (Begin::Checkpoint(checkpoint), _) => Some(Checkpoint::clone(checkpoint)),
        (_, Some(kept)) => kept.store.load(&template.name).await?,
        (_, None) => None,
    };
    let plan = reads::plan(options, saved.as_ref())?;
    let reads = DirectReads::new(&server.into(), (&plan, &plan), saved.as_ref());
    let saved = match options.begin {
        Begin::At(_) => {
            // What was asked for is to be seen, also where documents that were read contain it.
            reads.forget();
            None
        }
        Begin::Saved | Begin::Checkpoint(_) => saved,
    };
    // Whichever deployment it was saved of, a position of a tail is good for its only stream.
    let frontier = match saved {
        Some(saved) => saved.resume(&[identity])?.remove(0),
        None => None,
    };
    let begin = match frontier {
        Some(frontier) => begin::Begin::after(frontier),
        None => {
            let since = match &options.begin {
                Begin::At(since) => since,
                _ => &Since::Now,
            };
            let namespace = &options.oplog_namespace;
            begin::Begin::at(source::resolve(since, options.source, server, namespace).await?)
        }
    };
    let namespace = &options.oplog_namespace;
    let bounds = Bounds::resolve(&options.end, options.source, server, namespace).await?;
    Ok(Found {
        begin,
        bounds,
        template: Arc::new(template),
        plan,
        reads,
    })
}

/// A checkpoint of the tail, but for how far it is.
fn template(options: &Options) -> Checkpoint {
    let scope = Scope::new(options.watch.iter().cloned());
    let digest = digest_of(
        options.source,
        &scope,
        &options.pipeline,
        &options.oplog_namespace,
        &[],
    );
    let name = options.saving.as_ref().map(|saving| saving.name.clone());
    Checkpoint {
        name: name.unwrap_or_default(),
        source: options.source,
        streams: vec![StreamCheckpoint {
            digest,
            scope: scope.to_string(),
            modules: Vec::new(),
            cluster: None,
            frontier: Frontier::at(Position::Time(Timestamp::default())),
        }],
        modules: Vec::new(),
        direct_reads: Vec::new(),
        epoch: 0,
        saved_ms: 0,
    }
}

async fn run(
    server: Server,
    owns_client: bool,
    options: Options,
    kept: Option<Kept>,
    found: Found,
) -> Result<Tail, Error> {
    let window = window(found.begin.frontier(), &options);
    let saver = match (&kept, &options.saving) {
        (Some(kept), Some(saving)) => {
            let task = saver::Task {
                store: kept.store.clone(),
                lease: kept.lease.clone(),
                keeper: kept.keeper.clone(),
                every: saving.every,
                ledger: None,
                stats: Arc::new(control::Stats::default()),
            };
            let template = found.template.clone();
            let saver = Arc::new(Saver::start(
                task,
                window.clone(),
                template,
                found.reads.clone(),
                Saved::default(),
            ));
            // Who sees that the tail has begun can rely on it: after a crash it begins there again.
            pipeline::begun(saver.clone()).await;
            Some(saver)
        }
        _ => None,
    };
    let (commands, commands_receiver) = mpsc::channel(1);
    let (items, items_receiver) = mpsc::channel(BATCHES_AHEAD);
    let shared = Arc::new(Shared::new(Parts {
        server,
        options,
        bounds: found.bounds,
        stats: Arc::new(source::Stats::default()),
        template: found.template,
        saver,
        store: kept.as_ref().map(|kept| kept.store.clone()),
        reads: found.reads,
        window,
        commands,
    }));
    let session = Session::first(&shared, found.begin, found.plan, items.clone());
    tokio::spawn(reads::watch(shared.clone()));
    let task = Task {
        shared: shared.clone(),
        items,
        commands: commands_receiver,
        kept,
        owns_client,
    };
    tokio::spawn(task.run(session));
    Ok(Tail::new(items_receiver, shared))
}
