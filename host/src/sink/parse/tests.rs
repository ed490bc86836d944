//! What is read of how a sink is set up, and what is refused.

use super::*;
use crate::sink::{Encoding, settings::FORMATS};

fn parse(text: &str) -> Spec {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn sinks_are_named_and_placed() {
    for (text, name, shown, encoding) in [
        ("stdout", "stdout", "stdout", FORMATS[0].1),
        (
            "lines=stdout#format=canonical",
            "lines",
            "lines=stdout",
            FORMATS[1].1,
        ),
        (
            "file:out.jsonl",
            "file",
            "file=file:out.jsonl",
            FORMATS[0].1,
        ),
        (
            "raw=file:/a/b=c.bson#format=bson",
            "raw",
            "raw=file:/a/b=c.bson",
            Encoding::Bson,
        ),
        ("null", "null", "null", Encoding::Bson),
        (
            "mongodb:shop.copies",
            "mongodb",
            "mongodb=mongodb:shop.copies",
            Encoding::Bson,
        ),
        (
            "far=mongodb://me:p%40ss@h1,h2/?replicaSet=rs#namespace=a.b",
            "far",
            "far=mongodb://h1,h2/",
            Encoding::Bson,
        ),
        (
            "https://h/in?token=1",
            "http",
            "http=https://h/in",
            FORMATS[0].1,
        ),
    ] {
        let spec = parse(text);
        assert_eq!(
            (spec.name.as_str(), spec.to_string().as_str()),
            (name, shown),
            "{text}"
        );
        assert_eq!(spec.encoding(), encoding, "{text}");
        assert!(!format!("{spec:?}").contains("p%40ss"), "{spec:?}");
    }
}

#[test]
fn settings_are_taken() {
    let spec = parse(
        "file:x#rotate-bytes=4096&rotate-age-s=60&batch-documents=7&batch-bytes=900&batch-age-ms=5\
         &queue-bytes=800&backoff-min-ms=20000&give-up-after-s=9",
    );
    let Kind::File(options) = &spec.kind else {
        panic!("{spec:?}");
    };
    assert_eq!(options.rotate_bytes, Some(4096));
    assert_eq!(options.rotate_age, Some(Duration::from_secs(60)));
    assert_eq!(spec.batching.documents_max, 7);
    assert_eq!(spec.batching.bytes_max, 800, "no more than can wait");
    assert_eq!(spec.batching.age_max, Duration::from_millis(5));
    assert_eq!(spec.retry.backoff_max, Duration::from_secs(20));
    assert_eq!(spec.retry.give_up_after, Some(Duration::from_secs(9)));
    let spec = parse("null#workers=3&time-limit-ms=50");
    assert_eq!(
        (spec.workers, spec.time_limit),
        (3, Duration::from_millis(50))
    );
}

#[test]
fn what_does_not_fit_is_refused_with_the_nearest_spelling() {
    for (text, message, nearest) in [
        (
            "sdtout",
            "sink `sdtout`: it is not one of `stdout`, `file:PATH`, `mongodb:DB.COLL`, `mongodb://HOST`, `mongodb+srv://HOST`, `http://HOST`, `https://HOST`, `null`",
            Some("stdout"),
        ),
        (
            "mongo:a.b",
            "sink `mongo:a.b`: it is not one of",
            Some("mongodb:DB.COLL"),
        ),
        (
            "htp://me:secret@h?t=secret",
            "sink `htp://h`: it is not one of",
            Some("http://HOST"),
        ),
        ("", "sink ``: it is not one of", None),
        (
            "file:",
            "sink `file:`: a file needs a path",
            Some("file:PATH"),
        ),
        (
            "stdout#format=jsonl",
            "sink `stdout`, `format`: `jsonl` is none of json",
            Some("json"),
        ),
        (
            "mongodb:a.b#moed=insert&workers=3",
            "sink `mongodb`, `moed`: not a setting of a `mongodb` sink",
            Some("mode"),
        ),
        (
            "http://me:secret@h/x",
            "sink `http://h/x`: the URL holds a name or a password",
            None,
        ),
        (
            "a=https://h/x#body=line&workers=8",
            "sink `a`, `body`: `line` is none of",
            Some("lines"),
        ),
        (
            "file:x#rotate_bytes=2048",
            "sink `file`, `rotate_bytes`: not a setting of a `file` sink",
            Some("rotate-bytes"),
        ),
        (
            "stdout#rotate-bytes=2048",
            "sink `stdout`, `rotate-bytes`: not a setting of a `stdout` sink",
            None,
        ),
        (
            "a=file:x#workers=2",
            "sink `a`, `workers`: not a setting of a `file` sink, which has one writer",
            None,
        ),
        (
            "null#batch-bytes=1_000",
            "sink `null`, `batch-bytes`: `1_000` is not a whole number",
            Some("1000"),
        ),
        (
            "null#batch-documents=0",
            "sink `null`, `batch-documents`: 0 is not from 1 to 1000000",
            Some("1"),
        ),
        (
            "null#workers",
            "sink `null`, `workers`: it has no value",
            Some("workers=VALUE"),
        ),
        (
            "null#workers=1&workers=2",
            "sink `null`, `workers`: it is given twice",
            None,
        ),
        (
            "null#backoff-min-ms=50&backoff-max-ms=20",
            "sink `null`, `backoff-max-ms`: it is less than `backoff-min-ms`",
            Some("50"),
        ),
    ] {
        let error = text.parse::<Spec>().expect_err(text);
        assert!(error.to_string().starts_with(message), "{error}");
        assert_eq!(error.nearest.as_deref(), nearest, "{text}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}

#[test]
fn names_that_cannot_be_used_are_refused() {
    let error = Spec::from_table(Some("my sink"), "null", Vec::new()).unwrap_err();
    assert_eq!(error.nearest.as_deref(), Some("mysink"));
    assert!(Spec::from_table(Some(""), "null", Vec::new()).is_err());
    let twice = [parse("null"), parse("stdout"), parse("null=file:x")];
    let error = Spec::check_names(&twice).unwrap_err();
    assert_eq!(
        error.to_string(),
        "sink `null`: another sink has the same name"
    );
    assert!(Spec::check_names(&twice[..2]).is_ok());
}

#[test]
fn values_may_hold_any_byte() {
    assert_eq!(percent_decoded("a%26b%3d%C3%A9%zz%2"), "a&b=é%zz%2");
}
