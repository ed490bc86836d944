// Keeps an audit trail: of every change to a document, what was changed, by whom, and what it was before.

import { ArrayBuilder, Document, DocumentBuilder, Op, Source, UpdateDescription, count, emit } from "oplet-sdk";

/** What the server need not send: a trail of inserts is the collection itself. */
export function pipeline(namespace: string, source: Source): Document[] | null {
  if (source == Source.DirectRead) return null;
  const kinds = new DocumentBuilder().set("$in", ["update", "replace", "delete"]);
  const match = new DocumentBuilder().set("operationType", kinds);
  return [new DocumentBuilder().set("$match", match).finish()];
}

/** An update that only notes when somebody was last seen is no change worth keeping. */
export function filter(op: Op): bool {
  const update = op.updateDescription;
  if (update === null) return op.isReplace || op.isDelete;
  return countOf(update) != 1 || !update.touches("lastSeen");
}

export function handle(op: Op): void {
  const entry = new DocumentBuilder()
    .set("_id", op.opId)
    .set("at", op.wallTime)
    .set("collection", op.namespace)
    .set("document", op.id)
    .set("what", op.isDelete ? "deleted" : op.isReplace ? "replaced" : "updated")
    .set("by", op.getString("data.updatedBy"));
  const update = op.updateDescription;
  if (update !== null) entry.set("changes", changesOf(update));
  const before = op.before;
  if (before !== null) entry.set("before", before);
  emit(entry);
  count("entries");
}

function countOf(update: UpdateDescription): i32 {
  return update.updatedFields.keys().length + update.removedFields.length + update.truncatedArrays.length;
}

/** Each path with its new value; without one where it was removed. */
function changesOf(update: UpdateDescription): ArrayBuilder {
  const changes = new ArrayBuilder();
  const fields = update.updatedFields.fields();
  while (fields.next()) {
    changes.push(new DocumentBuilder().set("path", fields.key).set("value", fields.value));
  }
  const removed = update.removedFields;
  for (let i = 0; i < removed.length; ++i) changes.push(new DocumentBuilder().set("path", removed[i]));
  const truncated = update.truncatedArrays;
  for (let i = 0; i < truncated.length; ++i) {
    changes.push(new DocumentBuilder().set("path", truncated[i].field).set("length", truncated[i].newSize));
  }
  return changes;
}
