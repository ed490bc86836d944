//! What happens while the handler runs: ops are shown, and saved sources become versions.

use std::time::{Duration, Instant};

use anstream::eprintln;
use oplet::{
    TailBuilder,
    control::{Absent, Handle, Origin, Rollout, Swap, SwapError},
    guest,
    mongo::Server,
    op::{Scope, Since},
    project::Built,
    source::Start,
};
use tokio::sync::oneshot;

use super::{SOURCE, Seeds, Workshop, standing};
use crate::cli::{error::UserError, modules, pretty};

pub(super) struct Session {
    pub(super) workshop: Workshop,
    built: Built,
    seeds: Option<Seeds>,
    began: Instant,
}

impl Session {
    pub(super) fn new(workshop: Workshop, built: Built, seeds: Option<Seeds>) -> Self {
        Self {
            workshop,
            built,
            seeds,
            began: Instant::now(),
        }
    }

    /// Works until something fails that no save mends.
    pub(super) async fn work(
        &mut self,
        server: &Server,
        scope: Scope,
        handle: &Handle,
        module: &str,
        start: oneshot::Receiver<Start>,
    ) -> Result<(), UserError> {
        let Ok(start) = start.await else {
            // The run has ended before it began, and tells why itself.
            return std::future::pending().await;
        };
        say_ready(
            1,
            self.built.took,
            &format!("started in {}", seconds(self.began.elapsed())),
        );
        let (workshop, seeds) = (&mut self.workshop, &self.seeds);
        let seeded = async {
            if let Some(seeds) = seeds {
                let count = seeds.happen(&server.client).await?;
                eprintln!("seeded   {count} changes");
            }
            Ok(())
        };
        let shown = show_ops(server, scope, start);
        let edited = edit(workshop, handle, module);
        tokio::select! {
            worked = async { tokio::try_join!(seeded, shown, edited).map(drop) } => worked,
            never = standing::show(handle) => match never {},
        }
    }
}

/// Shows each op in a line.
async fn show_ops(server: &Server, scope: Scope, start: Start) -> Result<(), UserError> {
    let since = start.behind().timestamp().unwrap_or_default();
    let mut builder = TailBuilder::new(server)
        .source(SOURCE)
        .since(Since::After(since));
    builder.options().watch = scope.namespaces().to_vec();
    let mut changes = builder.start().await.map_err(UserError::of_tail)?;
    let (mut bytes, mut line) = (Vec::new(), String::new());
    while let Some(batch) = changes.next().await {
        let batch = batch.map_err(UserError::of_tail)?;
        for (op, document) in batch.ops() {
            bytes.clear();
            line.clear();
            op.encode(document, &mut bytes);
            match pretty::write(&bytes, &mut line) {
                Ok(()) => eprintln!("op       {line}"),
                Err(error) => tracing::error!(op_id = %op.id(), %error, "an op cannot be shown"),
            }
        }
    }
    Ok(())
}

/// Builds whenever somebody saves, and lets what comes of it take over.
async fn edit(workshop: &mut Workshop, handle: &Handle, module: &str) -> Result<(), UserError> {
    let mut generation = 1;
    loop {
        workshop.changed().await;
        let Some(built) = workshop.build().await? else {
            say_goes_on(generation);
            continue;
        };
        let begun = Instant::now();
        let swap = Swap {
            module: module.to_owned(),
            wasm: modules::read(workshop.wasm())?.into(),
            origin: Origin::Request,
            absent: Absent::Refuse,
            rollout: Rollout::AtOnce,
        };
        match handle.swap(swap).await {
            Ok(swapped) => {
                let before = generation;
                generation = swapped.to.map_or(before, |version| version.generation);
                let how = match generation == before {
                    true => "as it was".to_owned(),
                    false => format!("swapped in {}", seconds(begun.elapsed())),
                };
                say_ready(generation, built.took, &how);
            }
            // The run tells why.
            Err(SwapError::Ended) => return std::future::pending().await,
            Err(error) => {
                refused(&error).print();
                say_goes_on(generation);
            }
        }
    }
}

/// Why a version did not take over.
fn refused(error: &SwapError) -> UserError {
    let user_error = UserError::of(error);
    match error {
        SwapError::Load(error) => match &**error {
            guest::Error::Refused { findings, .. } => user_error.hints_of(findings),
            _ => user_error,
        },
        _ => user_error,
    }
}

fn say_ready(generation: u64, built: Duration, how: &str) {
    eprintln!(
        "ready    generation {generation}  built in {}, {how}",
        seconds(built)
    );
}

fn say_goes_on(generation: u64) {
    eprintln!("waiting  generation {generation} goes on until the next save");
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
