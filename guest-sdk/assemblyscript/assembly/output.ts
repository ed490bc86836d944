import { Bson } from "./bson";
import { Bytes } from "./bytes";
import { DocumentBuilder } from "./builder";
import { Document } from "./document";
import * as host from "./host";
import { Kind } from "./kind";
import { lend, lentLength } from "./text";

/** A place for documents, by its name in the host's configuration. */
export class Sink {
  private constructor(
    /** @hidden */
    readonly number: i32,
  ) {}

  /** The first sink of the run, where `emit` sends to. */
  static readonly default: Sink = new Sink(0);

  /** @hidden */
  static of(number: i32): Sink {
    return new Sink(number);
  }
}

/** The sink of that name, or null if the host has none. Ask once: in `configure`, or for a global. */
export function sink(name: string): Sink | null {
  const at = lend(name);
  const number = host.sink(at, lentLength());
  return number < 0 ? null : Sink.of(number);
}

const scratch: Bytes = new Bytes();

/**
 * Hands a document to a sink, the default one if none is named: a `DocumentBuilder`, a `Document`, or the `Op` itself.
 *
 * It is delivered when `handle` returns, with `Outcome.Done` or nothing. `filter` and `pipeline` may not emit. What the
 * host does not take (too much for one op, see the module's limits) ends the call: the op has failed.
 */
export function emit(document: Bson, sink: Sink = Sink.default): void {
  let at: usize;
  let length: i32;
  if (document instanceof DocumentBuilder) {
    const builder = document as DocumentBuilder;
    at = builder.seal();
    length = builder.sealedLength;
  } else if (document instanceof Document) {
    const view = document as Document;
    at = view.dataStart;
    length = view.byteLength;
  } else {
    if (document.kind != Kind.Document) throw new Error("cannot emit: not a document");
    scratch.length = 0;
    document.put(scratch);
    at = scratch.start;
    length = scratch.length;
  }
  switch (host.emit(sink.number, at, length)) {
    case 0:
      return;
    case 1:
      throw new Error("cannot emit: there is no such sink");
    case 2:
      throw new Error("cannot emit: the op's outputs are over the limit");
    default:
      throw new Error("cannot emit: not a BSON document");
  }
}
