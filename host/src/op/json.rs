//! Documents as Extended JSON v2, one a line.

use bson::{Bson, Document, RawDocument};

/// How documents are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Relaxed Extended JSON v2: plain numbers and dates where JSON has them.
    #[default]
    Relaxed,
    /// Canonical Extended JSON v2: every type survives.
    Canonical,
}

/// Appends a document as one line of Extended JSON, without the line's end.
///
/// # Errors
/// When the bytes are not a valid document; `out` is then unchanged.
pub fn write_json(
    document: &[u8],
    format: Format,
    out: &mut String,
) -> Result<(), bson::error::Error> {
    let document = Document::try_from(RawDocument::from_bytes(document)?)?;
    let mut bson = Bson::Document(document);
    make_nan_plain(&mut bson);
    let value = match format {
        Format::Relaxed => bson.into_relaxed_extjson(),
        Format::Canonical => bson.into_canonical_extjson(),
    };
    out.push_str(&value.to_string());
    Ok(())
}

/// Extended JSON has one `NaN`; the driver's crate writes `-NaN` where the sign bit is set, as x86 sets
/// it in the NaN that it makes, and readers refuse that.
fn make_nan_plain(value: &mut Bson) {
    match value {
        Bson::Double(number) if number.is_nan() => *number = f64::NAN,
        Bson::Document(document) => make_nans_plain(document),
        Bson::Array(values) => values.iter_mut().for_each(make_nan_plain),
        Bson::JavaScriptCodeWithScope(code) => make_nans_plain(&mut code.scope),
        _ => {}
    }
}

fn make_nans_plain(document: &mut Document) {
    document
        .iter_mut()
        .for_each(|(_, value)| make_nan_plain(value));
}

#[cfg(test)]
mod tests {
    use bson::{RawDocumentBuf, doc};

    use super::*;

    #[test]
    fn a_nan_has_no_sign() {
        let nan = || -f64::NAN;
        assert!(nan().is_sign_negative());
        let scope = doc! {"e": nan()};
        let code = bson::JavaScriptCodeWithScope {
            code: "c".into(),
            scope,
        };
        let document = doc! {"a": nan(), "b": {"c": [1.5, nan()]}, "d": code};
        let document = RawDocumentBuf::try_from(&document).unwrap();
        for format in [Format::Relaxed, Format::Canonical] {
            let mut out = String::new();
            write_json(document.as_bytes(), format, &mut out).unwrap();
            assert!(!out.contains("-NaN"), "{out}");
            assert_eq!(
                out.matches(r#"{"$numberDouble":"NaN"}"#).count(),
                3,
                "{out}"
            );
        }
    }

    #[test]
    fn keeps_the_order_of_fields() {
        let document = RawDocumentBuf::try_from(
            &doc! {"z": 1, "a": 2_i64, "at": bson::DateTime::from_millis(0)},
        )
        .unwrap();
        let written = |format| {
            let mut out = String::new();
            write_json(document.as_bytes(), format, &mut out).unwrap();
            out
        };
        assert_eq!(
            written(Format::Relaxed),
            r#"{"z":1,"a":2,"at":{"$date":"1970-01-01T00:00:00Z"}}"#
        );
        assert_eq!(
            written(Format::Canonical),
            r#"{"z":{"$numberInt":"1"},"a":{"$numberLong":"2"},"at":{"$date":{"$numberLong":"0"}}}"#
        );
    }
}
