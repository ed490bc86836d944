import { Bson } from "./bson";
import { DocumentBuilder } from "./builder";
import { BsonArray, Document } from "./document";
import * as host from "./host";

/**
 * Asks for documents of another collection: `lookup("shop.customers", new DocumentBuilder().set("_id", id)).one()`.
 *
 * The filter is as for `find`. The module needs the grant for that namespace (`lookup` in its configuration), without
 * which the call traps; operators that run JavaScript are refused. Only `handle`, `flush` and `tick` may ask. The host
 * bounds time and size, and tries the op again when the server is away.
 */
export function lookup(namespace: string, filter: Bson): Lookup {
  return new Lookup(new DocumentBuilder().set("namespace", namespace).set("filter", filter));
}

/** A question to MongoDB, made by `lookup` and sent by `one` or `all`. */
export class Lookup {
  /** @hidden */
  constructor(private readonly question: DocumentBuilder) {}

  /** Which fields to answer with, as for `find`; all if not said. */
  projection(projection: Bson): this {
    this.question.set("projection", projection);
    return this;
  }

  /** How many documents to answer with at most. If not said, all: then more than the host allows are a failure. */
  limit(documents: i32): this {
    this.question.set("limit", documents);
    return this;
  }

  /** The first document that is found. Ends the call when there is no answer, as `all` does. */
  one(): Document | null {
    const found = this.limit(1).all();
    return found.length > 0 ? found[0] : null;
  }

  /**
   * All documents that are found; they may be kept. Ends the call when there is no answer, and with it this instance:
   * the host knows why, and tries the op again when the server was away.
   */
  all(): Document[] {
    const found = this.tryAll();
    if (found === null) throw new Error("cannot look up: the server gave no answer");
    return found;
  }

  /**
   * As `all`, but `null` when there is no answer, since the server is away, refused the question, took too long, or found
   * too much. To go on without is fine; after `return retry(...)` the host does what it does about `all`, and this
   * instance keeps what it has in memory.
   */
  tryAll(): Document[] | null {
    const length = host.lookup(this.question.seal(), this.question.sealedLength);
    // Less than 0: there is none.
    if (length < 0) return null;
    const bytes = new ArrayBuffer(length);
    const start = changetype<usize>(bytes);
    const isWhole = host.reply(start, length) == length;
    const answer = isWhole ? Document.at(bytes, start, start + length) : null;
    const array: BsonArray | null = answer !== null ? answer.getArray("documents") : null;
    if (array === null) throw new Error("the host's answer to a lookup is not complete");
    const documents: Document[] = [];
    const values = array.values();
    while (values.next()) {
      const document = values.value.asDocument();
      if (document !== null) documents.push(document);
    }
    return documents;
  }
}
