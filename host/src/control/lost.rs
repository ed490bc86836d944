//! A position that is lost, and what follows.

use tracing::{error, warn};

use super::{
    Error, OnPositionLost, ShownGap, ShownPosition,
    begin::Begin,
    ending::Commands,
    supervisor::{AtWork, COMMAND_TIME, Next, Supervisor},
};
use crate::{
    checkpoint::Gap,
    flow::Word,
    op::{Position, Since, Timestamp},
    source::{self, Start},
};

/// A stream whose position is lost.
#[derive(Debug, Clone)]
pub(super) struct Lost {
    pub(super) stream: usize,
    from: Position,
    to: Option<Timestamp>,
    reason: String,
}

impl Lost {
    /// None when the stream has ended for another reason.
    pub(super) fn of(stream: usize, error: &source::Error) -> Option<Self> {
        let source::Error::PositionLost {
            position,
            oldest,
            reason,
        } = error
        else {
            return None;
        };
        Some(Self {
            stream,
            from: position.clone(),
            to: *oldest,
            reason: reason.clone(),
        })
    }
}

impl Supervisor<'_> {
    /// Goes on at the oldest entries that are left, where positions are lost; or at the newest, when
    /// what was lost is read again.
    pub(super) async fn pass_over(&mut self, mut at_work: AtWork) -> Result<Next, Error> {
        // What was read before the gap is finished first: it cannot be read again.
        self.finish(&mut at_work, Commands::Wait).await?;
        self.check_failure(&at_work).await?;
        let is_done = at_work.session.window.in_flight().ops == 0;
        if !is_done || self.shutdown.is_cancelled() || self.desk.drain.is_cancelled() {
            return Ok(Next::End);
        }
        if self.assembly.options.on_position_lost == OnPositionLost::Resnapshot {
            let begins = self.read_again(&at_work).await?;
            return Ok(Next::Session(begins, Word::Open, None));
        }
        let frontiers = at_work.session.window.frontiers();
        let mut begins: Vec<_> = frontiers.into_iter().map(Begin::after).collect();
        for mut lost in at_work.lost {
            let Some(oldest) = self.oldest(lost.stream).await? else {
                return Ok(Next::End);
            };
            let to = oldest.position().timestamp();
            if to > lost.to {
                // More of the same was lost meanwhile, and it is still one gap.
                lost.to = to;
                self.record(&lost).await;
            }
            begins[lost.stream] = Begin::at(oldest);
        }
        Ok(Next::Session(begins, Word::Open, None))
    }

    /// Where the history of a stream's deployment begins; none when the run is to end.
    async fn oldest(&mut self, stream: usize) -> Result<Option<Start>, Error> {
        let options = self.assembly.options;
        let stream = self.assembly.stream(stream);
        let (server, namespace) = (stream.deployment.server.clone(), &options.oplog_namespace);
        let oldest = source::resolve(&Since::Oldest, options.source, &server, namespace);
        let asked_to_end = self.asked_to_end();
        let oldest = async {
            tokio::select! {
                oldest = oldest => Some(oldest),
                () = asked_to_end => None,
            }
        };
        Ok(self.desk.hold_while(oldest).await.transpose()?)
    }

    /// Shows and records the gap.
    pub(super) async fn record(&mut self, lost: &Lost) {
        let Lost {
            stream,
            from,
            to,
            reason,
        } = lost;
        let (policy, to) = (self.assembly.options.on_position_lost, *to);
        let options = self.assembly.options;
        let stream = self.assembly.stream(*stream);
        let namespaces = stream.plan.scope.namespaces().iter();
        let namespaces: Vec<_> = namespaces.map(ToString::to_string).collect();
        let are_told_apart = self.assembly.deployments.are_told_apart();
        let cluster = are_told_apart.then(|| stream.deployment.cluster.clone());
        let cluster_name = cluster.as_ref().map(|cluster| cluster.name().to_owned());
        self.assembly.stats.count_gap(cluster_name.as_deref());
        self.desk.board.show_gap(ShownGap {
            cluster: cluster_name.clone(),
            from: ShownPosition::of(from),
            to: ShownPosition::of_time(to),
            namespaces: namespaces.clone(),
            reason: reason.clone(),
        });
        let oldest = to.map(|to| to.to_string());
        error!(name = options.name, cluster = cluster_name, %from, to = oldest, namespaces = namespaces.join(", "), reason,
            policy = policy.as_str(), "the position is lost: changes between these two were not seen");
        let Some(store) = self.store.clone() else {
            return;
        };
        let gap = Gap {
            name: options.name.clone(),
            cluster,
            source: options.source,
            from: from.clone(),
            to,
            namespaces,
            reason: reason.clone(),
            policy: policy.as_str().to_owned(),
            at_ms: bson::DateTime::now().timestamp_millis(),
        };
        let recorded = tokio::time::timeout(COMMAND_TIME, store.record_gap(&gap));
        match self.desk.hold_while(recorded).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the gap cannot be recorded"),
            Err(_) => warn!("the gap cannot be recorded: the store does not answer"),
        }
    }
}
