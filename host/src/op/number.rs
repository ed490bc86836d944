//! Numbers of all of BSON's types, compared by value.

use std::cmp::Ordering;

use oplet_sdk::raw::kind;

/// The largest coefficient of a decimal; what is above is not canonical, and means zero.
const COEFFICIENT_MAX: u128 = 10_u128.pow(34) - 1;

/// What is added to the exponent of a decimal.
const EXPONENT_BIAS: i32 = 6176;

/// Digits behind the point of the smallest double.
const DOUBLE_PLACES: usize = 1074;

/// A number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Integer(i64),
    Double(f64),
    Decimal(Decimal),
}

/// A finite decimal of 128 bits: the others are doubles here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Decimal {
    is_negative: bool,
    coefficient: u128,
    exponent: i32,
}

impl Number {
    /// Reads the value of a numeric type; `None` for anything else.
    pub(super) fn read(kind: u8, value: &[u8]) -> Option<Self> {
        Some(match kind {
            kind::INT32 => Self::Integer(i32::from_le_bytes(value.try_into().ok()?).into()),
            kind::INT64 => Self::Integer(i64::from_le_bytes(value.try_into().ok()?)),
            kind::DOUBLE => Self::Double(f64::from_le_bytes(value.try_into().ok()?)),
            kind::DECIMAL128 => read_decimal(u128::from_le_bytes(value.try_into().ok()?)),
            _ => return None,
        })
    }

    /// By value, exactly; every `NaN` is equal to another, and less than everything else.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (*self, *other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(&b),
            (Self::Double(a), Self::Double(b)) => compare_doubles(a, b),
            (Self::Integer(a), Self::Double(b)) => compare_integer(a, b),
            (Self::Double(a), Self::Integer(b)) => compare_integer(b, a).reverse(),
            (Self::Double(a), Self::Decimal(_)) if !a.is_finite() => compare_doubles(a, 0.0),
            (Self::Decimal(_), Self::Double(b)) if !b.is_finite() => compare_doubles(0.0, b),
            (a, b) => Digits::of(a).compare(&Digits::of(b)),
        }
    }
}

impl Decimal {
    /// The double that is nearest to it.
    pub(super) fn nearest_double(&self) -> f64 {
        let sign = if self.is_negative { "-" } else { "" };
        let text = format!("{sign}{}E{}", self.coefficient, self.exponent);
        text.parse().unwrap_or(f64::NAN)
    }
}

fn compare_doubles(a: f64, b: f64) -> Ordering {
    let by_nan = b.is_nan().cmp(&a.is_nan());
    by_nan.then(a.partial_cmp(&b).unwrap_or(Ordering::Equal))
}

fn compare_integer(a: i64, b: f64) -> Ordering {
    // 2^63 is the first double above every integer.
    const ABOVE: f64 = 9_223_372_036_854_775_808.0;
    match b {
        b if b.is_nan() || b < -ABOVE => Ordering::Greater,
        b if b >= ABOVE => Ordering::Less,
        b => a
            .cmp(&(b.trunc() as i64))
            .then(0.0.partial_cmp(&b.fract()).unwrap_or(Ordering::Equal)),
    }
}

/// The layout of IEEE 754-2008, binary integer decimal encoding.
fn read_decimal(bits: u128) -> Number {
    let is_negative = bits >> 127 == 1;
    match bits >> 122 & 0b11111 {
        0b11111 => return Number::Double(f64::NAN),
        0b11110 if is_negative => return Number::Double(f64::NEG_INFINITY),
        0b11110 => return Number::Double(f64::INFINITY),
        _ => {}
    }
    let coefficient = bits & ((1 << 113) - 1);
    // With both of these bits, the coefficient would have more digits than it may.
    let is_canonical = bits >> 125 & 0b11 != 0b11 && coefficient <= COEFFICIENT_MAX;
    Number::Decimal(Decimal {
        is_negative,
        coefficient: if is_canonical { coefficient } else { 0 },
        exponent: (bits >> 113 & 0x3FFF) as i32 - EXPONENT_BIAS,
    })
}

/// All digits of a finite number: `0.DIGITS` times ten to the power of `point`.
#[derive(Debug)]
struct Digits {
    is_negative: bool,
    /// From the first to the last that is not zero; none for zero.
    digits: Vec<u8>,
    point: i32,
}

impl Digits {
    fn of(number: Number) -> Self {
        match number {
            Number::Integer(value) => {
                Self::new(value < 0, value.unsigned_abs().to_string().as_bytes(), 0)
            }
            Number::Decimal(decimal) => Self::new(
                decimal.is_negative,
                decimal.coefficient.to_string().as_bytes(),
                decimal.exponent,
            ),
            // With so many places, a double is written out exactly.
            Number::Double(value) => {
                let mut digits = format!("{:.DOUBLE_PLACES$}", value.abs()).into_bytes();
                digits.retain(u8::is_ascii_digit);
                Self::new(value < 0.0, &digits, -(DOUBLE_PLACES as i32))
            }
        }
    }

