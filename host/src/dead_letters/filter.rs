//! Which letters are meant.

use bson::{Bson, DateTime, Document, doc};

use super::{DeadLetter, Place};

/// Which letters are meant; an empty filter means all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Of the run of that name.
    pub name: Option<String>,
    /// Of the module of that name.
    pub module: Option<String>,
    /// Of ops in `db.coll`, or anywhere in `db`.
    pub namespace: Option<String>,
    /// Of that class of failure.
    pub kind: Option<String>,
    /// That failed last at this time or later, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// That failed last before this time, in milliseconds since 1970.
    pub until_ms: Option<i64>,
    /// Whose ids begin so.
    pub id_prefix: Option<String>,
    /// The first so many, in the order of their ops.
    pub limit: Option<u64>,
}

impl Filter {
    /// Whether a letter is meant; [`limit`](Self::limit) aside.
    #[must_use]
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        fn is(wanted: Option<&String>, value: &str) -> bool {
            wanted.is_none_or(|wanted| wanted == value)
        }
        is(self.name.as_ref(), &letter.name)
            && is(self.module.as_ref(), &letter.module)
            && is(self.kind.as_ref(), &letter.kind)
            && self.namespace.as_ref().is_none_or(|namespace| {
                let rest = letter.namespace.strip_prefix(namespace.as_str());
                rest.is_some_and(|rest| {
                    rest.is_empty() || (!namespace.contains('.') && rest.starts_with('.'))
                })
            })
            && self
                .since_ms
                .is_none_or(|since| letter.last_failed_ms >= since)
            && self
                .until_ms
                .is_none_or(|until| letter.last_failed_ms < until)
            && self
                .id_prefix
                .as_ref()
                .is_none_or(|prefix| letter.id.starts_with(prefix.as_str()))
    }

    /// The same as a query, for letters behind a place.
    pub(super) fn query(&self, after: Option<&Place>) -> Document {
        let mut all: Vec<Document> = Vec::new();
        for (field, wanted) in [
            ("name", &self.name),
            ("module", &self.module),
            ("kind", &self.kind),
        ] {
            all.extend(wanted.as_ref().map(|wanted| doc! { field: wanted }));
        }
        if let Some(namespace) = &self.namespace {
            all.push(match namespace.contains('.') {
                true => doc! { "namespace": namespace },
                false => doc! { "$or": [
                    { "namespace": namespace },
                    // `/` follows `.`: all names that begin with the database and a dot.
                    { "namespace": { "$gte": format!("{namespace}."), "$lt": format!("{namespace}/") } },
                ] },
            });
        }
        for (operator, time) in [("$gte", self.since_ms), ("$lt", self.until_ms)] {
            let date = time.map(DateTime::from_millis);
            all.extend(date.map(|date| doc! { "lastFailed": { operator: date } }));
        }
        if let Some(prefix) = &self.id_prefix {
            let end = format!("{prefix}{}", char::MAX);
            all.push(doc! { "_id": { "$gte": prefix, "$lt": end } });
        }
        if let Some(after) = after {
            let time = bson::Timestamp::from(after.cluster_time);
            let at = doc! { "clusterTime": time, "index": after.index };
            let mut same = at.clone();
            same.insert("_id", doc! { "$gt": &after.id });
            all.push(doc! { "$or": [
                { "clusterTime": { "$gt": time } },
                { "clusterTime": time, "index": { "$gt": after.index } },
                same,
            ] });
        }
        match all.is_empty() {
            true => doc! {},
            false => doc! { "$and": all.into_iter().map(Bson::Document).collect::<Vec<_>>() },
        }
    }
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn each_part_has_to_match() {
        let op = rawdoc! { "namespace": "shop.orders", "opId": "17:3:0" };
        let mut letter = DeadLetter::new("run", "audit", "9f", op.as_bytes());
        letter = letter.failed("trap", "handle", "");
        letter.last_failed_ms = 100;
        let text = |text: &str| Some(text.to_owned());
        let with = |set: &dyn Fn(&mut Filter)| {
            let mut filter = Filter::default();
            set(&mut filter);
            filter.matches(&letter)
        };
        assert!(Filter::default().matches(&letter));
        for namespace in ["shop.orders", "shop"] {
            assert!(with(&|filter| filter.namespace = text(namespace)));
        }
        for namespace in ["shop.order", "sho", "shop.", "shop.orders.x"] {
            assert!(!with(&|filter| filter.namespace = text(namespace)));
        }
        assert!(with(&|filter| filter.id_prefix = text("run/audit/17:")));
        assert!(!with(&|filter| filter.id_prefix = text("audit")));
        assert!(with(&|filter| filter.since_ms = Some(100)));
        assert!(!with(&|filter| filter.until_ms = Some(100)));
        assert!(!with(&|filter| filter.kind = text("reject")));
        assert!(!with(&|filter| filter.name = text("other")));
        assert!(!with(&|filter| filter.module = text("other")));
    }
}
