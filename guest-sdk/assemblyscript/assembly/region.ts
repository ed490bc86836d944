/** Where the host writes its inputs, until it asks for more than that has room for. */
let region: usize = 0;
let capacity: u32 = 0;

/** Bytes behind an input that may be read, so that a key can be looked at as a whole. */
const SLACK: u32 = 24;

/**
 * Gives the address of at least `length` bytes, aligned to eight; 0 when there is not so much memory.
 *
 * Pages of its own, not the heap: the heap ends the instance when it cannot grow, and an op that is too large shall
 * only fail itself. Nothing is pinned, and nothing is collected.
 */
export function reserve(length: u32): usize {
  if (region != 0 && length <= capacity) return region;
  if (length > 0x7ffeffff) return 0;
  const end = <usize>memory.size() << 16;
  const isLast = region != 0 && region + capacity + SLACK == end;
  // Pages are never given back, so that a region that cannot grow where it is doubles at least: what it leaves behind
  // is never more than it has.
  const needed = pagesFor(length);
  const had = isLast ? pagesFor(capacity) : 0;
  const wanted = isLast ? needed : max(needed, 2 * pagesFor(capacity));
  let pages = wanted;
  if (memory.grow(<i32>(wanted - had)) < 0) {
    if (needed == wanted || memory.grow(<i32>needed) < 0) return 0;
    pages = needed;
  }
  if (!isLast) region = end;
  capacity = (pages << 16) - SLACK;
  return region;
}

@inline
function pagesFor(length: u32): u32 {
  return length == 0 ? 1 : (length + SLACK + 0xffff) >>> 16;
}
