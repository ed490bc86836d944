export { ArrayBuilder, DocumentBuilder } from "./builder";
export { Decimal128 } from "./decimal128";
export { BsonArray, Document, Fields } from "./document";
export { Kind } from "./kind";
export { Lookup, lookup } from "./lookup";
export { Op, Operation, Source, Txn } from "./op";
export { Outcome, reject, retry, retryAfter } from "./outcome";
export { Sink, emit, sink } from "./output";
export { Level, count, log } from "./report";
export { State } from "./state";
export { TruncatedArray, UpdateDescription } from "./update";
export { Value } from "./value";
export {
  Binary,
  BsonSymbol,
  DateTime,
  DbPointer,
  JavaScript,
  ObjectId,
  Regex,
  Special,
  Timestamp,
} from "./values";
