//! The first and the last key.

use oplet_sdk::raw::Walk;

use super::{
    Error, Target,
    command::{AsOf, find_end},
    error::{ANSWER_TIME, ask},
};
use crate::{
    mongo::{Reply, Server, only_reply},
    op::{Key, KeyRange, Timestamp},
};

/// The range from the first to the last key, both in it, as they are at one moment at or after that time;
/// `None` where there is no document. Where text is compared by a collation, the range ends behind all text if it ends
/// with text, since nobody but the server knows what comes next.
pub(super) async fn bounds(
    server: &Server,
    target: &Target,
    after: Timestamp,
) -> Result<Option<KeyRange>, Error> {
    let what = format!("find the first and the last key of {}", target.namespace);
    ask(&what, || async {
        let database = server.client.database(target.database());
        let end = async |as_of, direction| {
            let command = find_end(target, as_of, direction);
            let reply = only_reply(&database, command, ANSWER_TIME).await?;
            end_of(&reply)
        };
        let newest = match target.inexact() {
            None => AsOf::After(after),
            Some(_) => AsOf::Current(after),
        };
        let (Some(first), at) = end(newest, 1).await? else {
            return Ok(None);
        };
        // Without a snapshot these are two moments; the last key is then the later one.
        let (last, _) = end(at.map_or(newest, AsOf::At), -1).await?;
        let by_bytes = target.orders_by_bytes();
        Ok(Some(KeyRange {
            to: last.unwrap_or_else(|| first.clone()).successor(by_bytes),
            // Whether a boundary lies behind it could not be told, and no key lies before it but later.
            from: Some(first).filter(|_| by_bytes),
        }))
    })
    .await
}

fn end_of(reply: &Reply) -> mongodb::error::Result<(Option<Key>, Option<Timestamp>)> {
    let read = || {
        let mut documents = Walk::new(reply.documents()?)?;
        let first = documents.next().transpose()?;
        let key = first.and_then(|first| Key::of_document(first.value));
        Ok((key, reply.at_cluster_time()?))
    };
    read().map_err(|malformed: oplet_sdk::raw::Malformed| mongodb::error::Error::custom(malformed))
}
