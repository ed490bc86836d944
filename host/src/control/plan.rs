//! Which streams a run opens, and which modules see each.

use std::sync::Arc;

use bson::RawDocumentBuf;

use super::FailurePolicy;
use crate::{
    flow::OrderingGuarantee,
    guest::{GuestError, Lookups, Module, PipelineError, PipelineRefused},
    op::{Namespace, Scope, SourceKind},
};

/// A module and what it is given.
#[derive(Debug, Clone)]
pub struct ModuleSpec {
    /// The module.
    pub module: Module,
    /// Its configuration, a BSON document.
    pub config: Option<Vec<u8>>,
    /// How its failures are met.
    pub policy: FailurePolicy,
}

/// One stream of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamPlan {
    /// What it watches.
    pub scope: Scope,
    /// What the server applies to its events.
    pub pipeline: Vec<RawDocumentBuf>,
    /// Which modules see it, as places in [`Plan::modules`].
    pub modules: Vec<usize>,
}

/// What a run does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The modules.
    pub modules: Vec<Arc<ModuleSpec>>,
    /// The streams; no module sees an op through two of them.
    pub streams: Vec<StreamPlan>,
    question: Question,
}

/// What modules are asked before a run, and while it works when others take over.
#[derive(Debug, Clone)]
struct Question {
    sinks: Arc<[String]>,
    scope: Scope,
    kind: SourceKind,
    ordering: OrderingGuarantee,
    ignore_pipeline: bool,
}

impl Plan {
    /// The same run with other modules, which are asked as the first ones were. To be called where it
    /// may take as long as the modules take.
    ///
    /// # Errors
    /// As [`prepare`].
    pub(super) fn with_modules(&self, modules: Vec<Arc<ModuleSpec>>) -> Result<Self, PlanError> {
        self.question.clone().ask(modules)
    }

    /// The same run, whose modules, and the versions of them that follow, look up documents there.
    pub(super) fn with_lookups(mut self, lookups: &Arc<dyn Lookups>) -> Self {
        for spec in &mut self.modules {
            let module = spec.module.clone().with_lookups(lookups.clone());
            *spec = Arc::new(ModuleSpec {
                module,
                ..ModuleSpec::clone(spec)
            });
        }
        self
    }

    /// The names of the sinks that modules can emit to, by number.
    pub(super) fn sinks(&self) -> &Arc<[String]> {
        &self.question.sinks
    }

    /// The modules' names.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.modules.iter().map(|spec| spec.module.name());
        names.map(str::to_owned).collect()
    }

    /// The number of the module of that name.
    pub(super) fn find(&self, module: &str) -> Option<usize> {
        self.modules
            .iter()
            .position(|spec| spec.module.name() == module)
    }
}

/// Why modules cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// An instance could not be made, or `pipeline` failed.
    #[error("the module `{module}` cannot be started")]
    Guest {
        /// The module's name.
        module: String,
        /// How it failed.
        #[source]
        source: GuestError,
    },
    /// The stages that a module answered cannot be pushed to the server.
    #[error("the pipeline of the module `{module}` for {namespace} is refused")]
    Pipeline {
        /// The module's name.
        module: String,
        /// What it was asked for.
        namespace: String,
        /// Which stage, and why.
        #[source]
        source: PipelineRefused,
    },
    /// A module wants one order over all, and streams that the server narrows differently.
    #[error(
        "the pipeline of the module `{module}` differs by namespace, which needs one stream for each"
    )]
    OrderOverStreams {
        /// The module's name.
        module: String,
    },
    /// A module answered with stages, and the oplog cannot run any.
    #[error("the module `{module}` has a pipeline for {namespace}, and the oplog cannot run one")]
    PipelineOnOplog {
        /// The module's name.
        module: String,
        /// What it was asked for.
        namespace: String,
    },
}

