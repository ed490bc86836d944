//! Which document is meant, in a form that can be compared.

use bson::Decimal128;
use oplet_sdk::raw::{Malformed, Walk, kind};

/// Appends a value so that values that the server takes for equal have the same bytes: `1`, `1.0` and
/// a 64-bit 1 are one `_id`. That a few others have the same bytes, too (large numbers), does no harm:
/// it only keeps more documents in order than need be.
pub(super) fn append_comparable(
    kind: u8,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    match kind {
        kind::DOUBLE | kind::INT32 | kind::INT64 | kind::DECIMAL128 => {
            out.push(kind::DOUBLE);
            // Zero has two signs.
            out.extend_from_slice(&(number(kind, value) + 0.0).to_bits().to_le_bytes());
        }
        kind::STRING | kind::SYMBOL => {
            out.push(kind::STRING);
            out.extend_from_slice(value);
        }
        kind::DOCUMENT | kind::ARRAY => {
            out.push(kind);
            for element in Walk::new(value)? {
                let element = element?;
                append_comparable(element.kind, element.value, out)?;
                out.extend_from_slice(element.key);
                out.push(0);
            }
            out.push(0);
        }
        _ => {
            out.push(kind);
            out.extend_from_slice(value);
        }
    }
    Ok(())
}

/// A number as a double; its bytes are those of its kind.
fn number(kind: u8, value: &[u8]) -> f64 {
    let wide = value.first_chunk::<8>().copied().unwrap_or_default();
    match kind {
        kind::DOUBLE => f64::from_le_bytes(wide),
        kind::INT64 => i64::from_le_bytes(wide) as f64,
        kind::INT32 => {
            let narrow = value.first_chunk::<4>().copied().unwrap_or_default();
            f64::from(i32::from_le_bytes(narrow))
        }
        _ => {
            let bytes = value.first_chunk::<16>().copied().unwrap_or_default();
            let text = Decimal128::from_bytes(bytes).to_string();
            text.parse().unwrap_or(f64::NAN)
        }
    }
}

#[cfg(test)]
mod tests {
    use bson::{RawDocumentBuf, rawdoc};

    use super::*;

    fn comparable(document: &RawDocumentBuf) -> Vec<u8> {
        let mut out = Vec::new();
        append_comparable(kind::DOCUMENT, document.as_bytes(), &mut out).unwrap();
        out
    }

    #[test]
    fn equal_values_have_equal_bytes() {
        let one = comparable(&rawdoc! { "_id": 1 });
        let decimal: Decimal128 = "1.00".parse().unwrap();
        for same in [
            rawdoc! { "_id": 1_i64 },
            rawdoc! { "_id": 1.0 },
            rawdoc! { "_id": decimal },
        ] {
            assert_eq!(comparable(&same), one, "{same:?}");
        }
        for other in [
            rawdoc! { "_id": 2 },
            rawdoc! { "_id": "1" },
            rawdoc! { "_id": true },
            rawdoc! { "_id": [1] },
            rawdoc! { "_id": { "a": 1 } },
            rawdoc! { "id": 1 },
        ] {
            assert_ne!(comparable(&other), one, "{other:?}");
        }
        assert_eq!(
            comparable(&rawdoc! { "a": 0.0 }),
            comparable(&rawdoc! { "a": -0.0 })
        );
        assert_eq!(
            comparable(&rawdoc! { "a": { "b": 3_i64 } }),
            comparable(&rawdoc! { "a": { "b": 3 } })
        );
    }
}