    /// The integer that `digits` write, times ten to the power of `exponent`.
    fn new(is_negative: bool, digits: &[u8], exponent: i32) -> Self {
        let leading = digits.iter().take_while(|&&digit| digit == b'0').count();
        let digits = &digits[leading..];
        let trailing = digits
            .iter()
            .rev()
            .take_while(|&&digit| digit == b'0')
            .count();
        Self {
            is_negative,
            point: digits.len() as i32 + exponent,
            digits: digits[..digits.len() - trailing].to_vec(),
        }
    }

    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.is_negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let by_sign = self.sign().cmp(&other.sign());
        if by_sign.is_ne() || self.sign() == 0 {
            return by_sign;
        }
        let by_size = self.point.cmp(&other.point);
        let by_size = by_size.then_with(|| self.digits.cmp(&other.digits));
        if self.is_negative {
            by_size.reverse()
        } else {
            by_size
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Number {
        let decimal: bson::Decimal128 = text.parse().unwrap();
        Number::read(kind::DECIMAL128, &decimal.bytes()).unwrap()
    }

    #[test]
    fn a_double_is_not_the_decimal_that_it_is_written_as() {
        // 0.1 as a double is 0.1000000000000000055...
        let double = Number::Double(0.1);
        assert_eq!(double.compare(&decimal("0.1")), Ordering::Greater);
        let nearer = decimal("0.1000000000000000055511151231257827");
        assert_eq!(double.compare(&nearer), Ordering::Greater);
        let above = decimal("0.1000000000000000055511151231257828");
        assert_eq!(double.compare(&above), Ordering::Less);
        assert_eq!(
            Number::Double(0.25).compare(&decimal("0.25")),
            Ordering::Equal
        );
    }

    #[test]
    fn the_ends_of_the_ranges_are_told_apart() {
        let max = Number::Integer(i64::MAX);
        assert_eq!(
            max.compare(&Number::Double(i64::MAX as f64)),
            Ordering::Less
        );
        assert_eq!(
            max.compare(&decimal("9223372036854775807")),
            Ordering::Equal
        );
        assert_eq!(
            max.compare(&decimal("9223372036854775807.1")),
            Ordering::Less
        );
        let min = Number::Integer(i64::MIN);
        assert_eq!(
            min.compare(&Number::Double(i64::MIN as f64)),
            Ordering::Equal
        );
        assert_eq!(
            decimal("1E-6176").compare(&Number::Double(0.0)),
            Ordering::Greater
        );
        assert_eq!(
            decimal("1E-6176").compare(&Number::Double(5e-324)),
            Ordering::Less
        );
        assert_eq!(
            decimal("-Infinity").compare(&decimal("-9E6144")),
            Ordering::Less
        );
    }

    /// What is not canonical is zero: here, more digits than a decimal has.
    #[test]
    fn a_coefficient_that_is_too_large_is_zero() {
        let bits: u128 = (EXPONENT_BIAS as u128) << 113 | (COEFFICIENT_MAX + 1);
        let number = Number::read(kind::DECIMAL128, &bits.to_le_bytes()).unwrap();
        assert_eq!(number.compare(&Number::Integer(0)), Ordering::Equal);
        let bits: u128 = 0b11 << 125 | 7;
        let number = Number::read(kind::DECIMAL128, &bits.to_le_bytes()).unwrap();
        assert_eq!(number.compare(&Number::Integer(0)), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn integers_agree_across_the_types(a: i64, b: i64) {
            let (x, y) = (decimal(&a.to_string()), decimal(&b.to_string()));
            prop_assert_eq!(x.compare(&y), a.cmp(&b));
            prop_assert_eq!(x.compare(&Number::Integer(b)), a.cmp(&b));
            prop_assert_eq!(Number::Integer(a).compare(&y), a.cmp(&b));
        }

        #[test]
        fn doubles_agree_with_their_digits(a: f64, b: f64) {
            prop_assume!(a.is_finite() && b.is_finite());
            let by_digits = Digits::of(Number::Double(a)).compare(&Digits::of(Number::Double(b)));
            prop_assert_eq!(by_digits, a.partial_cmp(&b).unwrap());
        }

        #[test]
        fn integers_and_doubles_agree_with_their_digits(a: i64, b: f64) {
            prop_assume!(b.is_finite());
            for b in [b, a as f64, (a as f64).next_up(), (a as f64) + 0.5] {
                let (a, b) = (Number::Integer(a), Number::Double(b));
                prop_assert_eq!(a.compare(&b), Digits::of(a).compare(&Digits::of(b)));
            }
        }
    }
}
