import { Document, Fields } from "./document";
import { Value } from "./value";

/**
 * What an update changed, with full paths: `{updatedFields: {"address.city": "Ulm"}, removedFields: ["fax"],
 * truncatedArrays: [{field: "tags", newSize: 2}], disambiguatedPaths: {..}}`.
 */
export class UpdateDescription {
  /** @hidden */
  constructor(private readonly document: Document) {}

  /** New values by path; paths are keys with dots in them, so `updated` finds them, not a dotted lookup. */
  get updatedFields(): Document {
    return this.documentOf("updatedFields");
  }

  /** The new value of exactly this path. */
  updated(path: string): Value | null {
    return this.updatedFields.field(path);
  }

  /** Paths that were removed. */
  get removedFields(): string[] {
    const paths: string[] = [];
    const values = this.valuesOf("removedFields");
    while (values !== null && values.next()) {
      const path = values.value.asString();
      if (path !== null) paths.push(path);
    }
    return paths;
  }

  /** Arrays that were cut short. */
  get truncatedArrays(): TruncatedArray[] {
    const arrays: TruncatedArray[] = [];
    const values = this.valuesOf("truncatedArrays");
    while (values !== null && values.next()) {
      const entry = values.value.asDocument();
      if (entry === null) continue;
      const field = entry.getString("field");
      if (field !== null) arrays.push(new TruncatedArray(field, entry.getI64("newSize")));
    }
    return arrays;
  }

  /** For paths whose text alone does not tell field names from array positions: their parts. */
  get disambiguatedPaths(): Document {
    return this.documentOf("disambiguatedPaths");
  }

  /** Whether the update changed this path: the field itself, something inside of it, or something that it lies in. */
  touches(path: string): bool {
    const fields = this.updatedFields.fields();
    while (fields.next()) {
      if (areRelated(fields.key, path)) return true;
    }
    const removed = this.removedFields;
    for (let i = 0; i < removed.length; ++i) {
      if (areRelated(removed[i], path)) return true;
    }
    const truncated = this.truncatedArrays;
    for (let i = 0; i < truncated.length; ++i) {
      if (areRelated(truncated[i].field, path)) return true;
    }
    return false;
  }

  private documentOf(key: string): Document {
    const document = this.document.getDocument(key);
    return document !== null ? document : Document.empty;
  }

  private valuesOf(key: string): Fields | null {
    const array = this.document.getArray(key);
    return array !== null ? array.values() : null;
  }
}

/** An array that an update cut short. */
export class TruncatedArray {
  /** @hidden */
  constructor(
    /** Path of the array. */
    readonly field: string,
    /** Elements left. */
    readonly newSize: i64,
  ) {}
}

/** Whether one of the paths is the other or leads to it. */
function areRelated(a: string, b: string): bool {
  const short = a.length <= b.length ? a : b;
  const long = a.length <= b.length ? b : a;
  return long.startsWith(short) && (long.length == short.length || long.charCodeAt(short.length) == 0x2e);
}
