import { decode, equals } from "./utf8";

/** Text that comes again and again, by its hash: names of collections are few. */
const PLACES = 64;
const known: StaticArray<string> = new StaticArray<string>(PLACES).fill("");

/** The text of these bytes, made when it is first met; empty when they are not UTF-8. */
export function name(at: usize, length: i32): string {
  let hash: u32 = length;
  for (let i = 0; i < length; ++i) hash = hash * 31 + load<u8>(at + i);
  const place = (hash ^ (hash >> 6) ^ (hash >> 12)) % PLACES;
  const met = unchecked(known[place]);
  if (equals(at, length, met, 0, met.length)) return met;
  const text = decode(at, length);
  if (text === null) return "";
  known[place] = text;
  return text;
}
