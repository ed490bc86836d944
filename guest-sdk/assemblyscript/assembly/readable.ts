import { Bson } from "./bson";
import { Decimal128 } from "./decimal128";
import { BsonArray, Document } from "./document";
import { Kind } from "./kind";
import { foundAt, foundKind, foundLength } from "./scan";
import { equals } from "./utf8";
import { Value } from "./value";
import { DateTime, ObjectId, Timestamp } from "./values";
import * as read from "./read";

/**
 * What has values at paths: an op, a document, an array.
 *
 * A path is a key, or several with dots between; positions count in arrays: `address.city`, `items.0.price`. A key that
 * contains a dot cannot be named so. Where there is no value, or one of another type, text and objects are null; numbers
 * and booleans are what `orElse` says.
 */
export abstract class Readable extends Bson {
  /** Finds the value at a path, for `scan`'s globals. */
  abstract locate(path: string): bool;

  /** What keeps the bytes alive, if they are not the host's. */
  abstract get owner(): ArrayBuffer | null;

  /** Whether there is a value at a path; null is one, too. */
  has(path: string): bool {
    return this.locate(path);
  }

  /** The value at a path, of any type. */
  get(path: string): Value | null {
    return this.locate(path) ? new Value(this.owner, <Kind>foundKind, foundAt, foundLength) : null;
  }

  /** The string at a path. */
  getString(path: string): string | null {
    return this.locate(path) && foundKind == <u8>Kind.String ? read.text(foundAt) : null;
  }

  /** Whether the value at a path is exactly this string. Makes nothing, unlike `getString(path) == text`. */
  isString(path: string, text: string): bool {
    return (
      this.locate(path) &&
      foundKind == <u8>Kind.String &&
      equals(foundAt + 4, load<i32>(foundAt) - 1, text, 0, text.length)
    );
  }

  /** The integer at a path: 32 or 64 bits, or a double that holds one exactly. */
  getI64(path: string, orElse: i64 = 0): i64 {
    return this.locate(path) ? read.integer(foundKind, foundAt, orElse) : orElse;
  }

  /** The number at a path, any but a decimal. */
  getF64(path: string, orElse: f64 = 0): f64 {
    return this.locate(path) ? read.double(foundKind, foundAt, orElse) : orElse;
  }

  /** The boolean at a path. */
  getBool(path: string, orElse: bool = false): bool {
    return this.locate(path) && foundKind == <u8>Kind.Bool ? load<u8>(foundAt) != 0 : orElse;
  }

  /** The date at a path. */
  getDate(path: string): DateTime | null {
    return this.locate(path) && foundKind == <u8>Kind.Date ? new DateTime(load<i64>(foundAt)) : null;
  }

  /** The timestamp at a path. */
  getTimestamp(path: string): Timestamp | null {
    return this.locate(path) && foundKind == <u8>Kind.Timestamp ? read.timestamp(foundAt) : null;
  }

  /** The object id at a path. */
  getObjectId(path: string): ObjectId | null {
    return this.locate(path) && foundKind == <u8>Kind.ObjectId ? ObjectId.at(foundAt) : null;
  }

  /** The decimal at a path. */
  getDecimal128(path: string): Decimal128 | null {
    return this.locate(path) && foundKind == <u8>Kind.Decimal128 ? Decimal128.at(foundAt) : null;
  }

  /** The document at a path. */
  getDocument(path: string): Document | null {
    return this.locate(path) && foundKind == <u8>Kind.Document ? new Document(this.owner, foundAt, foundLength) : null;
  }

  /** The array at a path. */
  getArray(path: string): BsonArray | null {
    return this.locate(path) && foundKind == <u8>Kind.Array ? new BsonArray(this.owner, foundAt, foundLength) : null;
  }
}
