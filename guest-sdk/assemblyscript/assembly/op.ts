import { Bytes } from "./bytes";
import { Document } from "./document";
import * as fields from "./fields";
import { Kind } from "./kind";
import { name } from "./names";
import * as read from "./read";
import { Readable } from "./readable";
import * as scan from "./scan";
import { UpdateDescription } from "./update";
import { Value } from "./value";
import { DateTime, Timestamp } from "./values";

/** What happened. */
export enum Operation {
  /** A document was inserted, or read by a direct read. */
  Insert,
  /** A document was updated or replaced. */
  Update,
  /** A document was deleted. */
  Delete,
  /** A command: `drop`, `dropDatabase`, `renameCollection`; `data` holds it. */
  Command,
}

/** Where an op comes from. */
export enum Source {
  /** The oplog of a replica set. */
  Oplog,
  /** A change stream. */
  ChangeStream,
  /** A collection that is read as a whole. */
  DirectRead,
}

/** Where the element of each field begins, of those that were found. */
const STARTS = memory.data(fields.COUNT * sizeof<u32>());

/**
 * One change in MongoDB.
 *
 * It lies where the host wrote it: fields are found on the way to the first that is asked for, and read in place. What
 * it gives is good until the function that got it returns; `copy()` keeps a document longer.
 *
 * `get` and its typed sisters take a dotted path from the top of the op: `data.address.city`, `data.items.0.price`,
 * `_id`, `updateDescription.updatedFields`.
 */
export class Op extends Readable {
  private start: usize = 0;
  /** Where the document has its end byte. */
  private end: usize = 0;
  /** Where the walk over its fields goes on. */
  private nextAt: usize = 0;
  /** Fields below this one were either met or are absent. */
  private passed: i32 = 0;
  /** One bit for each field that was met. */
  private met: u32 = 0;
  private happened: Operation = Operation.Insert;
  private wanted: bool = false;

  /** @hidden One op serves for all that come: calls never overlap. */
  begin(start: usize, length: i32): void {
    const size = scan.documentLength(start, start + length);
    if (size < 0) throw new Error("the host handed over no op");
    this.start = start;
    this.end = start + size - 1;
    this.nextAt = start + 4;
    this.passed = 0;
    this.met = 0;
    this.wanted = false;
    const letter = this.find(fields.OPERATION) && scan.foundKind == <u8>Kind.String ? load<u8>(scan.foundAt, 4) : 0;
    switch (<u32>letter) {
      case 0x69:
        this.happened = Operation.Insert;
        break;
      case 0x75:
        this.happened = Operation.Update;
        break;
      case 0x64:
        this.happened = Operation.Delete;
        break;
      case 0x63:
        this.happened = Operation.Command;
        break;
      default:
        throw new Error("the host handed over no op");
    }
  }

  /** @hidden Whether `data` was read while it was pending. */
  get wantsDocument(): bool {
    return this.wanted;
  }

  /** What happened. */
  get operation(): Operation {
    return this.happened;
  }

  /** A document was inserted, or read by a direct read. */
  get isInsert(): bool {
    return this.happened == Operation.Insert;
  }

  /** A document was updated or replaced. */
  get isUpdate(): bool {
    return this.happened == Operation.Update;
  }

  /** A document was deleted. */
  get isDelete(): bool {
    return this.happened == Operation.Delete;
  }

  /** A command: `drop`, `dropDatabase`, `renameCollection`. */
  get isCommand(): bool {
    return this.happened == Operation.Command;
  }

  /** Whether an update replaced the whole document. */
  get isReplace(): bool {
    return this.flag(fields.REPLACE);
  }

  /**
   * Whether the document of this update has not been fetched yet; only `filter` meets such, of the oplog's ops.
   *
   * There is no need to ask: a filter that reads `data` of such an op is asked again with the document.
   */
  get isPending(): bool {
    return this.flag(fields.PENDING);
  }

  /** Where it happened: `db.collection`, or `db` alone for `dropDatabase`. */
  get namespace(): string {
    const isText = this.find(fields.NAMESPACE) && scan.foundKind == <u8>Kind.String;
    return isText ? name(scan.foundAt + 4, scan.foundLength - 5) : "";
  }

  /** The database's name: what stands before the namespace's first dot. */
  get database(): string {
    const namespace = this.namespace;
    const dot = namespace.indexOf(".");
    return dot < 0 ? namespace : namespace.substring(0, dot);
  }

  /** The collection's name, which may contain dots, if the namespace has one. */
  get collection(): string | null {
    const namespace = this.namespace;
    const dot = namespace.indexOf(".");
    return dot < 0 ? null : namespace.substring(dot + 1);
  }

  /** The op's stable id: the same on every redelivery, so a good `_id` for what is emitted. */
  get opId(): string {
    const id = this.textOf(fields.OP_ID);
    return id !== null ? id : "";
  }

  /** Cluster time; of a direct read, the cluster time of the read. */
  get timestamp(): Timestamp {
    const isThere = this.find(fields.TIMESTAMP) && scan.foundKind == <u8>Kind.Timestamp;
    return isThere ? read.timestamp(scan.foundAt) : new Timestamp(0, 0);
  }

