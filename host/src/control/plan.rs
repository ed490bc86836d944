//! Which streams a run opens, and which modules see each.

use std::sync::Arc;

use bson::RawDocumentBuf;

use super::FailurePolicy;
use crate::{
    flow::OrderingGuarantee,
    guest::{GuestError, Lookups, Module, PipelineError, PipelineRefused},
    op::{Namespace, Origin, Scope, SourceKind},
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
    /// What is read directly; no module sees a document through two of them.
    pub reads: Vec<ReadPlan>,
    question: Question,
}

/// A collection or view that is read directly.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadPlan {
    /// Which one.
    pub namespace: Namespace,
    /// What the server applies to its documents.
    pub pipeline: Vec<RawDocumentBuf>,
    /// Which modules see them, as places in [`Plan::modules`].
    pub modules: Vec<usize>,
    /// Which streams have its changes for these modules, as places in [`Plan::streams`]; none where
    /// it is not watched.
    pub streams: Vec<usize>,
}

impl ReadPlan {
    /// The names of the modules that see it.
    pub(super) fn names(&self, plan: &Plan) -> Vec<String> {
        let modules = self.modules.iter().map(|module| &plan.modules[*module]);
        modules.map(|spec| spec.module.name().to_owned()).collect()
    }
}

/// What modules are asked before a run, and while it works when others take over.
#[derive(Debug, Clone)]
struct Question {
    sinks: Arc<[String]>,
    scope: Scope,
    kind: SourceKind,
    ordering: OrderingGuarantee,
    ignore_pipeline: bool,
    reads: Vec<Namespace>,
}

impl Plan {
    /// What is read for a program that has no modules, by that stream.
    pub(super) fn without_modules(stream: StreamPlan, kind: SourceKind) -> Self {
        let question = Question {
            sinks: Arc::default(),
            scope: stream.scope.clone(),
            kind,
            ordering: OrderingGuarantee::Oplog,
            ignore_pipeline: true,
            reads: Vec::new(),
        };
        Self {
            modules: Vec::new(),
            streams: vec![stream],
            reads: Vec::new(),
            question,
        }
    }

    /// The same run that also reads these collections and views. To be called where it may take as
    /// long as the modules take.
    ///
    /// # Errors
    /// As [`prepare`].
    pub fn with_direct_reads(&self, namespaces: &[Namespace]) -> Result<Self, PlanError> {
        if namespaces.is_empty() {
            return Ok(self.clone());
        }
        let mut question = self.question.clone();
        for namespace in namespaces {
            if !question.reads.contains(namespace) {
                question.reads.push(namespace.clone());
            }
        }
        question.ask(self.modules.clone())
    }

    /// Whether another plan has the same streams, and reads the same for the same modules: then each
    /// module can take over by itself.
    pub(super) fn is_wired_as(&self, other: &Self) -> bool {
        let same = |(a, b): (&ReadPlan, &ReadPlan)| {
            (&a.namespace, &a.modules, &a.streams) == (&b.namespace, &b.modules, &b.streams)
        };
        self.streams == other.streams
            && self.reads.len() == other.reads.len()
            && self.reads.iter().zip(&other.reads).all(same)
    }

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
        reads: Vec::new(),
    };
    question.ask(modules.into_iter().map(Arc::new).collect())
}

impl Question {
    fn ask(self, modules: Vec<Arc<ModuleSpec>>) -> Result<Plan, PlanError> {
        let mut streams: Vec<StreamPlan> = Vec::new();
        let mut reads: Vec<ReadPlan> = Vec::new();
        // What each stream's modules answered about what is read directly.
        let mut read_answers: Vec<ReadAnswers> = Vec::new();
        for (index, spec) in modules.iter().enumerate() {
            let (answers, of_reads) = self.ask_one(spec)?;
            if answers.len() > 1 && self.ordering == OrderingGuarantee::Oplog {
                return Err(PlanError::OrderOverStreams {
                    module: spec.module.name().to_owned(),
                });
            }
            for (pipeline, namespaces) in answers {
                let scope = Scope::new(namespaces);
                let mut known = streams.iter_mut().zip(&read_answers);
                // A change is covered for all modules of its stream, or for none.
                match known.find(|(stream, of_stream)| {
                    stream.scope == scope && stream.pipeline == pipeline && **of_stream == of_reads
                }) {
                    Some((stream, _)) => stream.modules.push(index),
                    None => {
                        streams.push(StreamPlan {
                            scope,
                            pipeline,
                            modules: vec![index],
                        });
                        read_answers.push(of_reads.clone());
                    }
                }
            }
            for (pipeline, namespace) in of_reads.into_iter().zip(&self.reads) {
                let is_it = |read: &&mut ReadPlan| {
                    read.namespace == *namespace && read.pipeline == pipeline
                };
                match reads.iter_mut().find(is_it) {
                    Some(read) => read.modules.push(index),
                    None => reads.push(ReadPlan {
                        namespace: namespace.clone(),
                        pipeline,
                        modules: vec![index],
                        streams: Vec::new(),
                    }),
                }
            }
        }
        for read in &mut reads {
            let of_read = streams.iter().enumerate().filter(|(_, stream)| {
                let sees = stream
                    .modules
                    .iter()
                    .any(|module| read.modules.contains(module));
                sees && stream.scope.contains(&read.namespace.to_string())
            });
            read.streams = of_read.map(|(stream, _)| stream).collect();
        }
        // The collections that were named first are read first.
        reads.sort_by_key(|read| self.reads.iter().position(|other| *other == read.namespace));
        Ok(Plan {
            modules,
            streams,
            reads,
            question: self,
        })
    }

    /// Asks a module about everything that is watched, and about what is read directly.
    fn ask_one(&self, spec: &ModuleSpec) -> Result<(Answers, ReadAnswers), PlanError> {
        let name = || spec.module.name().to_owned();
        let guest = |source| PlanError::Guest {
            module: name(),
            source,
        };
        let mut instance = spec
            .module
            .instantiate(&self.sinks, spec.config.as_deref())
            .map_err(guest)?;
        let mut ask = |namespace: &Namespace, source: Origin| {
            if self.ignore_pipeline {
                return Ok(Vec::new());
            }
            let stages = instance.pipeline(&namespace.as_asked(), source.as_str());
            let stages = stages.map_err(|error| match error {
                PipelineError::Guest(source) => guest(source),
                PipelineError::Refused(source) => PlanError::Pipeline {
                    module: name(),
                    namespace: namespace.to_string(),
                    source,
                },
            })?;
            Ok(stages.unwrap_or_default())
        };
        let mut answers = Answers::new();
        for namespace in self.scope.namespaces() {
            // The oplog can run no stages, so the question is the one for a change stream: its
            // answer tells whether the module counts on the server.
            let stages = ask(namespace, SourceKind::ChangeStream.into())?;
            if self.kind == SourceKind::Oplog && !stages.is_empty() {
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
        let reads = self.reads.iter();
        let of_reads = reads.map(|namespace| ask(namespace, Origin::DirectRead));
        Ok((answers, of_reads.collect::<Result<_, _>>()?))
    }
}

/// The distinct answers of a module, each with the namespaces that it gave it for.
type Answers = Vec<(Vec<RawDocumentBuf>, Vec<Namespace>)>;

/// The answers of a module about what is read directly, one for each.
type ReadAnswers = Vec<Vec<RawDocumentBuf>>;
