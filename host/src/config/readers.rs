//! How values of a file become those of settings.

use std::{ops::RangeInclusive, time::Duration};

use bson::{Bson, Document};
use toml::de::DeValue;

use super::{
    document::{described, text_of},
    problem::unknown,
    values::{self, Size},
};

/// A text in one of a setting's own forms.
pub(super) fn text<T>(
    value: &DeValue<'_>,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, String> {
    parse(text_of(value)?)
}

/// One of a few words.
pub(super) fn word<T: Copy>(value: &DeValue<'_>, words: &[(&str, T)]) -> Result<T, String> {
    let text = text_of(value)?;
    let found = words.iter().find(|(word, _)| *word == text);
    let known = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>();
    found
        .map(|(_, choice)| *choice)
        .ok_or_else(|| unknown("unknown choice", text, &known()))
}

pub(super) fn switch(value: &DeValue<'_>) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| format!("true or false is expected, not {}", described(value)))
}

/// A whole number between bounds.
pub(super) fn whole<T: TryFrom<u64>>(
    value: &DeValue<'_>,
    bounds: RangeInclusive<u64>,
) -> Result<T, String> {
    let number = value
        .as_integer()
        .ok_or_else(|| format!("a whole number is expected, not {}", described(value)))?;
    let found = integer(number).and_then(|number| u64::try_from(number).ok());
    let found = found.filter(|number| bounds.contains(number));
    let found = found.and_then(|number| T::try_from(number).ok());
    found.ok_or_else(|| match *bounds.end() {
        u64::MAX => format!("it is at least {}", bounds.start()),
        end => format!("it lies between {} and {end}", bounds.start()),
    })
}

/// A whole number between bounds, which may be negative.
pub(super) fn number(value: &DeValue<'_>, bounds: RangeInclusive<i32>) -> Result<i32, String> {
    let number = value
        .as_integer()
        .ok_or_else(|| format!("a whole number is expected, not {}", described(value)))?;
    let found = integer(number).and_then(|number| i32::try_from(number).ok());
    let found = found.filter(|number| bounds.contains(number));
    found.ok_or_else(|| format!("it lies between {} and {}", bounds.start(), bounds.end()))
}

pub(super) fn seconds(
    value: &DeValue<'_>,
    bounds: RangeInclusive<u64>,
) -> Result<Duration, String> {
    whole(value, bounds).map(Duration::from_secs)
}

pub(super) fn milliseconds(
    value: &DeValue<'_>,
    bounds: RangeInclusive<u64>,
) -> Result<Duration, String> {
    whole(value, bounds).map(Duration::from_millis)
}

/// A time as `1s` or `250ms`, between bounds.
pub(super) fn time(
    value: &DeValue<'_>,
    bounds: RangeInclusive<Duration>,
) -> Result<Duration, String> {
    let text = match value.as_integer() {
        Some(number) => number.as_str(),
        None => text_of(value)?,
    };
    let time = values::span(text)?;
    match bounds.contains(&time) {
        true => Ok(time),
        false => {
            let (least, most) = (bounds.start(), bounds.end());
            let [least, most] = [least, most].map(|bound| humantime::format_duration(*bound));
            Err(format!("it lies between {least} and {most}"))
        }
    }
}

/// A size as `64MiB`, or in bytes, between bounds.
pub(super) fn size(value: &DeValue<'_>, bounds: RangeInclusive<usize>) -> Result<Size, String> {
    let text = match value.as_integer() {
        Some(number) => number.as_str(),
        None => text_of(value)?,
    };
    let Size(size) = values::size(text)?;
    match bounds.contains(&size) {
        true => Ok(Size(size)),
        false => {
            let (least, most) = (Size(*bounds.start()), Size(*bounds.end()));
            Err(format!("it lies between {least} and {most}"))
        }
    }
}

