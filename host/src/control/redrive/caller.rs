//! The thread that calls the module.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use super::{RedriveError, deliver::RedrivenOutput};
use crate::{
    control::ModuleSpec,
    dead_letters::kind,
    guest::{GuestError, Instance, Outcome, Verdict},
    sink::Cause,
};

/// What the thread needs beside the guest's stack.
const STACK_BYTES: usize = 2 << 20;

/// How a call failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) kind: String,
    pub(super) export: &'static str,
    pub(super) message: String,
    pub(super) stderr: Vec<String>,
    pub(super) backtrace: Vec<String>,
}

impl Failed {
    pub(super) fn new(kind: &str, message: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            export: "handle",
            message: message.to_owned(),
            stderr: Vec::new(),
            backtrace: Vec::new(),
        }
    }
}

impl From<GuestError> for Failed {
    fn from(error: GuestError) -> Self {
        let failure = error.into_failure();
        Self {
            kind: failure.class.as_str().to_owned(),
            export: failure.export,
            message: failure.message,
            stderr: failure.stderr,
            backtrace: failure.backtrace,
        }
    }
}

/// What the module made of an op.
#[derive(Debug)]
pub(super) enum Answer {
    /// Its filter does not want it.
    Unwanted,
    /// It wants the op, whose document has to be looked up first.
    NeedsDocument { ask_again: bool },
    /// It handled it.
    Emitted(Vec<RedrivenOutput>),
    /// It asks for another attempt after this time.
    Later(Duration),
    /// It failed.
    Failed(Failed),
}

struct Call {
    op: Vec<u8>,
    is_pending: bool,
    ask_filter: bool,
    answer: oneshot::Sender<Result<Answer, GuestError>>,
}

/// The door to the thread that calls the module: calls belong on a plain thread with a large stack.
/// It ends with its door.
pub(super) struct Caller {
    module: String,
    calls: mpsc::Sender<Call>,
}

impl Caller {
    /// Starts the thread, and makes the first instance.
    pub(super) async fn start(
        spec: ModuleSpec,
        sinks: Arc<[String]>,
    ) -> Result<Self, RedriveError> {
        let (calls, receiver) = mpsc::channel(1);
        let (started, start) = oneshot::channel();
        let module = spec.module.name().to_owned();
        let stack = spec.module.engine().limits().stack_bytes + STACK_BYTES;
        std::thread::Builder::new()
            .name("redrive".to_owned())
            .stack_size(stack)
            .spawn(move || {
                let made = spec.module.instantiate(&sinks, spec.config.as_deref());
                match made {
                    Ok(instance) => {
                        // Nobody waits: the redrive has ended already.
                        let _ = started.send(Ok(()));
                        work(&spec, &sinks, instance, receiver);
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            })
            .map_err(RedriveError::Thread)?;
        let caller = Self { module, calls };
        start
            .await
            .expect("the thread answers before it ends")
            .map_err(|source| caller.broken(source))?;
        Ok(caller)
    }

    fn broken(&self, source: GuestError) -> RedriveError {
        RedriveError::Module {
            module: self.module.clone(),
            source,
        }
    }

    /// Lets the module filter and handle an op.
    pub(super) async fn call(
        &mut self,
        op: Vec<u8>,
        is_pending: bool,
        ask_filter: bool,
    ) -> Result<Answer, RedriveError> {
        let (answer, answered) = oneshot::channel();
        let call = Call {
            op,
            is_pending,
            ask_filter,
            answer,
        };
        let sent = self.calls.send(call).await;
        sent.expect("the thread lives as long as its door");
        answered
            .await
            .expect("the thread answers each call")
            .map_err(|source| self.broken(source))
    }
}

fn work(
    spec: &ModuleSpec,
    sinks: &Arc<[String]>,
    mut instance: Instance,
    mut calls: mpsc::Receiver<Call>,
) {
    while let Some(call) = calls.blocking_recv() {
        let answer =
            answer(&mut instance, &call).unwrap_or_else(|error| Answer::Failed(error.into()));
        instance.clear_outputs();
        let mut broken = None;
        if instance.is_dead() {
            match spec.module.instantiate(sinks, spec.config.as_deref()) {
                Ok(fresh) => instance = fresh,
                Err(error) => broken = Some(error),
            }
        }
        let is_broken = broken.is_some();
        // Nobody waits any more: the redrive was cut.
        let _ = call.answer.send(broken.map_or(Ok(answer), Err));
        if is_broken {
            return;
        }
    }
}

fn answer(instance: &mut Instance, call: &Call) -> Result<Answer, GuestError> {
    instance.write_op(&call.op)?;
    let verdict = match call.ask_filter {
        true => instance.filter(call.is_pending)?,
        false => Verdict::Keep,
    };
    match verdict {
        Verdict::Drop => return Ok(Answer::Unwanted),
        Verdict::AskAgain => return Ok(Answer::NeedsDocument { ask_again: true }),
        Verdict::Keep if call.is_pending => return Ok(Answer::NeedsDocument { ask_again: false }),
        Verdict::Keep => {}
    }
    match instance.handle()? {
        Outcome::Done => {}
        Outcome::Retry { reason } => return Ok(Answer::Failed(Failed::new(kind::RETRY, &reason))),
        Outcome::Reject { reason } => {
            return Ok(Answer::Failed(Failed::new(kind::REJECT, &reason)));
        }
        Outcome::RetryAfter { delay, .. } => return Ok(Answer::Later(delay)),
    }
    let mut outputs = Vec::new();
    take_outputs(instance, Cause::Op, &mut outputs);
    // What it gathered belongs to this op, too: the letter is removed with all that came of it.
    instance.flush()?;
    take_outputs(instance, Cause::Flush, &mut outputs);
    Ok(Answer::Emitted(outputs))
}

fn take_outputs(instance: &mut Instance, cause: Cause, outputs: &mut Vec<RedrivenOutput>) {
    let taken = (0..)
        .zip(instance.outputs())
        .map(|(number, (sink, document))| RedrivenOutput {
            sink,
            number,
            cause,
            document: document.to_vec(),
        });
    outputs.extend(taken);
    instance.clear_outputs();
}
