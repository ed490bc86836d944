// Does what a document tells it to, of what only AssemblyScript has: its strings, its memory, its errors.

import {
  BsonSymbol,
  DateTime,
  DbPointer,
  Decimal128,
  Document,
  DocumentBuilder,
  JavaScript,
  Binary,
  ObjectId,
  Op,
  Outcome,
  Regex,
  Special,
  State,
  Timestamp,
  emit,
  lookup,
} from "oplet-sdk";

let seen: i64 = 0;
let ticked: i64 = 0;
const kept: Document[] = [];

export function filter(op: Op): bool {
  return op.namespace != "probe.refused" && !op.isString("data.status", "unwanted");
}

export function handle(op: Op): Outcome {
  seen += 1;
  const what = op.getString("data.do");
  const out = new DocumentBuilder();
  if (what === null) {
    // A normal handler's work: some text, a nested document, an array.
    const name = op.getString("data.name");
    out
      .set("_id", op.opId)
      .set("who", name !== null ? `Grüße, ${name} 🦀` : null)
      .set("total", op.getF64("data.total") * 2)
      .set("inner", new DocumentBuilder().set("id", op.id).set("tags", ["a", "ü"]));
  } else if (what == "halves") {
    // Half of a surrogate pair, at the beginning, in between and at the end, and pairs that are whole.
    const crab = op.getString("data.text")!;
    const high = crab.charAt(0);
    const low = crab.charAt(1);
    out
      .set("units", crab.length)
      .set("whole", crab)
      .set("high", high)
      .set("low", low)
      .set("swapped", low + high)
      .set("between", "a" + high + "b" + low + "c")
      .set("joined", high + low)
      .set("key " + high, 1);
    out.set("found", new DocumentBuilder().set("key " + high, 1).finish().has("key " + low));
  } else if (what == "values") {
    values(out);
  } else if (what == "bytes") {
    const document = op.getDocument("data.text")!;
    out.set("text", document.getString("text")).set("has", document.has("text")).set("keys", document.keys());
  } else if (what == "keep") {
    kept.push(op.getDocument("data.document")!.copy());
    for (let i = 0; i < kept.length; ++i) out.set(i.toString(), kept[i]);
  } else if (what == "throw") {
    throw new Error("told to throw 🦀");
  } else if (what == "index") {
    const list: i32[] = [1];
    out.set("never", list[<i32>op.getI64("data.at")]);
  } else if (what == "grow") {
    const all: Uint8Array[] = [];
    for (let i = 0; i < 4096; ++i) all.push(new Uint8Array(1 << 20));
  } else if (what == "console") {
    console.log("logged 🦀");
    console.warn("warned");
    trace("traced", 2, 1, 2.5);
    out.set("random", Math.random() < 1).set("now", Date.now() > 1600000000000);
  } else if (what == "zero") {
    out.set("a\0b", 1);
  } else if (what == "lookup") {
    const filter = new DocumentBuilder().set("_id", op.get("data.find"));
    const found = lookup("probe.others", filter).projection(new DocumentBuilder().set("name", 1)).one();
    out.set("found", found !== null ? found.getString("name") : null);
    out.set("all", lookup("probe.others", Document.empty).limit(2).all());
  } else if (what == "flood") {
    for (let i = 0; i < 2000; ++i) emit(out);
  }
  emit(out);
  return Outcome.Done;
}

export function tick(now: DateTime): void {
  ticked = now.ms;
  emit(new DocumentBuilder().set("tick", now));
}

export function save(): State | null {
  return seen == 0 ? null : State.of(2, new DocumentBuilder().set("seen", seen).set("ticked", ticked));
}

export function restore(state: State): Outcome {
  if (state.version > 2) return state.unknown();
  const value = state.value!.asDocument()!;
  seen = value.getI64("seen");
  ticked = value.getI64("ticked");
  return Outcome.Done;
}

/** One of each type, as an author makes it. */
function values(out: DocumentBuilder): void {
  const bytes = new Uint8Array(3);
  bytes[2] = 255;
  const nothing: string | null = null;
  out
    .set("string", "grüße 🦀")
    .set("bool", true)
    .set<u8>("u8", 255)
    .set<i32>("i32", -5)
    .set<u32>("u32", 4000000000)
    .set<i64>("i64", i64.MIN_VALUE)
    .set<f32>("f32", 0.5)
    .set<f64>("f64", 1.25)
    .set("null", nothing)
    .set("none", Special.null)
    .set("undefined", Special.undefined)
    .set("minKey", Special.minKey)
    .set("maxKey", Special.maxKey)
    .set("strings", ["a", "ü"])
    .set("nested", [[1, 2], [3]])
    .set("bytes", bytes)
    .set("uuid", new Binary(4, new Uint8Array(16)))
    .set("old", new Binary(2, bytes))
    .set("objectId", ObjectId.parse("6553F1000000000000000001"))
    .set("noObjectId", ObjectId.parse("6553f10000000000000000zz"))
    .set("date", new DateTime(-1))
    .set("dateText", new DateTime(1706745599999).toString())
    .set("dateFar", new DateTime(i64.MAX_VALUE).toString())
    .set("timestamp", new Timestamp(4000000000, 7))
    .set("regex", new Regex("^a.*ü$", "im"))
    .set("code", new JavaScript("f()"))
    .set("codeWithScope", new JavaScript("f(x)", new DocumentBuilder().set("x", 1).finish()))
    .set("symbol", new BsonSymbol("ß"))
    .set("dbPointer", new DbPointer("a.b", ObjectId.parse("000000000000000000000007")!))
    .set("decimal", Decimal128.parse("-12.50"))
    .set("same", ObjectId.parse("000000000000000000000007")! == ObjectId.parse("000000000000000000000007")!)
    .set("empty", Document.empty)
    .setAll(new DocumentBuilder().set("more", 1).set("andMore", 2).finish());
}