fn integer(number: &toml::de::DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Any value as BSON; whole numbers are as narrow as they can be, as in Extended JSON.
pub(super) fn bson(value: &DeValue<'_>) -> Result<Bson, String> {
    Ok(match value {
        DeValue::String(text) => Bson::String(text.as_ref().to_owned()),
        DeValue::Integer(number) => {
            let number = integer(number).ok_or("the number is too large")?;
            i32::try_from(number).map_or(Bson::Int64(number), Bson::Int32)
        }
        DeValue::Float(number) => {
            let number = number.as_str().parse();
            Bson::Double(number.map_err(|_| "not a number")?)
        }
        DeValue::Boolean(boolean) => Bson::Boolean(*boolean),
        DeValue::Datetime(time) => {
            let parsed = bson::DateTime::parse_rfc3339_str(time.to_string());
            let forms = "a time has a day and an offset, as in 2026-01-02T10:00:00Z";
            Bson::DateTime(parsed.map_err(|_| forms)?)
        }
        DeValue::Array(items) => {
            let items = items.iter().map(|item| bson(item.get_ref()));
            Bson::Array(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(_) => Bson::Document(document(value)?),
    })
}

/// A table as a BSON document, its keys in the order in which they were written.
pub(super) fn document(value: &DeValue<'_>) -> Result<Document, String> {
    let table = value
        .as_table()
        .ok_or_else(|| format!("a table is expected, not {}", described(value)))?;
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let mut document = Document::new();
    for (key, value) in entries {
        let key = key.get_ref().as_ref();
        let value = bson(value.get_ref()).map_err(|reason| format!("`{key}`: {reason}"))?;
        document.insert(key, value);
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use bson::doc;
    use toml::de::DeTable;

    use super::*;

    fn check(text: &str, expected: Result<Document, &str>) {
        let table = DeTable::parse(text).unwrap().into_inner();
        let found = document(&DeValue::Table(table));
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn any_value_becomes_bson() {
        check("", Ok(doc! {}));
        check(
            "z = 1_000\na = 0xff\nbig = 5_000_000_000\nhalf = 0.5\nyes = true",
            Ok(doc! {"z": 1_000, "a": 255, "big": 5_000_000_000_i64, "half": 0.5, "yes": true}),
        );
        check(
            "list = [1, 'two', { three = 3 }]\nin.ner = -1",
            Ok(doc! {"list": [1, "two", {"three": 3}], "in": {"ner": -1}}),
        );
        let time = bson::DateTime::parse_rfc3339_str("2026-01-02T10:00:00Z").unwrap();
        check("at = 2026-01-02T11:00:00+01:00", Ok(doc! {"at": time}));
        check(
            "at = 10:00:00",
            Err("`at`: a time has a day and an offset, as in 2026-01-02T10:00:00Z"),
        );
        check(
            "much = 9_999_999_999_999_999_999",
            Err("`much`: the number is too large"),
        );
    }

    #[test]
    fn sizes_and_times_have_units() {
        let read = |text: &str| {
            let table = DeTable::parse(text).unwrap().into_inner();
            size(table["n"].get_ref(), 1 << 10..=1 << 32).map(|Size(bytes)| bytes)
        };
        for (text, expected) in [
            ("n = '64MiB'", Ok(64 << 20)),
            ("n = '4 GiB'", Ok(4 << 30)),
            (
                "n = '1.5 KiB'",
                Err("a size is a whole number with a unit, as in `64MiB`"),
            ),
            ("n = '2MB'", Ok(2_000_000)),
            ("n = 65_536", Ok(64 << 10)),
            ("n = '65536'", Ok(64 << 10)),
            ("n = '64 mb'", Ok(64_000_000)),
            ("n = '64M'", Err("did you mean `64MiB`?")),
            ("n = '1 EiB'", Err("did you mean `1 MiB`?")),
            ("n = -1", Err("a size is a whole number with a unit")),
            ("n = '5GiB'", Err("it lies between 1KiB and 4GiB")),
            ("n = 17179869184", Err("it lies between 1KiB and 4GiB")),
            (
                "n = '20000000000000 GiB'",
                Err("a size is a whole number with a unit"),
            ),
            ("n = true", Err("a text is expected, not true or false")),
        ] {
            match (read(text), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{text}: {found}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        let second = Duration::from_secs(1);
        let read = |text: &str| {
            let table = DeTable::parse(text).unwrap().into_inner();
            time(table["n"].get_ref(), second..=60 * second)
        };
        assert_eq!(read("n = '1s 500ms'"), Ok(Duration::from_millis(1500)));
        assert_eq!(read("n = '0s'"), Err("it lies between 1s and 1m".into()));
        assert!(read("n = 5").unwrap_err().contains("did you mean `5s`?"));
    }

    #[test]
    fn numbers_keep_to_their_bounds() {
        for (text, expected) in [
            ("n = 2", Ok(2)),
            ("n = 0", Err("it lies between 1 and 256")),
            ("n = -1", Err("it lies between 1 and 256")),
            ("n = 257", Err("it lies between 1 and 256")),
            (
                "n = 1.5",
                Err("a whole number is expected, not a number with a fraction"),
            ),
            ("n = '2'", Err("a whole number is expected, not a text")),
        ] {
            let table = DeTable::parse(text).unwrap().into_inner();
            let found = whole::<u16>(table["n"].get_ref(), 1..=256);
            assert_eq!(found, expected.map_err(str::to_owned), "{text}");
        }
    }
}