  /** Where the op comes from. */
  get source(): Source {
    const letter = this.find(fields.SOURCE) && scan.foundKind == <u8>Kind.String ? load<u8>(scan.foundAt, 4) : 0;
    return letter == 0x6f ? Source.Oplog : letter == 0x64 ? Source.DirectRead : Source.ChangeStream;
  }

  /** The server's clock, when it tells. */
  get wallTime(): DateTime | null {
    const isThere = this.find(fields.WALL_TIME) && scan.foundKind == <u8>Kind.Date;
    return isThere ? new DateTime(load<i64>(scan.foundAt)) : null;
  }

  /** The transaction that the op was part of. */
  get txn(): Txn | null {
    const document = this.documentOf(fields.TXN);
    return document !== null ? new Txn(document) : null;
  }

  /** The replica set's name, when several are tailed. */
  get cluster(): string | null {
    return this.textOf(fields.CLUSTER);
  }

  /** The document's `_id`; commands have none. */
  get id(): Value | null {
    return this.find(fields.ID) ? new Value(null, <Kind>scan.foundKind, scan.foundAt, scan.foundLength) : null;
  }

  /** Shard key and `_id`, when that is more than `_id`. */
  get documentKey(): Document | null {
    return this.documentOf(fields.DOCUMENT_KEY);
  }

  /** What an update changed; replacements have none. */
  get updateDescription(): UpdateDescription | null {
    const document = this.documentOf(fields.UPDATE_DESCRIPTION);
    return document !== null ? new UpdateDescription(document) : null;
  }

  /**
   * The document; of a command, the command.
   *
   * Updates carry the document as it was when it was looked up, which may be later than the update, and null when it was
   * gone by then. Deletes have none.
   */
  get data(): Document | null {
    return this.documentOf(fields.DATA);
  }

  /** The document as it was before the change, when pre-images were asked for and there is one. */
  get before(): Document | null {
    return this.documentOf(fields.BEFORE);
  }

  /** The whole op, as `oplet tail` prints it. */
  get raw(): Document {
    return new Document(null, this.start, <i32>(this.end - this.start) + 1);
  }

  get kind(): Kind {
    return Kind.Document;
  }

  get owner(): ArrayBuffer | null {
    return null;
  }

  put(to: Bytes): void {
    to.copy(this.start, <i32>(this.end - this.start) + 1);
  }

  locate(path: string): bool {
    const until = scan.stepEnd(path, 0);
    const field = fields.fieldNamed(path, until);
    if (field < 0 || !this.find(field)) return false;
    return until == path.length || scan.descend(path, until + 1);
  }

  private flag(field: i32): bool {
    return this.find(field) && scan.foundKind == <u8>Kind.Bool && load<u8>(scan.foundAt) != 0;
  }

  private textOf(field: i32): string | null {
    return this.find(field) && scan.foundKind == <u8>Kind.String ? read.text(scan.foundAt) : null;
  }

  private documentOf(field: i32): Document | null {
    const isThere = this.find(field) && scan.foundKind == <u8>Kind.Document;
    return isThere ? new Document(null, scan.foundAt, scan.foundLength) : null;
  }

  /**
   * Finds a field: the one door to it, so that no read of `data` goes unnoticed.
   *
   * Their order is part of the ABI, so the walk stops at the field that is asked for or at the first that comes after
   * it: what decides by the envelope never touches the body.
   */
  private find(field: i32): bool {
    if (field == fields.DATA && this.isPending) this.wanted = true;
    const bit: u32 = 1 << field;
    while (field >= this.passed) {
      if (!this.step()) {
        this.passed = fields.COUNT;
        break;
      }
    }
    if ((this.met & bit) == 0) return false;
    const start = <usize>load<u32>(STARTS + (<usize>field << 2));
    const at = start + 2 + fields.keyLength(field);
    const kind = load<u8>(start);
    scan.start(kind, at, scan.valueLength(kind, at, this.end));
    return true;
  }

  /** Goes past the next element; false at the end, and where something is malformed. */
  private step(): bool {
    const start = this.nextAt;
    if (start >= this.end) return false;
    const key = start + 1;
    // Fields of a later version of the ABI are skipped, and so are repeated ones. The host's region has room behind it
    // for reading a whole key at once.
    const field = fields.fieldAt(key);
    const stop = field < 0 ? scan.textEnd(key, this.end) : key + fields.keyLength(field);
    if (stop >= this.end) return false;
    const length = scan.valueLength(load<u8>(start), stop + 1, this.end);
    if (length < 0) return false;
    this.nextAt = stop + 1 + length;
    if (field >= this.passed) {
      store<u32>(STARTS + (<usize>field << 2), <u32>start);
      this.met |= 1 << field;
      this.passed = field + 1;
    }
    return true;
  }
}

/** The transaction that an op was part of. */
export class Txn {
  /** @hidden */
  constructor(private readonly document: Document) {}

  /** The session's id. */
  get lsid(): Document | null {
    return this.document.getDocument("lsid");
  }

  /** The transaction's number in its session. */
  get number(): i64 {
    return this.document.getI64("txnNumber");
  }

  /** The op's place in the transaction. */
  get index(): i64 {
    return this.document.getI64("index");
  }
}
