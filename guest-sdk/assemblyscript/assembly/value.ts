import { Bson } from "./bson";
import { Bytes } from "./bytes";
import { Decimal128 } from "./decimal128";
import { BsonArray, Document } from "./document";
import { Kind } from "./kind";
import * as read from "./read";
import { textEnd } from "./scan";
import { decode } from "./utf8";
import { Binary, BsonSymbol, DateTime, DbPointer, JavaScript, ObjectId, Regex, Timestamp } from "./values";

/**
 * A value of any type, where it lies. What it is of another type than asked for is null, or what `orElse` says.
 *
 * Like an op it is good until the function that got it returns.
 */
export class Value extends Bson {
  /** @hidden */
  constructor(
    private readonly owner: ArrayBuffer | null,
    private readonly valueKind: Kind,
    private readonly at: usize,
    private readonly length: i32,
  ) {
    super();
  }

  /** Its BSON type. */
  get kind(): Kind {
    return this.valueKind;
  }

  put(to: Bytes): void {
    to.copy(this.at, this.length);
  }

  /** Whether it is null. */
  get isNull(): bool {
    return this.valueKind == Kind.Null;
  }

  /** Whether `toI64` is it: an integer, or a double that holds one exactly. */
  get isInteger(): bool {
    return read.isInteger(<u8>this.valueKind, this.at);
  }

  /** Whether `toF64` is it: a double, or an integer. */
  get isNumber(): bool {
    const kind = this.valueKind;
    return kind == Kind.Double || kind == Kind.Int32 || kind == Kind.Int64;
  }

  /** An integer, or a double that holds one exactly. */
  toI64(orElse: i64 = 0): i64 {
    return read.integer(<u8>this.valueKind, this.at, orElse);
  }

  /** A number, any but a decimal. */
  toF64(orElse: f64 = 0): f64 {
    return read.double(<u8>this.valueKind, this.at, orElse);
  }

  /** A boolean. */
  toBool(orElse: bool = false): bool {
    return this.valueKind == Kind.Bool ? load<u8>(this.at) != 0 : orElse;
  }

  /** A string. */
  asString(): string | null {
    return this.valueKind == Kind.String ? read.text(this.at) : null;
  }

  /** A document. */
  asDocument(): Document | null {
    return this.valueKind == Kind.Document ? new Document(this.owner, this.at, this.length) : null;
  }

  /** An array. */
  asArray(): BsonArray | null {
    return this.valueKind == Kind.Array ? new BsonArray(this.owner, this.at, this.length) : null;
  }

  /** An object id. */
  asObjectId(): ObjectId | null {
    return this.valueKind == Kind.ObjectId ? ObjectId.at(this.at) : null;
  }

  /** A date. */
  asDate(): DateTime | null {
    return this.valueKind == Kind.Date ? new DateTime(load<i64>(this.at)) : null;
  }

  /** A timestamp. */
  asTimestamp(): Timestamp | null {
    return this.valueKind == Kind.Timestamp ? read.timestamp(this.at) : null;
  }

  /** A decimal. */
  asDecimal128(): Decimal128 | null {
    return this.valueKind == Kind.Decimal128 ? Decimal128.at(this.at) : null;
  }

  /** Bytes. */
  asBinary(): Binary | null {
    if (this.valueKind != Kind.Binary) return null;
    const subtype = load<u8>(this.at, 4);
    // The old subtype repeats its length inside.
    const inner = subtype == 2 ? 4 : 0;
    const length = this.length - 5 - inner;
    if (length < 0) return null;
    const bytes = new Uint8Array(length);
    memory.copy(bytes.dataStart, this.at + 5 + inner, length);
    return new Binary(subtype, bytes);
  }

  /** A regular expression. */
  asRegex(): Regex | null {
    if (this.valueKind != Kind.Regex) return null;
    const end = this.at + this.length;
    const middle = textEnd(this.at, end);
    const pattern = decode(this.at, <i32>(middle - this.at));
    const options = decode(middle + 1, <i32>(end - middle - 2));
    return pattern !== null && options !== null ? new Regex(pattern, options) : null;
  }

  /** JavaScript, with or without a scope. */
  asJavaScript(): JavaScript | null {
    if (this.valueKind == Kind.JavaScript) {
      const code = read.text(this.at);
      return code !== null ? new JavaScript(code) : null;
    }
    if (this.valueKind != Kind.JavaScriptWithScope) return null;
    // Its parts were not looked at yet.
    const size = <u64>load<u32>(this.at, 4);
    if (size == 0 || size + 13 > <u64>this.length) return null;
    const code = read.text(this.at + 4);
    const scope = Document.at(this.owner, this.at + 8 + <usize>size, this.at + this.length);
    return code !== null && scope !== null ? new JavaScript(code, scope) : null;
  }

  /** A symbol. */
  asSymbol(): BsonSymbol | null {
    const text = this.valueKind == Kind.Symbol ? read.text(this.at) : null;
    return text !== null ? new BsonSymbol(text) : null;
  }

  /** A pointer to a document of another collection. */
  asDbPointer(): DbPointer | null {
    const namespace = this.valueKind == Kind.DbPointer ? read.text(this.at) : null;
    return namespace !== null ? new DbPointer(namespace, ObjectId.at(this.at + this.length - 12)) : null;
  }
}
