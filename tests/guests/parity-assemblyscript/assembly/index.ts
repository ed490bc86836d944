// Tells all that it can see of an op, by as much of the SDK as it can.
//
// Its twin `tests/guests/parity` says the same in Rust; a test holds the two side by side. Each function of the table in
// `docs/assemblyscript.md` stands here and there.

import {
  ArrayBuilder,
  Decimal128,
  Document,
  DocumentBuilder,
  Kind,
  Level,
  Op,
  Outcome,
  Sink,
  Source,
  Txn,
  UpdateDescription,
  Value,
  count,
  emit,
  log,
  lookup,
  reject,
  retry,
  retryAfter,
  sink,
} from "oplet-sdk";

/** Paths that are asked for in every op. */
const PATHS = [
  "_id",
  "operation",
  "nothing",
  "data",
  "data.string",
  "data.i32",
  "data.i64",
  "data.double",
  "data.whole",
  "data.bool",
  "data.date",
  "data.objectId",
  "data.document.grüße.🦀",
  "data.array.1.x",
  "data.array.-1",
  "updateDescription.updatedFields",
];

const TOUCHED = ["a", "a.b", "a.b.c", "a.bc", "list", "größe.🦀"];

let prefix = "";
let handled: i64 = 0;

export function configure(config: Document): Outcome {
  const given = config.getString("prefix");
  if (given !== null) {
    if (given.includes(" ")) return reject(`the prefix \`${given}\` has a space`);
    prefix = given;
  }
  return Outcome.Done;
}

export function filter(op: Op): bool {
  return op.namespace != "parity.ignored" && !op.isString("data.string", "not wanted");
}

export function pipeline(namespace: string, source: Source): Document[] | null {
  const dot = namespace.indexOf(".");
  if (dot < 0) return null;
  if (source == Source.DirectRead) return [];
  const inside = new DocumentBuilder().set("ns.coll", namespace.substring(dot + 1)).set("ns.db", namespace.substring(0, dot));
  return [
    new DocumentBuilder().set("$match", inside).finish(),
    new DocumentBuilder().set("$project", new DocumentBuilder().set("fullDocument.large", 0)).finish(),
  ];
}

export function handle(op: Op): Outcome {
  const answer = op.getString("data.answer");
  if (answer == "retry") return retry("told to retry 🦀");
  if (answer == "reject") return reject("told to reject");
  if (answer == "later") return retryAfter(1500);
  const namespace = op.getString("data.lookIn");
  if (namespace !== null) return look(op, namespace);
  handled += 1;
  count("handled");
  log(prefix + op.opId);
  log("debugged", Level.Debug);

  emit(envelope(op));
  emit(probes(op));
  const data = op.data;
  if (data !== null) {
    const second = sink("second");
    emit(told(data), second !== null ? second : Sink.default);
    emit(data);
  }
  emit(op);
  return Outcome.Done;
}

/** What lookups find: one customer by `_id`, and the first three, or all of them. */
function look(op: Op, namespace: string): Outcome {
  const name = new DocumentBuilder().set("name", 1).set("_id", 0);
  const id = new DocumentBuilder().set("_id", op.getI64("data.of", 0));
  const one = lookup(namespace, id).projection(name).one();
  const question = lookup(namespace, new DocumentBuilder()).projection(name);
  if (!op.getBool("data.whole", false)) question.limit(3);
  const all = op.getBool("data.soft", false) ? question.tryAll() : question.all();
  const names = new ArrayBuilder();
  if (all === null) names.push("no answer");
  else for (let i = 0; i < all.length; ++i) names.push(all[i]);
  emit(new DocumentBuilder().set("_id", op.opId).set("one", one).set("all", names));
  return Outcome.Done;
}

export function flush(): void {
  emit(new DocumentBuilder().set("handled", handled));
}

function envelope(op: Op): DocumentBuilder {
  const timestamp = op.timestamp;
  const txn = op.txn;
  const description = op.updateDescription;
  return new DocumentBuilder()
    .set("_id", prefix + op.opId)
    .set<i32>("operation", op.operation)
    .set("is", [op.isInsert, op.isUpdate, op.isDelete, op.isCommand, op.isReplace, op.isPending])
    .set("namespace", op.namespace)
    .set("database", op.database)
    .set("collection", op.collection)
    .set("timestamp", timestamp)
    .set<i64>("time", timestamp.time)
    .set<i64>("increment", timestamp.increment)
    .set<i32>("source", op.source)
    .set("wallTime", op.wallTime)
    .set("txn", txn !== null ? transaction(txn) : null)
    .set("cluster", op.cluster)
    .set("id", op.id)
    .set("documentKey", op.documentKey)
    .set("before", op.before)
    .set("update", description !== null ? update(description) : null);
}

