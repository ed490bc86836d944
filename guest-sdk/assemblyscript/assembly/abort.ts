import * as host from "./host";

// Text of what ends the call. Its own place: there may be no memory left to ask for.
const ROOM = 4096;
const place = memory.data(ROOM);
let used: i32 = 0;

function say(text: string): void {
  // Longer text is cut off before it is written, so that it never needs more than there is.
  const units = min(text.length, (ROOM - used) / 3);
  used += <i32>String.UTF8.encodeUnsafe(changetype<usize>(text), units, place + used, false, String.UTF8.ErrorMode.REPLACE);
}

function sayNumber(number: u32): void {
  if (number > 9) sayNumber(number / 10);
  store<u8>(place + used++, 0x30 + <u8>(number % 10));
}

/** What `throw`, `assert` and the runtime's own checks end in: the host is told message and place, and the call traps. */
export function abort(message: string | null = "", file: string | null = "", line: u32 = 0, column: u32 = 0): void {
  used = 0;
  say(message !== null && message.length > 0 ? message : "abort");
  if (file !== null && file.length > 0) {
    say(" at ");
    say(file);
    if (used < ROOM - 32) {
      say(":");
      sayNumber(line);
      say(":");
      sayNumber(column);
    }
  }
  host.fail(place, used);
  unreachable();
}
