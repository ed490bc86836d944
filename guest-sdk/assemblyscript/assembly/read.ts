// Values at an address. Their lengths were checked when they were found.

import { Kind } from "./kind";
import { decode } from "./utf8";
import { Timestamp } from "./values";

/** Text with its length before it; null when it is not UTF-8. */
export function text(at: usize): string | null {
  return decode(at + 4, load<i32>(at) - 1);
}

/** An integer, or a double that holds one exactly: shells and drivers differ in what they write for `5`. */
export function integer(kind: u8, at: usize, orElse: i64): i64 {
  if (kind == <u8>Kind.Int32) return load<i32>(at);
  if (kind == <u8>Kind.Int64) return load<i64>(at);
  return kind == <u8>Kind.Double && isWhole(load<f64>(at)) ? <i64>load<f64>(at) : orElse;
}

/** Whether that is an integer, or a double that holds one. */
export function isInteger(kind: u8, at: usize): bool {
  return kind == <u8>Kind.Int32 || kind == <u8>Kind.Int64 || (kind == <u8>Kind.Double && isWhole(load<f64>(at)));
}

/** Any number but a decimal. */
export function double(kind: u8, at: usize, orElse: f64): f64 {
  if (kind == <u8>Kind.Double) return load<f64>(at);
  if (kind == <u8>Kind.Int32) return <f64>load<i32>(at);
  return kind == <u8>Kind.Int64 ? <f64>load<i64>(at) : orElse;
}

export function timestamp(at: usize): Timestamp {
  return new Timestamp(load<u32>(at, 4), load<u32>(at));
}

function isWhole(number: f64): bool {
  return number >= -9223372036854775808.0 && number < 9223372036854775808.0 && trunc(number) == number;
}
