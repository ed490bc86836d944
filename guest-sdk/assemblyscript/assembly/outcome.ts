import * as host from "./host";
import { lend, lentLength } from "./text";

/** What became of an op. */
export enum Outcome {
  /** It is done: what was emitted is delivered. */
  Done = 0,
  /** See `retry`. */
  Retry = 1,
  /** See `reject`. */
  Reject = 2,
  /** See `retryAfter`. */
  RetryAfter = 3,
}

/** Try again, for this reason. Counts as an attempt; the module's `on-error` policy limits them. */
export function retry(reason: string): Outcome {
  fail(reason);
  return Outcome.Retry;
}

/** The op can never be handled, for this reason: it goes to the dead letters. Of a configuration: it is refused. */
export function reject(reason: string): Outcome {
  fail(reason);
  return Outcome.Reject;
}

/** Try again after this many milliseconds. Costs no attempt. */
export function retryAfter(ms: i64): Outcome {
  host.retryAfter(ms);
  return Outcome.RetryAfter;
}

/** @hidden */
export function fail(reason: string): void {
  const at = lend(reason);
  host.fail(at, lentLength());
}
