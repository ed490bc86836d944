import { DocumentBuilder } from "./builder";
import { BsonArray, Document } from "./document";
import * as host from "./host";

/**
 * Finds documents in MongoDB: `lookup("shop.customers", new DocumentBuilder().set("_id", id))`.
 *
 * Only with the grant `lookup` for that namespace, which is the operator's to give; without it the call ends there, and
 * the op has failed. The filter is a `DocumentBuilder` or a `Document`, and so is the projection.
 */
export function lookup<F, P = Document | null>(
  namespace: string,
  filter: F,
  limit: i32 = 0,
  projection: P | null = null,
): Document[] {
  const query = new DocumentBuilder().set("namespace", namespace).set<F>("filter", filter);
  if (projection !== null) query.set<P>("projection", projection!);
  if (limit > 0) query.set("limit", limit);
  const length = host.lookup(query.seal(), query.sealedLength);
  const documents: Document[] = [];
  if (length < 5) return documents;
  const bytes = new ArrayBuffer(length);
  const copied = host.reply(changetype<usize>(bytes), length);
  const answer = copied == length ? Document.at(bytes, changetype<usize>(bytes), changetype<usize>(bytes) + length) : null;
  const array: BsonArray | null = answer !== null ? answer.getArray("documents") : null;
  if (array === null) throw new Error("the host's answer to a lookup is not complete");
  const values = array.values();
  while (values.next()) {
    const document = values.value.asDocument();
    if (document !== null) documents.push(document);
  }
  return documents;
}
