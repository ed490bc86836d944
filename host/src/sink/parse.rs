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
                    format!("it is not one of `{}`", FORMS.join("`, `")),
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
mod tests;
