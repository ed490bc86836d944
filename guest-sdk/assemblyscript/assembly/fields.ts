// The fields of the op document, by their number in its order, which is part of the ABI.

export const OPERATION = 0;
export const NAMESPACE = 1;
export const OP_ID = 2;
export const TIMESTAMP = 3;
export const SOURCE = 4;
export const PENDING = 5;
export const REPLACE = 6;
export const WALL_TIME = 7;
export const TXN = 8;
export const CLUSTER = 9;
export const DOCUMENT_KEY = 10;
export const ID = 11;
export const UPDATE_DESCRIPTION = 12;
export const DATA = 13;
export const BEFORE = 14;

/** How many there are. */
export const COUNT = 15;

const ORDER: StaticArray<string> = [
  "operation",
  "namespace",
  "opId",
  "timestamp",
  "source",
  "pending",
  "replace",
  "wallTime",
  "txn",
  "cluster",
  "documentKey",
  "_id",
  "updateDescription",
  "data",
  "before",
];

/** The number of the field whose key, with its zero byte, lies there; -1 for none of them. Reads up to 18 bytes. */
export function fieldAt(key: usize): i32 {
  // The first eight bytes tell them apart; each is the ASCII text, lowest byte first.
  const head = load<u64>(key);
  switch (<u32>head & 0xff) {
    case 0x6f: // o
      if (head == 0x6f6974617265706f && load<u16>(key, 8) == 0x6e) return OPERATION;
      return (head & 0xffffffffff) == 0x6449706f ? OP_ID : -1;
    case 0x6e: // n
      return head == 0x63617073656d616e && load<u16>(key, 8) == 0x65 ? NAMESPACE : -1;
    case 0x74: // t
      if (head == 0x6d617473656d6974 && load<u16>(key, 8) == 0x70) return TIMESTAMP;
      return (head & 0xffffffff) == 0x6e7874 ? TXN : -1;
    case 0x73: // s
      return (head & 0xffffffffffffff) == 0x656372756f73 ? SOURCE : -1;
    case 0x70: // p
      return head == 0x676e69646e6570 ? PENDING : -1;
    case 0x72: // r
      return head == 0x6563616c706572 ? REPLACE : -1;
    case 0x77: // w
      return head == 0x656d69546c6c6177 && load<u8>(key, 8) == 0 ? WALL_TIME : -1;
    case 0x63: // c
      return head == 0x72657473756c63 ? CLUSTER : -1;
    case 0x5f: // _
      return (head & 0xffffffff) == 0x64695f ? ID : -1;
    case 0x75: // u
      return head == 0x6544657461647075 && load<u64>(key, 8) == 0x6f69747069726373 && load<u16>(key, 16) == 0x6e
        ? UPDATE_DESCRIPTION
        : -1;
    case 0x64: // d
      if ((head & 0xffffffffff) == 0x61746164) return DATA;
      return head == 0x746e656d75636f64 && load<u32>(key, 8) == 0x79654b ? DOCUMENT_KEY : -1;
    case 0x62: // b
      return (head & 0xffffffffffffff) == 0x65726f666562 ? BEFORE : -1;
    default:
      return -1;
  }
}

/** Length of a field's key. */
export function keyLength(field: i32): i32 {
  return ORDER[field].length;
}

/** The number of the field that the units up to `until` of a path name; -1 for none of them. */
export function fieldNamed(path: string, until: i32): i32 {
  const units = changetype<usize>(path);
  // Nearly every path begins so.
  if (until == 4 && load<u64>(units) == 0x0061007400610064) return DATA;
  for (let field = 0; field < COUNT; ++field) {
    const key = ORDER[field];
    if (key.length == until && memory.compare(units, changetype<usize>(key), <usize>until << 1) == 0) return field;
  }
  return -1;
}
