// Steps over BSON where it lies, without decoding it. Malformed bytes are never read beyond their end: a search ends there.
//
// What a search finds lies in globals, since a function here has one result and an object for it would cost more than
// the search. They hold until the next one.

import { Kind } from "./kind";
import { equals } from "./utf8";

/** Type byte of the value that was found last. */
export let foundKind: u8 = 0;
/** Where it begins, */
export let foundAt: usize = 0;
/** and how many bytes it has. */
export let foundLength: i32 = 0;

/** Length of the document that lies at `at` and may reach to `end`, or -1 when it is not framed as one. */
export function documentLength(at: usize, end: usize): i32 {
  if (at + 5 > end) return -1;
  const length = load<u32>(at);
  if (length < 5 || <u64>at + length > <u64>end || load<u8>(at + length - 1) != 0) return -1;
  return length;
}

/** Length of the value at `at`; `end` is where the document around it has its end byte. -1 for anything malformed. */
export function valueLength(kind: u8, at: usize, end: usize): i32 {
  let length: u64 = 0;
  switch (<u32>kind) {
    case Kind.Undefined:
    case Kind.Null:
    case Kind.MinKey:
    case Kind.MaxKey:
      return 0;
    case Kind.Bool:
      length = 1;
      break;
    case Kind.Int32:
      length = 4;
      break;
    case Kind.Double:
    case Kind.Date:
    case Kind.Timestamp:
    case Kind.Int64:
      length = 8;
      break;
    case Kind.ObjectId:
      length = 12;
      break;
    case Kind.Decimal128:
      length = 16;
      break;
    case Kind.String:
    case Kind.JavaScript:
    case Kind.Symbol:
    case Kind.DbPointer: {
      if (at + 4 > end) return -1;
      const text = load<u32>(at);
      length = <u64>text + 4;
      if (text == 0 || <u64>at + length > <u64>end || load<u8>(at + 3 + text) != 0) return -1;
      if (kind == <u8>Kind.DbPointer) length += 12;
      break;
    }
    case Kind.Document:
    case Kind.Array:
      // The end byte around it is not its own.
      return documentLength(at, end);
    case Kind.Binary:
      if (at + 4 > end) return -1;
      length = <u64>load<u32>(at) + 5;
      break;
    case Kind.JavaScriptWithScope:
      if (at + 4 > end) return -1;
      length = load<u32>(at);
      if (length < 14) return -1;
      break;
    case Kind.Regex: {
      const options = textEnd(at, end) + 1;
      if (options > end) return -1;
      const last = textEnd(options, end) + 1;
      if (last > end) return -1;
      length = last - at;
      break;
    }
    default:
      return -1;
  }
  return <u64>at + length > <u64>end ? -1 : <i32>length;
}

/** Where the zero byte is that ends a key, at the latest at `end`. */
export function textEnd(at: usize, end: usize): usize {
  // Eight bytes at a time: the lowest bit that is set marks the first zero byte.
  while (at + 8 <= end) {
    const word = load<u64>(at);
    const zeros = (word - 0x0101010101010101) & ~word & 0x8080808080808080;
    if (zeros != 0) return at + <usize>(ctz(zeros) >> 3);
    at += 8;
  }
  while (at < end && load<u8>(at) != 0) ++at;
  return at;
}

/** Finds the value of a key, which is the units `from` to `until` of `path`, in a document that is framed as one. */
export function findKey(document: usize, length: i32, path: string, from: i32, until: i32): bool {
  const end = document + length - 1;
  let at = document + 4;
  while (at < end) {
    const kind = load<u8>(at);
    const key = at + 1;
    const stop = textEnd(key, end);
    if (stop >= end) return false;
    const size = valueLength(kind, stop + 1, end);
    if (size < 0) return false;
    if (equals(key, <i32>(stop - key), path, from, until)) {
      foundKind = kind;
      foundAt = stop + 1;
      foundLength = size;
      return true;
    }
    at = stop + 1 + size;
  }
  return false;
}

/** Finds the value at a position of an array. */
export function findIndex(array: usize, length: i32, index: i32): bool {
  const end = array + length - 1;
  let at = array + 4;
  while (at < end) {
    const kind = load<u8>(at);
    const stop = textEnd(at + 1, end);
    if (stop >= end) return false;
    const size = valueLength(kind, stop + 1, end);
    if (size < 0) return false;
    if (index == 0) {
      foundKind = kind;
      foundAt = stop + 1;
      foundLength = size;
      return true;
    }
    --index;
    at = stop + 1 + size;
  }
  return false;
}

/** Says that this is the value to go on from. */
export function start(kind: u8, at: usize, length: i32): void {
  foundKind = kind;
  foundAt = at;
  foundLength = length;
}

/** From the value that was found, follows a path from its unit `from` on: keys and positions, with dots between. */
export function descend(path: string, from: i32): bool {
  while (true) {
    const until = stepEnd(path, from);
    if (foundKind == <u8>Kind.Document) {
      if (!findKey(foundAt, foundLength, path, from, until)) return false;
    } else if (foundKind == <u8>Kind.Array) {
      const index = position(path, from, until);
      if (index < 0 || !findIndex(foundAt, foundLength, index)) return false;
    } else {
      return false;
    }
    if (until == path.length) return true;
    from = until + 1;
  }
}

/** Where the next dot of a path is, or its end. */
export function stepEnd(path: string, from: i32): i32 {
  const length = path.length;
  while (from < length && load<u16>(changetype<usize>(path) + (<usize>from << 1)) != 0x2e) ++from;
  return from;
}

/** A position in an array, in decimal, or -1. */
function position(path: string, from: i32, until: i32): i32 {
  if (from == until || until - from > 9) return -1;
  let index = 0;
  for (; from < until; ++from) {
    const digit = <i32>load<u16>(changetype<usize>(path) + (<usize>from << 1)) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    index = index * 10 + digit;
  }
  return index;
}
