// What the language's own library would import from a browser, over the host instead. `asconfig.json` puts these in place.

import { Date as StandardDate } from "date";
import { Level, log as write } from "./report";

@external("wasi_snapshot_preview1", "clock_time_get")
declare function clockTimeGet(clock: i32, precision: i64, time: usize): i32;

@external("wasi_snapshot_preview1", "random_get")
declare function randomGet(buffer: usize, length: i32): i32;

const word = memory.data(8);

/** Lines of the host's log. */
export namespace console {
  export function assert<T>(condition: T, message: string = ""): void {
    if (!condition) write("assertion failed: " + message, Level.Error);
  }
  export function log(message: string = ""): void {
    write(message, Level.Info);
  }
  export function debug(message: string = ""): void {
    write(message, Level.Debug);
  }
  export function info(message: string = ""): void {
    write(message, Level.Info);
  }
  export function warn(message: string = ""): void {
    write(message, Level.Warn);
  }
  export function error(message: string = ""): void {
    write(message, Level.Error);
  }
}

/** `Date`, with the host's clock. */
export class Date extends StandardDate {
  static now(): i64 {
    clockTimeGet(0, 1000000, word);
    return <i64>(load<u64>(word) / 1000000);
  }
}

/** Where `Math.random` begins. */
export function seed(): f64 {
  randomGet(word, 8);
  return reinterpret<f64>((load<u64>(word) >> 12) | 0x3ff0000000000000);
}

/** A line of the host's log, with numbers behind it. */
export function trace(message: string, n: i32 = 0, a0: f64 = 0, a1: f64 = 0, a2: f64 = 0, a3: f64 = 0, a4: f64 = 0): void {
  if (n > 0) message += " " + a0.toString();
  if (n > 1) message += " " + a1.toString();
  if (n > 2) message += " " + a2.toString();
  if (n > 3) message += " " + a3.toString();
  if (n > 4) message += " " + a4.toString();
  write(message, Level.Trace);
}
