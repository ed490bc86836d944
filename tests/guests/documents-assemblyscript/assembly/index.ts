// Does what the module `count` does, but takes each document apart into a class, as `guest-bench-serde` does in Rust:
// what that costs is the difference between the two.

import { Document, Op, Outcome, reject } from "oplet-sdk";

/** What a handler has read of a document; what is not named is passed over. */
class Data {
  n: i64 = 0;
  name: string | null = null;

  static of(document: Document): Data {
    const data = new Data();
    const fields = document.fields();
    while (fields.next()) {
      const key = fields.key;
      if (key == "n") data.n = fields.value.toI64();
      else if (key == "name") data.name = fields.value.asString();
    }
    return data;
  }
}

let ops: u64 = 0;
let sum: i64 = 0;
let textLength: i64 = 0;

/** Keeps every op but those whose `data.n` is negative. */
export function filter(op: Op): bool {
  return op.getI64("data.n") >= 0;
}

export function handle(op: Op): Outcome {
  ops++;
  const document = op.data;
  if (document !== null) {
    const data = Data.of(document);
    sum += data.n;
    const name = data.name;
    if (name !== null) textLength += name.length;
  }
  // Never so, but the compiler cannot know: what is counted must be counted.
  return ops == u64.MAX_VALUE ? reject((sum + textLength).toString()) : Outcome.Done;
}
