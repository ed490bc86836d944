//! Reading how a sink is set up.
//!
//! On the command line `[NAME=]URL[#KEY=VALUE&KEY=VALUE]`, in the configuration file a table with the
//! same keys. A value on the command line may have any byte as `%XX`, for one that holds `&` or `%`.

use std::{str::FromStr, time::Duration};

use super::{
    FileOptions, Kind, Spec, SpecError, StdoutOptions, http, mongodb,
    settings::{Settings, nearest},
    spec::NO_LIMIT,
};

/// Every form of a URL.
const FORMS: [&str; 8] = [
    "stdout",
    "file:PATH",
    "mongodb:DB.COLL",
    "mongodb://HOST",
    "mongodb+srv://HOST",
    "http://HOST",
    "https://HOST",
    "null",
];

/// Settings of every sink.
const COMMON_KEYS: [&str; 7] = [
    "batch-documents",
    "batch-bytes",
    "batch-age-ms",
    "backoff-min-ms",
    "backoff-max-ms",
    "give-up-after-s",
    "queue-bytes",
];

/// Settings of sinks that are not written by a thread of their own.
const CONCURRENT_KEYS: [&str; 2] = ["workers", "time-limit-ms"];

/// Settings that the rooms of these kinds take out themselves, for hints.
const MONGODB_KEYS: [&str; 6] = [
    "namespace",
    "namespace-field",
    "mode",
    "mode-field",
    "key",
    "transactional",
];
const HTTP_KEYS: [&str; 8] = [
    "body",
    "header.NAME",
    "bearer-token-file",
    "bearer-token-env",
    "basic-user",
    "basic-password-file",
    "basic-password-env",
    "ca-file",
];

/// How long a name may be; it stands in metrics and dead letters.
const NAME_LENGTH_MAX: usize = 64;

impl FromStr for Spec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (name, url, pairs) = Self::parts(text)?;
        Self::from_table(name, url, pairs)
    }
}

/// A sink's name, where it has one, its URL, and its settings, each with its value.
type Parts<'a> = (Option<&'a str>, &'a str, Vec<(String, String)>);

impl Spec {
    /// Takes `[NAME=]URL[#KEY=VALUE&KEY=VALUE]` apart; what is in the parts is not looked at.
    ///
    /// # Errors
    /// [`SpecError`] for a setting without a value.
    pub fn parts(text: &str) -> Result<Parts<'_>, SpecError> {
        let (name, rest) = match text.split_once('=') {
            Some((name, rest)) if name.chars().all(is_of_a_name) => (Some(name), rest),
            _ => (None, text),
        };
        let (url, settings) = rest.split_once('#').unwrap_or((rest, ""));
        let mut pairs = Vec::new();
        for setting in settings.split('&').filter(|setting| !setting.is_empty()) {
            let Some((key, value)) = setting.split_once('=') else {
                return Err(SpecError {
                    sink: name.map_or_else(|| without_secrets(url), str::to_owned),
                    key: Some(setting.to_owned()),
                    reason: "it has no value".to_owned(),
                    nearest: Some(format!("{setting}=VALUE")),
                });
            };
            pairs.push((key.to_owned(), percent_decoded(value)));
        }
        Ok((name, url, pairs))
    }

    /// Sets up a sink from its URL and its settings as text, as they stand in a table of the
    /// configuration file. Without a name it has that of its kind.
    ///
    /// # Errors
    /// [`SpecError`]: a URL of no known form, a setting that its kind does not have, or a value that
    /// does not fit.
    pub fn from_table(
        name: Option<&str>,
        url: &str,
        pairs: Vec<(String, String)>,
    ) -> Result<Self, SpecError> {
        let sink = name.map_or_else(|| without_secrets(url), str::to_owned);
        let mut settings = Settings { sink, pairs };
        if let Some(name) = name
            && (name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.chars().all(is_of_a_name))
        {
            let fit: String = name.chars().filter(|c| is_of_a_name(*c)).collect();
            return Err(settings.refuse(
                Some("name"),
                format!(
                    "a name has 1 to {NAME_LENGTH_MAX} letters, digits, dots, hyphens and underscores"
                ),
                (!fit.is_empty() && fit.len() <= NAME_LENGTH_MAX).then_some(fit),
            ));
        }
        let kind = settings.kind(url)?;
        let name = name.unwrap_or(kind.as_str());
        settings.sink = name.to_owned();
        let mut spec = Self::new(name, kind, without_secrets(url));
        settings.common(&mut spec)?;
        settings.end(&spec.kind)?;
        Ok(spec)
    }
}

