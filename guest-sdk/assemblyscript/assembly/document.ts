import { Bytes } from "./bytes";
import { Kind } from "./kind";
import { Readable } from "./readable";
import * as scan from "./scan";
import { decode } from "./utf8";
import { Value } from "./value";

/**
 * A document, where it lies: nothing is decoded before it is asked for.
 *
 * Like an op it is good until the function that got it returns; `copy()` is good for ever.
 */
export class Document extends Readable {
  /** @hidden */
  constructor(
    private readonly keeper: ArrayBuffer | null,
    private readonly start: usize,
    /** Bytes that it has. */
    readonly byteLength: i32,
  ) {
    super();
  }

  /** @hidden The document that lies at `at` and ends before `end`, if it is framed as one. */
  static at(keeper: ArrayBuffer | null, at: usize, end: usize): Document | null {
    const length = scan.documentLength(at, end);
    return length < 0 ? null : new Document(keeper, at, length);
  }

  /** The document without fields. */
  static get empty(): Document {
    const bytes = new ArrayBuffer(5);
    store<u8>(changetype<usize>(bytes), 5);
    return new Document(bytes, changetype<usize>(bytes), 5);
  }

  get kind(): Kind {
    return Kind.Document;
  }

  get owner(): ArrayBuffer | null {
    return this.keeper;
  }

  /** @hidden */
  get dataStart(): usize {
    return this.start;
  }

  put(to: Bytes): void {
    to.copy(this.start, this.byteLength);
  }

  locate(path: string): bool {
    scan.start(<u8>Kind.Document, this.start, this.byteLength);
    return scan.descend(path, 0);
  }

  /** Steps over its fields: `const fields = document.fields(); while (fields.next()) { fields.key; fields.value; }`. */
  fields(): Fields {
    return new Fields(this.keeper, this.start, this.byteLength);
  }

  /** Its keys, in their order. */
  keys(): string[] {
    const keys: string[] = [];
    const fields = this.fields();
    while (fields.next()) keys.push(fields.key);
    return keys;
  }

  /** The value of exactly this key, dots and all. */
  field(key: string): Value | null {
    if (!scan.findKey(this.start, this.byteLength, key, 0, key.length)) return null;
    return new Value(this.keeper, <Kind>scan.foundKind, scan.foundAt, scan.foundLength);
  }

  /** Whether it has no fields. */
  get isEmpty(): bool {
    return this.byteLength == 5;
  }

  /** Its bytes, to be kept for as long as one likes. */
  copy(): Document {
    const bytes = new ArrayBuffer(this.byteLength);
    memory.copy(changetype<usize>(bytes), this.start, this.byteLength);
    return new Document(bytes, changetype<usize>(bytes), this.byteLength);
  }
}

/** An array, where it lies, like `Document`. A path begins with a position: `0.price`. */
export class BsonArray extends Readable {
  /** @hidden */
  constructor(
    private readonly keeper: ArrayBuffer | null,
    private readonly start: usize,
    private readonly byteLength: i32,
  ) {
    super();
  }

  get kind(): Kind {
    return Kind.Array;
  }

  get owner(): ArrayBuffer | null {
    return this.keeper;
  }

  put(to: Bytes): void {
    to.copy(this.start, this.byteLength);
  }

  locate(path: string): bool {
    scan.start(<u8>Kind.Array, this.start, this.byteLength);
    return scan.descend(path, 0);
  }

  /** The value at a position. Each call begins at the first: `values()` is for all of them. */
  at(index: i32): Value | null {
    if (index < 0 || !scan.findIndex(this.start, this.byteLength, index)) return null;
    return new Value(this.keeper, <Kind>scan.foundKind, scan.foundAt, scan.foundLength);
  }

  /** Steps over its values: `const values = array.values(); while (values.next()) { values.value; }`. */
  values(): Fields {
    return new Fields(this.keeper, this.start, this.byteLength);
  }

  /** How many values it has. Counts them. */
  get length(): i32 {
    let length = 0;
    const values = this.values();
    while (values.next()) ++length;
    return length;
  }
}

/** Steps over the fields of a document, or the values of an array. */
export class Fields {
  private at: usize;
  private readonly end: usize;
  private valueKind: u8 = 0;
  private keyAt: usize = 0;
  private valueAt: usize = 0;

  /** @hidden */
  constructor(
    private readonly keeper: ArrayBuffer | null,
    start: usize,
    length: i32,
  ) {
    this.at = start + 4;
    this.end = start + length - 1;
  }

  /** Goes to the next one; false when there is none, or what follows is malformed. */
  next(): bool {
    if (this.at >= this.end) return false;
    const kind = load<u8>(this.at);
    const key = this.at + 1;
    const value = scan.textEnd(key, this.end) + 1;
    const length = value > this.end ? -1 : scan.valueLength(kind, value, this.end);
    if (length < 0) {
      this.at = this.end;
      return false;
    }
    this.valueKind = kind;
    this.keyAt = key;
    this.valueAt = value;
    this.at = value + length;
    return true;
  }

  /** Its key; of an array's value, its position. */
  get key(): string {
    const key = decode(this.keyAt, <i32>(this.valueAt - 1 - this.keyAt));
    return key !== null ? key : "";
  }

  /** Its type. */
  get kind(): Kind {
    return <Kind>this.valueKind;
  }

  /** Its value. */
  get value(): Value {
    return new Value(this.keeper, <Kind>this.valueKind, this.valueAt, <i32>(this.at - this.valueAt));
  }
}
