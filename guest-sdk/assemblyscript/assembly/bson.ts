import { Bytes } from "./bytes";
import { Kind } from "./kind";

/** What can stand in a document, besides text, numbers, booleans and arrays of such. */
export abstract class Bson {
  /** Its BSON type. */
  abstract get kind(): Kind;

  /** Writes the bytes of the value, as they stand in any document. */
  abstract put(to: Bytes): void;
}
