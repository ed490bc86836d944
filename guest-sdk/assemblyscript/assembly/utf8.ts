// Between UTF-8, which BSON and the host speak, and UTF-16, which AssemblyScript's strings are.

/**
 * The text of these bytes, or null when they are not UTF-8.
 *
 * The standard library's decoder takes what it gets, and reads past the end of a character that was cut off.
 */
export function decode(at: usize, length: i32): string | null {
  const end = at + length;
  const units = unitsOf(at, end);
  if (units < 0) return null;
  if (units == 0) return "";
  const text = __new(<usize>units << 1, idof<string>());
  let to = text;
  if (units == length) {
    for (; at < end; ++at, to += 2) store<u16>(to, load<u8>(at));
    return changetype<string>(text);
  }
  while (at < end) {
    const lead = <u32>load<u8>(at);
    if (lead < 0x80) {
      store<u16>(to, lead);
      at += 1;
    } else if (lead < 0xe0) {
      store<u16>(to, ((lead & 0x1f) << 6) | tail(at, 1));
      at += 2;
    } else if (lead < 0xf0) {
      store<u16>(to, ((lead & 0x0f) << 12) | (tail(at, 1) << 6) | tail(at, 2));
      at += 3;
    } else {
      const point = ((lead & 7) << 18) | (tail(at, 1) << 12) | (tail(at, 2) << 6) | tail(at, 3);
      store<u16>(to, 0xd7c0 + (point >> 10));
      store<u16>(to, 0xdc00 | (point & 0x3ff), 2);
      to += 2;
      at += 4;
    }
    to += 2;
  }
  return changetype<string>(text);
}

@inline
function tail(at: usize, offset: usize): u32 {
  return load<u8>(at + offset) & 0x3f;
}

/** How many UTF-16 units the text has, or -1 when it is not UTF-8. */
function unitsOf(at: usize, end: usize): i32 {
  let units = 0;
  while (at < end) {
    const lead = <u32>load<u8>(at);
    if (lead < 0x80) {
      at += 1;
      units += 1;
      continue;
    }
    // The second byte has bounds of its own: no longer form than needed, no surrogates, nothing above U+10FFFF.
    let size: usize = 2;
    let low: u32 = 0x80;
    let high: u32 = 0xbf;
    if (lead < 0xc2 || lead > 0xf4) return -1;
    if (lead >= 0xe0) {
      size = lead < 0xf0 ? 3 : 4;
      if (lead == 0xe0) low = 0xa0;
      else if (lead == 0xed) high = 0x9f;
      else if (lead == 0xf0) low = 0x90;
      else if (lead == 0xf4) high = 0x8f;
    }
    if (at + size > end) return -1;
    const second = <u32>load<u8>(at, 1);
    if (second < low || second > high) return -1;
    if (size > 2 && (load<u8>(at, 2) & 0xc0) != 0x80) return -1;
    if (size > 3 && (load<u8>(at, 3) & 0xc0) != 0x80) return -1;
    at += size;
    units += size == 4 ? 2 : 1;
  }
  return units;
}

/** How many bytes the text takes as UTF-8. */
export function byteLength(text: string): i32 {
  return String.UTF8.byteLength(text);
}

/**
 * Writes the text as UTF-8 to where there is room for it. Half a surrogate pair, which UTF-8 cannot say, becomes U+FFFD:
 * it is as long as what stands for it in `byteLength`.
 */
export function encode(text: string, to: usize): void {
  String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, to, false, String.UTF8.ErrorMode.REPLACE);
}

/** Whether the bytes are the UTF-8 of the units `from` to `until` of a text. Makes nothing. */
export function equals(at: usize, length: i32, text: string, from: i32, until: i32): bool {
  const end = at + length;
  let unit = changetype<usize>(text) + (<usize>from << 1);
  const last = changetype<usize>(text) + (<usize>until << 1);
  while (unit < last) {
    let point = <u32>load<u16>(unit);
    unit += 2;
    if (point < 0x80) {
      if (at >= end || <u32>load<u8>(at) != point) return false;
      at += 1;
      continue;
    }
    if (point >= 0xd800 && point < 0xe000) {
      const next: u32 = unit < last ? load<u16>(unit) : 0;
      if (point < 0xdc00 && next >= 0xdc00 && next < 0xe000) {
        unit += 2;
        point = (point << 10) + next - 0x35fdc00;
      } else {
        point = 0xfffd;
      }
    }
    const size: usize = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    if (at + size > end || !isAt(at, size, point)) return false;
    at += size;
  }
  return at == end;
}

function isAt(at: usize, size: usize, point: u32): bool {
  for (let i = size - 1; i > 0; --i) {
    if (<u32>load<u8>(at + i) != (0x80 | (point & 0x3f))) return false;
    point >>= 6;
  }
  const mark: u32 = size == 2 ? 0xc0 : size == 3 ? 0xe0 : 0xf0;
  return <u32>load<u8>(at) == (mark | point);
}