impl PlanError {
    /// The name of the module that cannot be run.
    #[must_use]
    pub fn module(&self) -> &str {
        match self {
            Self::Guest { module, .. }
            | Self::Pipeline { module, .. }
            | Self::OrderOverStreams { module }
            | Self::PipelineOnOplog { module, .. } => module,
        }
    }
}

/// Makes one instance of each module to see that it starts, and asks it once per watched namespace
/// which stages the server may run for it.
///
/// Modules with the same answers share a stream. `sinks` are the names of the sinks that they can
/// emit to, by number. `ignore_pipeline` reads everything for all of them.
///
/// # Errors
/// [`PlanError`], for the first module that cannot be run.
pub fn prepare(
    modules: Vec<ModuleSpec>,
    sinks: &Arc<[String]>,
    scope: &Scope,
    kind: SourceKind,
    ordering: OrderingGuarantee,
    ignore_pipeline: bool,
) -> Result<Plan, PlanError> {
    let question = Question {
        sinks: sinks.clone(),
        scope: scope.clone(),
        kind,
        ordering,
        ignore_pipeline,
    };
    question.ask(modules.into_iter().map(Arc::new).collect())
}

impl Question {
    fn ask(self, modules: Vec<Arc<ModuleSpec>>) -> Result<Plan, PlanError> {
        let mut streams: Vec<StreamPlan> = Vec::new();
        for (index, spec) in modules.iter().enumerate() {
            let answers = ask(
                spec,
                &self.sinks,
                &self.scope,
                self.kind,
                self.ignore_pipeline,
            )?;
            if answers.len() > 1 && self.ordering == OrderingGuarantee::Oplog {
                return Err(PlanError::OrderOverStreams {
                    module: spec.module.name().to_owned(),
                });
            }
            for (pipeline, namespaces) in answers {
                let scope = Scope::new(namespaces);
                match streams
                    .iter_mut()
                    .find(|stream| stream.scope == scope && stream.pipeline == pipeline)
                {
                    Some(stream) => stream.modules.push(index),
                    None => streams.push(StreamPlan {
                        scope,
                        pipeline,
                        modules: vec![index],
                    }),
                }
            }
        }
        Ok(Plan {
            modules,
            streams,
            question: self,
        })
    }
}

/// The distinct answers of a module, each with the namespaces that it gave it for.
type Answers = Vec<(Vec<RawDocumentBuf>, Vec<Namespace>)>;

fn ask(
    spec: &ModuleSpec,
    sinks: &Arc<[String]>,
    scope: &Scope,
    kind: SourceKind,
    ignore_pipeline: bool,
) -> Result<Answers, PlanError> {
    let name = || spec.module.name().to_owned();
    let guest = |source| PlanError::Guest {
        module: name(),
        source,
    };
    let mut instance = spec
        .module
        .instantiate(sinks, spec.config.as_deref())
        .map_err(guest)?;
    let mut answers = Answers::new();
    for namespace in scope.namespaces() {
        let stages = match ignore_pipeline {
            true => None,
            // The oplog can run no stages, so the question is the one for a change stream: its
            // answer tells whether the module counts on the server.
            false => instance
                .pipeline(&namespace.as_asked(), SourceKind::ChangeStream.as_str())
                .map_err(|error| match error {
                    PipelineError::Guest(source) => guest(source),
                    PipelineError::Refused(source) => PlanError::Pipeline {
                        module: name(),
                        namespace: namespace.to_string(),
                        source,
                    },
                })?,
        };
        let stages = stages.unwrap_or_default();
        if kind == SourceKind::Oplog && !stages.is_empty() {
            return Err(PlanError::PipelineOnOplog {
                module: name(),
                namespace: namespace.to_string(),
            });
        }
        match answers.iter_mut().find(|(answer, _)| *answer == stages) {
            Some((_, namespaces)) => namespaces.push(namespace.clone()),
            None => answers.push((stages, vec![namespace.clone()])),
        }
    }
    Ok(answers)
}