impl Settings {
    fn kind(&mut self, url: &str) -> Result<Kind, SpecError> {
        let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
        match (scheme, rest) {
            ("stdout", "") => {
                let format = self.format()?;
                Ok(Kind::Stdout(StdoutOptions { format }))
            }
            ("null", "") => Ok(Kind::Null),
            ("file", "") => Err(self.refuse(
                None,
                "a file needs a path".to_owned(),
                Some("file:PATH".to_owned()),
            )),
            ("file", path) => {
                // `file:///var/x` is what a URL says; `file:/var/x` and `file:x` are what people write.
                let path = path.strip_prefix("//").unwrap_or(path);
                Ok(Kind::File(FileOptions {
                    path: path.into(),
                    format: self.format()?,
                    rotate_bytes: self.number("rotate-bytes", 1 << 10, u64::MAX)?,
                    rotate_age: self
                        .number("rotate-age-s", 1, u64::from(u32::MAX))?
                        .map(Duration::from_secs),
                }))
            }
            ("mongodb" | "mongodb+srv", _) => mongodb::Options::from_pairs(url, &mut self.pairs)
                .map(Kind::Mongodb)
                .map_err(|error| self.refused(error)),
            ("http" | "https", _) => http::Options::from_pairs(url, &mut self.pairs)
                .map(Kind::Http)
                .map_err(|error| self.refused(error)),
            _ => {
                let scheme_of = |form: &'static str| form.split(':').next().unwrap_or(form);
                let near = nearest(scheme, FORMS.map(scheme_of));
                let near =
                    near.and_then(|near| FORMS.into_iter().find(|form| scheme_of(form) == near));
                Err(self.refuse(
                    None,
                    format!("not one of `{}`", FORMS.join("`, `")),
                    near.map(str::to_owned),
                ))
            }
        }
    }

    fn common(&mut self, spec: &mut Spec) -> Result<(), SpecError> {
        let batching = &mut spec.batching;
        self.count("batch-documents", 1_000_000, &mut batching.documents_max)?;
        self.count("batch-bytes", 1 << 30, &mut batching.bytes_max)?;
        if let Some(age) = self.milliseconds("batch-age-ms", 0)? {
            batching.age_max = age;
        }
        let retry = &mut spec.retry;
        if let Some(delay) = self.milliseconds("backoff-min-ms", 1)? {
            retry.backoff_min = delay;
            retry.backoff_max = retry.backoff_max.max(delay);
        }
        if let Some(delay) = self.milliseconds("backoff-max-ms", 1)? {
            if delay < retry.backoff_min {
                let reason = "it is less than `backoff-min-ms`".to_owned();
                let least = retry.backoff_min.as_millis().to_string();
                return Err(self.refuse(Some("backoff-max-ms"), reason, Some(least)));
            }
            retry.backoff_max = delay;
        }
        retry.give_up_after = self
            .number("give-up-after-s", 1, u64::from(u32::MAX))?
            .map(Duration::from_secs);
        self.count("queue-bytes", u64::from(u32::MAX), &mut spec.queue_bytes)?;
        // What waits for a batch to fill is in the queue: a larger batch would never fill.
        spec.batching.bytes_max = spec.batching.bytes_max.min(spec.queue_bytes);
        if spec.kind.is_concurrent() {
            self.count("workers", 64, &mut spec.workers)?;
            if let Some(limit) = self.milliseconds("time-limit-ms", 1)? {
                spec.time_limit = limit;
            }
        } else {
            debug_assert_eq!((spec.workers, spec.time_limit), (1, NO_LIMIT));
        }
        Ok(())
    }

    /// Refuses what is left.
    fn end(self, kind: &Kind) -> Result<(), SpecError> {
        let Some((key, _)) = self.pairs.first() else {
            return Ok(());
        };
        let own: &[&'static str] = match kind {
            Kind::Stdout(_) => &["format"],
            Kind::File(_) => &["format", "rotate-bytes", "rotate-age-s"],
            Kind::Mongodb(_) => &MONGODB_KEYS,
            Kind::Http(_) => &HTTP_KEYS,
            Kind::Null => &[],
        };
        let concurrent: &[&'static str] = match kind.is_concurrent() {
            true => &CONCURRENT_KEYS,
            false => &[],
        };
        let known = own.iter().chain(&COMMON_KEYS).chain(concurrent).copied();
        let reason = match CONCURRENT_KEYS.contains(&key.as_str()) {
            true => format!(
                "not a setting of a `{}` sink, which has one writer that cannot be called off",
                kind.as_str()
            ),
            false => format!("not a setting of a `{}` sink", kind.as_str()),
        };
        Err(self.refuse(Some(key), reason, nearest(key, known)))
    }
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// A URL without the password and without the query, where tokens stand.
fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    if scheme == "file" {
        return url.to_owned();
    }
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let rest = &rest[..end];
    // The last `@` before the path, since passwords hold what they should not.
    let host = match rest.rfind('@') {
        Some(at) => &rest[at + 1..],
        None => rest,
    };
    format!("{scheme}://{host}")
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, others)) = rest.split_first() {
        let hex = |place: usize| {
            others
                .get(place)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &others[2..];
            }
            _ => {
                bytes.push(first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod documented;
#[cfg(test)]
mod tests {
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
                "sink `sdtout`: not one of `stdout`, `file:PATH`, `mongodb:DB.COLL`, `mongodb://HOST`, `mongodb+srv://HOST`, `http://HOST`, `https://HOST`, `null`",
                Some("stdout"),
            ),
            (
                "mongo:a.b",
                "sink `mongo:a.b`: not one of",
                Some("mongodb:DB.COLL"),
            ),
            (
                "htp://me:secret@h?t=secret",
                "sink `htp://h`: not one of",
                Some("http://HOST"),
            ),
            ("", "sink ``: not one of", None),
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
}
