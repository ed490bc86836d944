import { byteLength, encode } from "./utf8";

/** Bytes that grow at their end. */
export class Bytes {
  buffer: ArrayBuffer;
  length: i32 = 0;

  constructor(capacity: i32 = 256) {
    this.buffer = new ArrayBuffer(capacity);
  }

  /** Where the bytes begin; until more are added. */
  get start(): usize {
    return changetype<usize>(this.buffer);
  }

  /** Adds that many bytes, and gives the place to write them to. */
  extend(size: i32): usize {
    const length = this.length;
    const needed = <u64>length + <u64>size;
    let capacity = <u64>this.buffer.byteLength;
    if (needed > capacity) {
      if (needed > <u64>i32.MAX_VALUE >> 1) throw new Error("a document of more than a gigabyte");
      while (capacity < needed) capacity *= 2;
      this.buffer = changetype<ArrayBuffer>(__renew(changetype<usize>(this.buffer), <usize>capacity));
    }
    this.length = <i32>needed;
    return changetype<usize>(this.buffer) + length;
  }

  put<T>(value: T): void {
    store<T>(this.extend(sizeof<T>()), value);
  }

  copy(from: usize, size: i32): void {
    // What is copied may lie in this very buffer, which moves.
    const inside = from - this.start;
    const isInside = inside < <usize>this.length;
    const to = this.extend(size);
    memory.copy(to, isInside ? this.start + inside : from, size);
  }

  /** Text as BSON has it: its length, the text, and a zero byte. */
  text(text: string): void {
    const size = byteLength(text);
    const to = this.extend(size + 5);
    store<u32>(to, size + 1);
    encode(text, to + 4);
    store<u8>(to + 4 + size, 0);
  }

  /** Text that ends with the first zero byte. */
  terminated(text: string): void {
    if (text.includes("\0")) throw new Error("a key or a pattern contains a zero byte");
    const size = byteLength(text);
    const to = this.extend(size + 1);
    encode(text, to);
    store<u8>(to + size, 0);
  }

  /** A number from 0 in decimal, and a zero byte. */
  index(index: i32): void {
    let digits = 1;
    for (let rest = index; rest > 9; rest /= 10) ++digits;
    let to = this.extend(digits + 1) + digits;
    store<u8>(to, 0);
    do {
      store<u8>(--to, 0x30 + (index % 10));
      index /= 10;
    } while (index > 0);
  }

  /** Closes the document that was begun at this offset by four bytes for its length. */
  close(from: i32): void {
    this.put<u8>(0);
    store<u32>(this.start + from, this.length - from);
  }
}
