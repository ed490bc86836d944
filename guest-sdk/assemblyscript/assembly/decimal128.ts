import { Bson } from "./bson";
import { Bytes } from "./bytes";
import { Kind } from "./kind";

/** Digits that a decimal can have. */
const DIGITS_MAX = 34;
/** What is taken from the exponent as it is stored. */
const BIAS = 6176;

/** A decimal number of 34 digits, as its 128 bits. */
export class Decimal128 extends Bson {
  constructor(
    /** Sign, exponent and the highest digits. */
    readonly high: u64,
    /** The rest of the digits. */
    readonly low: u64,
  ) {
    super();
  }

  /** @hidden */
  static at(place: usize): Decimal128 {
    return new Decimal128(load<u64>(place, 8), load<u64>(place));
  }

  /** The number that the text says, as in `-1.50E+3`, `NaN`, `Infinity`; null when it says none, or none that fits. */
  static parse(text: string): Decimal128 | null {
    let at = 0;
    const length = text.length;
    let sign: u64 = 0;
    if (length > 0 && (text.charCodeAt(0) == 0x2d || text.charCodeAt(0) == 0x2b)) {
      sign = text.charCodeAt(0) == 0x2d ? 1 << 63 : 0;
      at = 1;
    }
    const word = text.substring(at).toLowerCase();
    if (word == "nan") return new Decimal128(0x7c00000000000000, 0);
    if (word == "inf" || word == "infinity") return new Decimal128(0x7800000000000000 | sign, 0);
    let digits = "";
    let exponent = 0;
    let isAfterPoint = false;
    let isNumber = false;
    for (; at < length; ++at) {
      const unit = text.charCodeAt(at);
      if (unit == 0x2e) {
        if (isAfterPoint) return null;
        isAfterPoint = true;
      } else if (unit >= 0x30 && unit <= 0x39) {
        isNumber = true;
        if (digits.length > 0 || unit != 0x30) digits += String.fromCharCode(unit);
        if (isAfterPoint) --exponent;
      } else {
        break;
      }
    }
    if (!isNumber) return null;
    if (at < length) {
      const written = exponentOf(text, at);
      if (written == i32.MIN_VALUE) return null;
      exponent += written;
    }
    // Zeros at the end can become part of the exponent, and the other way round.
    while (digits.length > DIGITS_MAX && digits.endsWith("0")) {
      digits = digits.substring(0, digits.length - 1);
      ++exponent;
    }
    if (digits.length == 0) {
      exponent = max(-BIAS, min(exponent, 6111));
    }
    while (exponent > 6111 && digits.length < DIGITS_MAX) {
      digits += "0";
      --exponent;
    }
    while (exponent < -BIAS && digits.endsWith("0")) {
      digits = digits.substring(0, digits.length - 1);
      ++exponent;
    }
    if (digits.length > DIGITS_MAX || exponent > 6111 || exponent < -BIAS) return null;
    return ofDigits(sign, digits, exponent);
  }

  get kind(): Kind {
    return Kind.Decimal128;
  }

  put(to: Bytes): void {
    to.put<u64>(this.low);
    to.put<u64>(this.high);
  }

  /** As the server and its drivers write it: https://github.com/mongodb/specifications, decimal128. */
  toString(): string {
    const sign = this.high >> 63 ? "-" : "";
    const combination = <u32>(this.high >> 58) & 31;
    if (combination == 31) return "NaN";
    if (combination == 30) return sign + "Infinity";
    // With these two bits the digits are more than 34, and count as zero.
    const isLarge = combination >> 3 == 3;
    const exponent = <i32>(isLarge ? (this.high >> 47) & 0x3fff : (this.high >> 49) & 0x3fff) - BIAS;
    const digits = isLarge ? "0" : this.digits();
    const point = digits.length - 1 + exponent;
    if (exponent > 0 || point < -6) {
      const tail = digits.length > 1 ? "." + digits.substring(1) : "";
      return sign + digits.charAt(0) + tail + "E" + (point < 0 ? "" : "+") + point.toString();
    }
    if (exponent == 0) return sign + digits;
    const whole = digits.length + exponent;
    if (whole > 0) return sign + digits.substring(0, whole) + "." + digits.substring(whole);
    return sign + "0." + "0".repeat(-whole) + digits;
  }

  /** The digits, without zeros before them. */
  private digits(): string {
    // 113 bits as four words, divided by a billion again and again.
    const words = StaticArray.fromArray<u64>([
      (this.high >> 32) & 0x1ffff,
      this.high & 0xffffffff,
      this.low >> 32,
      this.low & 0xffffffff,
    ]);
    let text = "";
    for (let group = 0; group < 4; ++group) {
      let rest: u64 = 0;
      for (let i = 0; i < 4; ++i) {
        const value = (rest << 32) | words[i];
        words[i] = value / 1000000000;
        rest = value % 1000000000;
      }
      text = rest.toString().padStart(9, "0") + text;
    }
    let zeros = 0;
    while (zeros < text.length - 1 && text.charCodeAt(zeros) == 0x30) ++zeros;
    text = text.substring(zeros);
    // More than 34 digits are not canonical, and count as zero.
    return text.length > DIGITS_MAX ? "0" : text;
  }
}

/** The number behind an `E`, or the least one if there is none. */
function exponentOf(text: string, at: i32): i32 {
  if ((text.charCodeAt(at) | 0x20) != 0x65) return i32.MIN_VALUE;
  ++at;
  let sign = 1;
  if (at < text.length && (text.charCodeAt(at) == 0x2d || text.charCodeAt(at) == 0x2b)) {
    sign = text.charCodeAt(at) == 0x2d ? -1 : 1;
    ++at;
  }
  if (at == text.length) return i32.MIN_VALUE;
  let number = 0;
  for (; at < text.length; ++at) {
    const digit = text.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) return i32.MIN_VALUE;
    if (number < 100000) number = number * 10 + digit;
  }
  return sign * number;
}

function ofDigits(sign: u64, digits: string, exponent: i32): Decimal128 {
  // Times ten plus a digit, in 128 bits.
  let high: u64 = 0;
  let low: u64 = 0;
  for (let i = 0; i < digits.length; ++i) {
    const lowest = (low & 0xffffffff) * 10 + <u64>(digits.charCodeAt(i) - 0x30);
    const middle = (low >> 32) * 10 + (lowest >> 32);
    low = (middle << 32) | (lowest & 0xffffffff);
    high = high * 10 + (middle >> 32);
  }
  return new Decimal128(sign | (<u64>(exponent + BIAS) << 49) | high, low);
}
