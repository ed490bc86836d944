import { DocumentBuilder } from "./builder";
import { Document } from "./document";
import { Outcome, reject } from "./outcome";
import { Value } from "./value";

/** What one version of a module hands over to the next: a value of any type, and the version of its shape. */
export class State {
  /** @hidden `{v: i32, state: any}`. */
  constructor(readonly document: Document) {}

  /** The state of that shape: anything that a `DocumentBuilder` takes. At most 16 MiB. */
  static of<T>(version: i32, value: T): State {
    return new State(new DocumentBuilder().set("v", version).set<T>("state", value).finish());
  }

  /** The version of its shape. */
  get version(): i32 {
    return <i32>this.document.getI64("v");
  }

  /** What was handed over. */
  get value(): Value | null {
    return this.document.field("state");
  }

  /** Refuses a version that is not known: `return state.unknown()`. The version before goes on then. */
  unknown(): Outcome {
    return reject(`state of version ${this.version} is unknown here`);
  }
}
