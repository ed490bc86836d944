import * as host from "./host";
import { lend, lentLength } from "./text";

/** How much a log line matters. */
export enum Level {
  /** Something failed. */
  Error = 1,
  /** Something is degraded. */
  Warn = 2,
  /** Life cycle. */
  Info = 3,
  /** For whoever debugs the handler. */
  Debug = 4,
  /** Per-op detail. */
  Trace = 5,
}

/**
 * Writes a line to the host's log, under the module's name. `console.log` and its sisters do the same.
 *
 * The host limits length and rate, and says so when it drops lines.
 */
export function log(line: string, level: Level = Level.Info): void {
  const at = lend(line);
  host.log(level, at, lentLength());
}

/**
 * Adds to a counter of the module's own, shown with the host's metrics.
 *
 * Names are `[a-z0-9_]{1,64}`, at most 100 of them; never put a document's value into one.
 */
export function count(name: string, delta: i64 = 1): void {
  const at = lend(name);
  host.count(at, lentLength(), delta);
}
