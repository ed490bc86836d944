//! Cluster time.

use std::{fmt, str::FromStr};

/// A point in cluster time, unique for each oplog entry of one replica set.
///
/// Written `SECONDS:INCREMENT`, with seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: u32,
    /// Counts the entries of one second, from 1.
    pub increment: u32,
}

impl Timestamp {
    /// A point in cluster time.
    #[must_use]
    pub const fn new(seconds: u32, increment: u32) -> Self {
        Self { seconds, increment }
    }

    /// The smallest point after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.increment.checked_add(1) {
            Some(increment) => Self {
                seconds: self.seconds,
                increment,
            },
            None => Self {
                seconds: self.seconds.saturating_add(1),
                increment: 0,
            },
        }
    }

    /// The largest point before this one; itself where there is none.
    #[must_use]
    pub const fn before(self) -> Self {
        match (self.increment.checked_sub(1), self.seconds.checked_sub(1)) {
            (Some(increment), _) => Self {
                seconds: self.seconds,
                increment,
            },
            (None, Some(seconds)) => Self {
                seconds,
                increment: u32::MAX,
            },
            (None, None) => self,
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seconds, self.increment)
    }
}

impl FromStr for Timestamp {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (seconds, increment) = text.split_once(':').ok_or(())?;
        let parse = |digits: &str| {
            let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            all_digits.then(|| digits.parse().ok()).flatten().ok_or(())
        };
        Ok(Self::new(parse(seconds)?, parse(increment)?))
    }
}

impl From<(u32, u32)> for Timestamp {
    fn from((seconds, increment): (u32, u32)) -> Self {
        Self { seconds, increment }
    }
}

impl From<Timestamp> for bson::Timestamp {
    fn from(timestamp: Timestamp) -> Self {
        Self {
            time: timestamp.seconds,
            increment: timestamp.increment,
        }
    }
}

impl From<bson::Timestamp> for Timestamp {
    fn from(timestamp: bson::Timestamp) -> Self {
        Self {
            seconds: timestamp.time,
            increment: timestamp.increment,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let timestamp = Timestamp::new(1_700_000_001, 7);
        assert_eq!(timestamp.to_string().parse(), Ok(timestamp));
        for wrong in [
            "",
            "1",
            ":",
            "1:",
            ":1",
            "+1:2",
            "1:2:3",
            "4294967296:1",
            "-1:1",
        ] {
            assert_eq!(wrong.parse::<Timestamp>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn next_is_the_smallest_later_one() {
        assert_eq!(Timestamp::new(5, 1).next(), Timestamp::new(5, 2));
        assert_eq!(Timestamp::new(5, u32::MAX).next(), Timestamp::new(6, 0));
    }
}
