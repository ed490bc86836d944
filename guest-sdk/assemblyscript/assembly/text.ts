import { byteLength, encode } from "./utf8";

/** Text for the host, which reads it during a call and keeps nothing. */
let buffer: ArrayBuffer = new ArrayBuffer(256);
let length: i32 = 0;

/** Writes the text to a place that is used again by the next text, and gives its address. */
export function lend(text: string): usize {
  length = byteLength(text);
  if (buffer.byteLength < length) buffer = new ArrayBuffer(length);
  encode(text, changetype<usize>(buffer));
  return changetype<usize>(buffer);
}

/** Bytes of the text that was lent last. */
export function lentLength(): i32 {
  return length;
}
