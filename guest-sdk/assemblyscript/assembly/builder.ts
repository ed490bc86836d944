import { Bson } from "./bson";
import { Bytes } from "./bytes";
import { Document } from "./document";
import { Kind } from "./kind";

/** Keys of arrays are their positions. */
const NO_KEY = changetype<string>(0);

/**
 * Puts a document together: `new DocumentBuilder().set("name", "Zoë").set("visits", 3)`.
 *
 * Strings, booleans, numbers, arrays of these, and every class of this package can be values. Integers of 32 bits and
 * less become int32, longer ones int64, floats doubles, `Uint8Array` binaries, null null.
 *
 * One that is kept in a global and begun again by `clear()` costs no memory per op.
 */
export class DocumentBuilder extends Bson {
  private readonly bytes: Bytes = new Bytes();

  constructor() {
    super();
    this.bytes.put<u32>(0);
  }

  get kind(): Kind {
    return Kind.Document;
  }

  /** Adds a field. A key that is there already is there twice then. */
  set<T>(key: string, value: T): this {
    add<T>(this.bytes, key, 0, value);
    return this;
  }

  /** Adds all fields of a document. */
  setAll(document: Document): this {
    this.bytes.copy(document.dataStart + 4, document.byteLength - 5);
    return this;
  }

  /** Begins again, with no fields. */
  clear(): this {
    this.bytes.length = 4;
    return this;
  }

  /** The document as it is now. The builder begins again. */
  finish(): Document {
    const document = new Document(null, this.seal(), this.bytes.length + 1).copy();
    this.clear();
    return document;
  }

  put(to: Bytes): void {
    // Sealing may move the bytes, so it comes first.
    const start = this.seal();
    to.copy(start, this.bytes.length + 1);
  }

  /** @hidden Where the document lies, closed; the next field goes where the end byte is. */
  seal(): usize {
    const length = this.bytes.length;
    this.bytes.close(0);
    this.bytes.length = length;
    return this.bytes.start;
  }

  /** @hidden */
  get sealedLength(): i32 {
    return this.bytes.length + 1;
  }
}

/** Puts an array together: `new ArrayBuilder().push(1).push("two")`. Takes the same values as `DocumentBuilder`. */
export class ArrayBuilder extends Bson {
  private readonly bytes: Bytes = new Bytes();
  private count: i32 = 0;

  constructor() {
    super();
    this.bytes.put<u32>(0);
  }

  get kind(): Kind {
    return Kind.Array;
  }

  /** How many values it has. */
  get length(): i32 {
    return this.count;
  }

  /** Adds a value. */
  push<T>(value: T): this {
    add<T>(this.bytes, NO_KEY, this.count++, value);
    return this;
  }

  /** Begins again, with no values. */
  clear(): this {
    this.bytes.length = 4;
    this.count = 0;
    return this;
  }

  put(to: Bytes): void {
    const length = this.bytes.length;
    this.bytes.close(0);
    this.bytes.length = length;
    to.copy(this.bytes.start, length + 1);
  }
}

/** Type and key of an element. */
function open(bytes: Bytes, kind: Kind, key: string, index: i32): void {
  bytes.put<u8>(<u8>kind);
  if (changetype<usize>(key) == 0) bytes.index(index);
  else bytes.terminated(key);
}

/** Adds an element. What type the value has is known when this is compiled: no branch is left of all these. */
function add<T>(bytes: Bytes, key: string, index: i32, value: T): void {
  if (isNullable<T>()) {
    if (changetype<usize>(value) == 0) {
      open(bytes, Kind.Null, key, index);
      return;
    }
  }
  if (isBoolean<T>()) {
    open(bytes, Kind.Bool, key, index);
    bytes.put<u8>(value ? 1 : 0);
  } else if (isInteger<T>()) {
    if (sizeof<T>() < 4 || (sizeof<T>() == 4 && isSigned<T>())) {
      open(bytes, Kind.Int32, key, index);
      bytes.put<i32>(<i32>value);
    } else {
      open(bytes, Kind.Int64, key, index);
      bytes.put<i64>(<i64>value);
    }
  } else if (isFloat<T>()) {
    open(bytes, Kind.Double, key, index);
    bytes.put<f64>(<f64>value);
  } else if (isString<T>()) {
    open(bytes, Kind.String, key, index);
    bytes.text(changetype<string>(value));
  } else if (isArray<T>()) {
    open(bytes, Kind.Array, key, index);
    const from = bytes.length;
    bytes.put<u32>(0);
    for (let i = 0, length = value.length; i < length; ++i) {
      add<valueof<T>>(bytes, NO_KEY, i, value[i]);
    }
    bytes.close(from);
  } else if (value instanceof Bson) {
    const bson = changetype<Bson>(value);
    open(bytes, bson.kind, key, index);
    bson.put(bytes);
  } else if (value instanceof Uint8Array) {
    const array = changetype<Uint8Array>(value);
    open(bytes, Kind.Binary, key, index);
    bytes.put<u32>(array.length);
    bytes.put<u8>(0);
    bytes.copy(array.dataStart, array.length);
  } else {
    ERROR("a value of this type cannot stand in a document: see DocumentBuilder");
  }
}