function transaction(txn: Txn): DocumentBuilder {
  return new DocumentBuilder().set("lsid", txn.lsid).set("number", txn.number).set("index", txn.index);
}

function update(update: UpdateDescription): DocumentBuilder {
  const truncated = new ArrayBuilder();
  const arrays = update.truncatedArrays;
  for (let i = 0; i < arrays.length; ++i) {
    truncated.push(new DocumentBuilder().set("field", arrays[i].field).set("newSize", arrays[i].newSize));
  }
  const touches: bool[] = [];
  for (let i = 0; i < TOUCHED.length; ++i) touches.push(update.touches(TOUCHED[i]));
  return new DocumentBuilder()
    .set("updatedFields", update.updatedFields)
    .set("a.b", update.updated("a.b"))
    .set("removedFields", update.removedFields)
    .set("truncatedArrays", truncated)
    .set("disambiguatedPaths", update.disambiguatedPaths)
    .set("touches", touches);
}

/** What each way to ask gives for each path. */
function probes(op: Op): DocumentBuilder {
  const probes = new DocumentBuilder();
  for (let i = 0; i < PATHS.length; ++i) {
    const path = PATHS[i];
    const probe = new DocumentBuilder()
      .set("has", op.has(path))
      .set("string", op.getString(path))
      .set("isText", op.isString(path, "grüße 🦀"))
      .set("i64", op.getI64(path, -7))
      .set("f64", op.getF64(path, -7.5))
      .set("bool", op.getBool(path, true))
      .set("date", op.getDate(path))
      .set("objectId", op.getObjectId(path))
      .set("document", op.getDocument(path))
      .set("value", op.get(path));
    probes.set(path, probe);
  }
  return probes;
}

/** Each field with its type and, where it has one, its text. */
function told(document: Document): DocumentBuilder {
  const kinds: i32[] = [];
  const values = new ArrayBuilder();
  const fields = document.fields();
  while (fields.next()) {
    kinds.push(fields.kind);
    one(values, fields.value);
  }
  return new DocumentBuilder().set("keys", document.keys()).set("kinds", kinds).set("values", values);
}

function one(to: ArrayBuilder, value: Value): void {
  switch (value.kind) {
    case Kind.ObjectId:
      to.push(value.asObjectId()!.toString());
      return;
    case Kind.Decimal128:
      to.push(value.asDecimal128()!.toString());
      return;
    case Kind.Date:
      to.push(value.asDate()!.ms);
      return;
    case Kind.Timestamp: {
      const time = value.asTimestamp()!;
      to.push<i64[]>([time.time, time.increment]);
      return;
    }
    case Kind.Binary: {
      const binary = value.asBinary()!;
      let sum: i64 = 0;
      for (let i = 0; i < binary.bytes.length; ++i) sum += binary.bytes[i];
      to.push(new DocumentBuilder().set("subtype", binary.subtype).set("length", binary.bytes.length).set("sum", sum));
      return;
    }
    case Kind.Regex: {
      const regex = value.asRegex()!;
      to.push([regex.pattern, regex.options]);
      return;
    }
    case Kind.JavaScript:
      to.push(value.asJavaScript()!.code);
      return;
    case Kind.JavaScriptWithScope: {
      const code = value.asJavaScript()!;
      to.push(new ArrayBuilder().push(code.code).push(told(code.scope!)));
      return;
    }
    case Kind.Symbol:
      to.push(value.asSymbol()!.text);
      return;
    case Kind.Document:
      to.push(told(value.asDocument()!));
      return;
    case Kind.Array: {
      const list = new ArrayBuilder();
      const values = value.asArray()!.values();
      while (values.next()) one(list, values.value);
      to.push(list);
      return;
    }
    case Kind.String: {
      // Text that is to be a number, if it is one.
      const text = value.asString()!;
      if (text.startsWith("decimal ")) to.push(Decimal128.parse(text.substring(8)));
      else to.push(text);
      return;
    }
    default:
      to.push(value);
  }
}
