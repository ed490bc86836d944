//! The thread that calls the module, and the one that reads for it.

use std::{sync::mpsc, thread};

use oplet::{
    guest::GuestError,
    op::{Format, write_json},
    replay::{self, Answer, Chunk, Player, Report, Setup},
    sink::Stdout,
};
use oplet_sdk::{abi::field, raw::Walk};

use super::{expectation::Emitted, ops::Ops, outcome};
use crate::cli::error::UserError;

/// What the thread needs beside the guest's stack, in bytes.
const STACK_BYTES: usize = 2 << 20;

/// How many chunks are read ahead.
const CHUNKS: usize = 4;

/// How much is gathered before it is printed, in bytes.
const OUTPUT_BYTES: usize = 64 << 10;

/// How many ops that were not handled are told one by one, unless all are to be told.
const TOLD_MAX: u64 = 100;

/// What becomes of all that is emitted and said.
pub(super) struct Output {
    pub(super) format: Format,
    /// It is compared or written later, and not printed.
    pub(super) is_kept: bool,
    pub(super) flush_every: Option<u64>,
    /// What becomes of each op is told.
    pub(super) tells_all: bool,
    /// Only failures are told.
    pub(super) is_quiet: bool,
}

/// What came of it.
pub(super) struct Played {
    pub(super) report: Report,
    /// What was emitted, where that is kept.
    pub(super) emitted: Vec<Emitted>,
    /// The module failed at a batch border.
    pub(super) flush_failed: bool,
    /// Whether the recording could be read, and all was printed.
    pub(super) ended: Result<(), UserError>,
}

/// Replays ops: they are read on this thread, and the module is called on another, with the stack that
/// it may use.
pub(super) fn play(mut ops: Ops, setup: Setup, output: Output) -> Result<Played, UserError> {
    let (sender, chunks) = mpsc::sync_channel(CHUNKS);
    let stack = setup.module.settings().limits.stack_bytes + STACK_BYTES;
    let caller = thread::Builder::new()
        .name("replay".to_owned())
        .stack_size(stack)
        .spawn(move || call(setup, output, &chunks));
    let caller =
        caller.map_err(|error| UserError::failed("cannot start a thread").because(&error))?;
    let read = read(&mut ops, &sender);
    drop(sender);
    let mut played = caller.join().expect("calling the module does not panic")?;
    // Who cannot print does not read on, and that is the reason then.
    played.ended = played.ended.and(read.map_err(UserError::from));
    Ok(played)
}

fn read(ops: &mut Ops, sender: &mpsc::SyncSender<Chunk>) -> Result<(), replay::Error> {
    while let Some(chunk) = ops.next()? {
        if sender.send(chunk).is_err() {
            break;
        }
    }
    Ok(())
}

fn call(setup: Setup, output: Output, chunks: &mpsc::Receiver<Chunk>) -> Result<Played, UserError> {
    let module = setup.module.name().to_owned();
    let broken = |error: GuestError| {
        let message = format!("no instance of the module `{module}` can be made");
        UserError::failed(message).because(&error)
    };
    let player = Player::new(setup).map_err(broken)?;
    let mut stage = Stage {
        player,
        output,
        text: String::new(),
        emitted: Vec::new(),
        told: 0,
        since_flush: 0,
        flush_failed: false,
    };
    let ended = chunks
        .iter()
        .try_for_each(|chunk| stage.play(&chunk))
        .and_then(|()| stage.flush())
        .and_then(|()| stage.print());
    let ended = ended.map_err(|stop| match stop {
        Stop::Broken(error) => broken(error),
        Stop::Output(error) => error,
    });
    Ok(Played {
        report: stage.player.finish(),
        emitted: stage.emitted,
        flush_failed: stage.flush_failed,
        ended,
    })
}

/// Why the rest is not replayed.
enum Stop {
    Broken(GuestError),
    Output(UserError),
}

struct Stage {
    player: Player,
    output: Output,
    text: String,
    emitted: Vec<Emitted>,
    told: u64,
    since_flush: u64,
    flush_failed: bool,
}

impl Stage {
    fn play(&mut self, chunk: &Chunk) -> Result<(), Stop> {
        for (op, is_pending) in chunk.documents() {
            self.play_one(op, is_pending)?;
            self.since_flush += 1;
            if self.output.flush_every == Some(self.since_flush) {
                self.flush()?;
            }
        }
        // Who pipes ops in sees at once what comes of them.
        self.print()
    }

    fn play_one(&mut self, op: &[u8], is_pending: bool) -> Result<(), Stop> {
        // What the module says to the log is then told with its op.
        let span = tracing::debug_span!("op", id = op_id(op));
        let played = span.in_scope(|| self.player.play(op, is_pending));
        let played = played.map_err(Stop::Broken)?;
        let is_plain = matches!(played.answer, Answer::Handled | Answer::Dropped);
        if !is_plain || self.output.tells_all {
            self.tell(op, &played);
        }
        if self.player.outputs().len() > 0 {
            self.take_outputs(Some((played.number, op)))?;
        }
        Ok(())
    }

    #[cold]
    fn tell(&mut self, op: &[u8], played: &replay::Played) {
        let is_failure = matches!(played.answer, Answer::Failed(_));
        if self.output.is_quiet && !is_failure {
            return;
        }
        self.told += 1;
        match self.told {
            _ if self.output.tells_all => {}
            told if told <= TOLD_MAX => {}
            told => {
                if told == TOLD_MAX + 1 {
                    tracing::warn!(
                        "what becomes of more ops is counted only; `-v` tells it of each"
                    );
                }
                return;
            }
        }
        outcome::say(op, played, self.player.outputs().len());
    }

    /// Lets the module emit what it has gathered.
    fn flush(&mut self) -> Result<(), Stop> {
        self.since_flush = 0;
        match self.player.flush() {
            Ok(()) => self.take_outputs(None),
            Err(error) => {
                outcome::say_flush(&error);
                self.flush_failed = true;
                Ok(())
            }
        }
    }

    fn take_outputs(&mut self, from: Option<(u64, &[u8])>) -> Result<(), Stop> {
        let format = self.output.format;
        for (sink, document) in self.player.outputs() {
            let start = self.text.len();
            let name = match sink {
                0 => None,
                sink => Some(&self.player.sinks()[sink as usize]),
            };
            if let Some(name) = name {
                let name = serde_json::Value::from(name.as_str());
                self.text
                    .push_str(&format!(r#"{{"sink":{name},"document":"#));
            }
            write_json(document, format, &mut self.text).map_err(|error| {
                Stop::Output(UserError::failed("an output cannot be printed").because(&error))
            })?;
            if name.is_some() {
                self.text.push('}');
            }
            match self.output.is_kept {
                true => self.emitted.push(Emitted {
                    line: self.text.split_off(start),
                    from: from.map(|(number, op)| (number, outcome::name_of(op))),
                }),
                false => self.text.push('\n'),
            }
        }
        match self.text.len() > OUTPUT_BYTES {
            true => self.print(),
            false => Ok(()),
        }
    }

    fn print(&mut self) -> Result<(), Stop> {
        if !self.text.is_empty() {
            Stdout
                .write(&self.text)
                .map_err(|broken| Stop::Output(broken.into()))?;
            self.text.clear();
        }
        Ok(())
    }
}

fn op_id(op: &[u8]) -> &str {
    let id = Walk::find(op, field::OP_ID).ok().flatten();
    id.and_then(|element| element.text()).unwrap_or_default()
}
