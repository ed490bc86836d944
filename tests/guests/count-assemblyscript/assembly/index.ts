// Reads one field of every op and counts the ops, as `guest-count` does in Rust: the least that a useful handler does.

import { Op, Outcome, reject } from "oplet-sdk";

let ops: u64 = 0;
let sum: i64 = 0;

/** Keeps every op but those whose `data.n` is negative. */
export function filter(op: Op): bool {
  return op.getI64("data.n") >= 0;
}

export function handle(op: Op): Outcome {
  ops++;
  sum += op.getI64("data.n");
  // Never so, but the compiler cannot know: what is counted must be counted.
  return ops == u64.MAX_VALUE ? reject(sum.toString()) : Outcome.Done;
}
