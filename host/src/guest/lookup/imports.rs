//! The imports `lookup` and `reply`.

use std::time::{Duration, Instant};

use oplet_sdk::{
    abi::{field, import, looked_up},
    raw::Walk,
};
use wasmtime::Caller;

use super::{
    LookupAnswer, LookupError, LookupQuery,
    query::{Query, is_granted},
};
use crate::{
    guest::{
        error::Class,
        log::escape,
        memory::{slice, slice_mut, split},
        module::Module,
        state::{State, trap},
    },
    op::{Timestamp, split_namespace},
};

/// How many times the time of one lookup all those of one call may take: the time that passes in
/// imports is not the guest's, so that nothing else would end a loop of lookups.
const CALL_TIMES: u32 = 10;

/// For how long a flush waits for a server that cannot be asked: as long as a fail-over takes. An op
/// that is being handled is put off instead.
const PATIENCE: Duration = Duration::from_secs(30);

pub(in crate::guest) fn lookup(
    mut caller: Caller<'_, State>,
    ptr: u32,
    len: u32,
) -> wasmtime::Result<i32> {
    let (memory, state) = split(&mut caller)?;
    if !state.phase.may_look_up() {
        return Err(trap(format_args!(
            "`{}` may not look up: only `handle`, `oplet_flush` and `oplet_tick` may",
            state.phase.export()
        )));
    }
    let module = state.lookup.module.clone();
    let limits = module.limits();
    let query = slice(memory, import::LOOKUP, ptr, len)?;
    let query = Query::read(query, limits.lookup_documents)
        .map_err(|refused| trap(format_args!("`lookup` got a query {refused}")))?;
    let namespace = query.namespace;
    if !is_granted(&module.settings().lookup, namespace) {
        return Err(trap(format_args!(
            "the module `{name}` may not look up in {namespace}: grant it by `lookup = [\"{namespace}\"]` \
             in the module's table of the configuration",
            name = module.name()
        )));
    }
    let question = LookupQuery {
        after: state.op.and_then(|op| cluster_time(memory, op)),
        cluster: state.op.and_then(|op| cluster(memory, op)),
        ..question(&module, &query, state)
    };
    let mut answer = LookupAnswer::new(limits);
    let begun = Instant::now();
    let found = match question.time.is_zero() {
        true => Err(LookupError::Failed(format!(
            "the lookups of one call have taken longer than {}",
            humantime::format_duration(limits.lookup_time * CALL_TIMES)
        ))),
        false => module.lookups().find(&question, &mut answer),
    };
    let waited = begun.elapsed();
    state.waited += waited;
    let lookup = &mut state.lookup;
    (lookup.is_used, lookup.answer) = (true, None);
    // Patience is not the query's time.
    lookup.spent += waited.min(question.time);
    match found {
        Ok(()) => {
            let answer = lookup.answer.insert(answer.into_document());
            Ok(answer.len() as i32)
        }
        Err(error) => {
            let sentence = format!("cannot look up in {namespace}: {error}");
            // The server's words may quote the guest's.
            let sentence = escape(&state.log.readable(sentence.as_bytes())).into_owned();
            let (class, code) = match error {
                LookupError::Unavailable(_) => (Class::LookupUnavailable, looked_up::UNAVAILABLE),
                LookupError::Failed(_) => (Class::Lookup, looked_up::FAILED),
            };
            lookup.failed(class, sentence);
            Ok(code)
        }
    }
}

fn question<'a>(module: &'a Module, query: &Query<'a>, state: &State) -> LookupQuery<'a> {
    let limits = module.limits();
    let (database, collection) = split_namespace(query.namespace);
    let left = (limits.lookup_time * CALL_TIMES).saturating_sub(state.lookup.spent);
    LookupQuery {
        module: module.name(),
        database,
        collection,
        filter: query.filter,
        projection: query.projection,
        limit: query.limit.unwrap_or(limits.lookup_documents + 1),
        after: None,
        cluster: None,
        time: limits.lookup_time.min(left),
        patience: match state.phase.can_be_tried_again() {
            true => Duration::ZERO,
            false => PATIENCE,
        },
    }
}

/// The cluster time of the op that was written last. What stands there is the guest's to overwrite:
/// then it is its own question that fails, or is answered a little less causally.
fn cluster_time(memory: &[u8], (ptr, len): (u32, u32)) -> Option<Timestamp> {
    let op = slice(memory, import::LOOKUP, ptr, len).ok()?;
    let (seconds, increment) = Walk::find(op, field::TIMESTAMP).ok()??.timestamp()?;
    Some(Timestamp::new(seconds, increment))
}

/// The same of the deployment that it came from.
fn cluster(memory: &[u8], (ptr, len): (u32, u32)) -> Option<&str> {
    let op = slice(memory, import::LOOKUP, ptr, len).ok()?;
    Walk::find(op, field::CLUSTER).ok()??.text()
}

pub(in crate::guest) fn reply(
    mut caller: Caller<'_, State>,
    buffer: u32,
    capacity: u32,
) -> wasmtime::Result<u32> {
    let (memory, state) = split(&mut caller)?;
    let buffer = slice_mut(memory, import::REPLY, buffer, capacity)?;
    let answer = &mut state.lookup.answer;
    let Some(bytes) = answer.as_deref() else {
        return Ok(0);
    };
    let len = bytes.len();
    if let Some(room) = buffer.get_mut(..len) {
        room.copy_from_slice(bytes);
        *answer = None;
    }
    Ok(len as u32)
}
