// What the functions of a module do around the author's own. `transform.js` writes the exports that call these.

// What `asconfig.json` puts in place of the library's own has to be at hand.
import "./abort";
import "./std";

import { DocumentBuilder } from "./builder";
import { Document } from "./document";
import { Op, Source } from "./op";
import { Outcome } from "./outcome";
import { reserve } from "./region";
import { State } from "./state";
import { DateTime } from "./values";

/** Marks the version of the ABI; never called. */
export function oplet_abi_v1(): void {}

/** Room for an input. */
export function oplet_alloc(length: u32): usize {
  return reserve(length);
}

const op: Op = new Op();

/** The op that lies there. */
export function opAt(at: usize, length: i32): Op {
  op.begin(at, length);
  return op;
}

/** Keep, drop, or ask again: what a filter said without the document that it wanted to see does not count. */
export function verdict(keep: bool): i32 {
  return op.wantsDocument ? 2 : keep ? 1 : 0;
}

/** The document that lies there. */
export function documentAt(at: usize, length: i32): Document {
  const document = Document.at(null, at, at + length);
  if (document === null) throw new Error("the host handed over no document");
  return document;
}

/** The namespace that a pipeline is asked for. */
export function namespaceIn(question: Document): string {
  const text = question.getString("namespace");
  if (text === null) throw new Error("the host asked for a pipeline without a namespace");
  return text;
}

/** The source that a pipeline is asked for. */
export function sourceIn(question: Document): Source {
  return question.isString("source", "directRead") ? Source.DirectRead : Source.ChangeStream;
}

/** What an answer lies in until the next call. */
let answer: Document | null = null;

/** An answer of the stages of a pipeline, or none. */
export function answerStages(stages: Document[] | null): u64 {
  return stages === null ? 0 : pack(new DocumentBuilder().set("pipeline", stages).finish());
}

/** An answer of state, or none. */
export function answerState(state: State | null): u64 {
  return state === null ? 0 : pack(state.document);
}

function pack(document: Document): u64 {
  const kept = document.owner === null ? document.copy() : document;
  answer = kept;
  return (<u64>kept.dataStart << 32) | <u64>kept.byteLength;
}

/** The state that was saved. */
export function stateAt(at: usize, length: i32): State {
  return new State(documentAt(at, length));
}

/** The time that it is. */
export function timeOf(ms: i64): DateTime {
  return new DateTime(ms);
}

/** The number of an outcome. */
export function outcome(outcome: Outcome): i32 {
  return outcome;
}
