// The values that AssemblyScript has no types for.

import { Bson } from "./bson";
import { Bytes } from "./bytes";
import { Document } from "./document";
import { Kind } from "./kind";

/** Twelve bytes that name a document. */
export class ObjectId extends Bson {
  /** The twelve bytes. */
  readonly bytes: StaticArray<u8>;

  constructor(bytes: StaticArray<u8>) {
    super();
    if (bytes.length != 12) throw new RangeError("an object id has twelve bytes");
    this.bytes = bytes;
  }

  /** The object id of 24 hexadecimal digits, or null. */
  static parse(text: string): ObjectId | null {
    if (text.length != 24) return null;
    const bytes = new StaticArray<u8>(12);
    for (let i = 0; i < 12; ++i) {
      const high = digit(text.charCodeAt(2 * i));
      const low = digit(text.charCodeAt(2 * i + 1));
      if (high < 0 || low < 0) return null;
      bytes[i] = <u8>((high << 4) | low);
    }
    return new ObjectId(bytes);
  }

  /** @hidden */
  static at(place: usize): ObjectId {
    const bytes = new StaticArray<u8>(12);
    memory.copy(changetype<usize>(bytes), place, 12);
    return new ObjectId(bytes);
  }

  get kind(): Kind {
    return Kind.ObjectId;
  }

  put(to: Bytes): void {
    to.copy(changetype<usize>(this.bytes), 12);
  }

  /** 24 hexadecimal digits. */
  toString(): string {
    let text = "";
    for (let i = 0; i < 12; ++i) {
      const byte = this.bytes[i];
      text += String.fromCharCode(hex(byte >> 4)) + String.fromCharCode(hex(byte & 15));
    }
    return text;
  }

  @operator("==")
  private static equals(a: ObjectId, b: ObjectId): bool {
    return memory.compare(changetype<usize>(a.bytes), changetype<usize>(b.bytes), 12) == 0;
  }

  @operator("!=")
  private static differs(a: ObjectId, b: ObjectId): bool {
    return memory.compare(changetype<usize>(a.bytes), changetype<usize>(b.bytes), 12) != 0;
  }
}

function hex(digit: u8): i32 {
  return digit < 10 ? 0x30 + digit : 0x57 + digit;
}

function digit(unit: i32): i32 {
  if (unit >= 0x30 && unit <= 0x39) return unit - 0x30;
  unit |= 0x20;
  return unit >= 0x61 && unit <= 0x66 ? unit - 0x57 : -1;
}

/** A point in time, in milliseconds since 1970. */
export class DateTime extends Bson {
  constructor(
    /** Milliseconds since 1970, before it if negative. */
    readonly ms: i64,
  ) {
    super();
  }

  get kind(): Kind {
    return Kind.Date;
  }

  put(to: Bytes): void {
    to.put<i64>(this.ms);
  }

  /** As in `2026-01-31T23:59:59.999Z`; outside of what calendars tell, the milliseconds. */
  toString(): string {
    const isTold = this.ms >= -8640000000000000 && this.ms <= 8640000000000000;
    return isTold ? new Date(this.ms).toISOString() : this.ms.toString();
  }
}

/** Cluster time: seconds, and a number that counts within the second. */
export class Timestamp extends Bson {
  constructor(
    /** Seconds since 1970. */
    readonly time: u32,
    /** Counts within the second. */
    readonly increment: u32,
  ) {
    super();
  }

  get kind(): Kind {
    return Kind.Timestamp;
  }

  put(to: Bytes): void {
    to.put<u64>((<u64>this.time << 32) | this.increment);
  }

  /** As in `1700000000:1`. */
  toString(): string {
    return this.time.toString() + ":" + this.increment.toString();
  }
}

/** Bytes of a subtype: 0 are plain bytes, 4 a UUID. */
export class Binary extends Bson {
  constructor(
    /** What the bytes are. */
    readonly subtype: u8,
    /** The bytes. */
    readonly bytes: Uint8Array,
  ) {
    super();
  }

  get kind(): Kind {
    return Kind.Binary;
  }

  put(to: Bytes): void {
    const length = this.bytes.length;
    // The old subtype repeats its length inside.
    const isOld = this.subtype == 2;
    to.put<u32>(isOld ? length + 4 : length);
    to.put<u8>(this.subtype);
    if (isOld) to.put<u32>(length);
    to.copy(this.bytes.dataStart, length);
  }
}

/** A regular expression. */
export class Regex extends Bson {
  constructor(
    /** The pattern. */
    readonly pattern: string,
    /** The letters of its options, in alphabetical order. */
    readonly options: string = "",
  ) {
    super();
  }

  get kind(): Kind {
    return Kind.Regex;
  }

  put(to: Bytes): void {
    to.terminated(this.pattern);
    to.terminated(this.options);
  }
}

/** JavaScript, with the variables that it sees if there are any. */
export class JavaScript extends Bson {
  constructor(
    /** The code. */
    readonly code: string,
    /** The variables that it sees. */
    readonly scope: Document | null = null,
  ) {
    super();
  }

  get kind(): Kind {
    return this.scope === null ? Kind.JavaScript : Kind.JavaScriptWithScope;
  }

  put(to: Bytes): void {
    const scope = this.scope;
    if (scope === null) {
      to.text(this.code);
      return;
    }
    const from = to.length;
    to.put<u32>(0);
    to.text(this.code);
    scope.put(to);
    store<u32>(to.start + from, to.length - from);
  }
}

/** A symbol: text of a type of its own, out of use. */
export class BsonSymbol extends Bson {
  constructor(
    /** The text. */
    readonly text: string,
  ) {
    super();
  }

  get kind(): Kind {
    return Kind.Symbol;
  }

  put(to: Bytes): void {
    to.text(this.text);
  }
}

/** A pointer to a document of another collection, out of use. */
export class DbPointer extends Bson {
  constructor(
    /** The collection. */
    readonly namespace: string,
    /** The document. */
    readonly id: ObjectId,
  ) {
    super();
  }

  get kind(): Kind {
    return Kind.DbPointer;
  }

  put(to: Bytes): void {
    to.text(this.namespace);
    this.id.put(to);
  }
}

/** A value that is its type: null, undefined, or one of the two keys that all others lie between. */
export class Special extends Bson {
  private constructor(private readonly special: Kind) {
    super();
  }

  /** No value. */
  static readonly null: Special = new Special(Kind.Null);
  /** Not even null; out of use. */
  static readonly undefined: Special = new Special(Kind.Undefined);
  /** Less than every other value. */
  static readonly minKey: Special = new Special(Kind.MinKey);
  /** More than every other value. */
  static readonly maxKey: Special = new Special(Kind.MaxKey);

  get kind(): Kind {
    return this.special;
  }

  put(to: Bytes): void {}
}
