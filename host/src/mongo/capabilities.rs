//! What a server can be asked for, by its version.

/// What a server knows, so that nothing is asked of it that it does not.
///
/// Source: the pages "Change Events", "Change Streams with Document Pre- and Post-Images" and
/// "$changeStreamSplitLargeEvent (aggregation)" of the server's manual, each with "new in version".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// `$bsonSize` measures documents in a pipeline: since 4.4.
    pub measures_documents: bool,
    /// Collections can record documents as they were before and after a change, and change streams
    /// give them: since 6.0.
    pub images: bool,
    /// Change streams tell more with `showExpandedEvents`: since 6.0.
    pub expanded_events: bool,
    /// `$changeStreamSplitLargeEvent` sends an event over 16 MB in fragments: since 7.0, and 6.0.9.
    pub splits_large_events: bool,
}

impl Capabilities {
    /// Of a version such as `6.0.5` or `7.0.0-rc3`; what cannot be read counts as zero.
    #[must_use]
    pub fn of_version(version: &str) -> Self {
        let mut numbers = version.split(['.', '-']).map(|part| part.parse::<u32>());
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        let version = (next(), next(), next());
        Self {
            measures_documents: version >= (4, 4, 0),
            images: version >= (6, 0, 0),
            expanded_events: version >= (6, 0, 0),
            // 6.1 to 6.3 were made before 6.0.9.
            splits_large_events: version >= (7, 0, 0) || ((6, 0, 9)..(6, 1, 0)).contains(&version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_for_what_its_version_knows() {
        // Measures, images, expanded events, splits.
        for (version, expected) in [
            ("4.2.24", [false; 4]),
            ("4.4.0", [true, false, false, false]),
            ("5.0.31", [true, false, false, false]),
            ("6.0.5", [true, true, true, false]),
            ("6.0.9", [true; 4]),
            ("6.0.16-rc0", [true; 4]),
            ("6.2.1", [true, true, true, false]),
            ("7.0.0-rc3", [true; 4]),
            ("8.0.4", [true; 4]),
            ("unknown", [false; 4]),
        ] {
            let known = Capabilities::of_version(version);
            let known = [
                known.measures_documents,
                known.images,
                known.expanded_events,
                known.splits_large_events,
            ];
            assert_eq!(known, expected, "{version}");
        }
    }
}
