//! Finding keys that lie at even distances.

use oplet_sdk::raw::{Malformed, Walk};

use super::{
    Error, Target,
    command::{self, Amount, AsOf},
    error::{ANSWER_TIME, ask},
};
use crate::{
    mongo::{Reader, ReaderOptions, Server, describe},
    op::{Key, KeyRange, Timestamp},
};

/// Keys that are sampled per range: with so many, a range has seldom more than half as much again as
/// the others.
const SAMPLES_PER_RANGE: u64 = 20;

/// A collection is sampled at random places only where the sample is less than its twentieth part;
/// else the server would read and sort all of it, and going through the keys is cheaper and exact.
const DOCUMENTS_PER_SAMPLE_MIN: u64 = 20;

/// Keys per reply.
const BATCH: u32 = 20_000;

/// Which boundaries are asked for.
#[derive(Debug)]
pub(super) struct Boundaries<'a> {
    pub(super) count: u64,
    /// About how many documents there are.
    pub(super) documents: Option<u64>,
    pub(super) within: &'a KeyRange,
}

/// Keys of the target in the server's order, each once, that cut it into about even parts; at most as
/// many as wanted, and none where the server refuses a sample, since every document is read without
/// them, too.
pub(super) async fn find_boundaries(
    server: &Server,
    target: &Target,
    wanted: &Boundaries<'_>,
) -> Result<Vec<Key>, Error> {
    let size = (wanted.count + 1) * SAMPLES_PER_RANGE;
    let walked = size * DOCUMENTS_PER_SAMPLE_MIN;
    let documents = wanted.documents.unwrap_or(0);
    let what = format!("find boundaries in {}", target.namespace);
    let keys = if documents <= walked {
        // Rather too many: so many as are wanted are chosen of them.
        let every = (documents / (wanted.count + 1)).max(1);
        ask(&what, || async {
            walk(server, target, wanted.within, every).await
        })
        .await?
    } else {
        match ask(&what, || sample(server, target, size)).await {
            Ok(keys) => keys,
            Err(Error::Refused { what, source }) => {
                tracing::warn!(
                    what,
                    error = describe(&source),
                    "it is read without being split"
                );
                Vec::new()
            }
            Err(error) => return Err(error),
        }
    };
    let within = wanted.within;
    // A boundary at the beginning would make an empty range, which the server refuses.
    let inside = |key: &Key| within.contains(key.parts()) && within.from.as_ref() != Some(key);
    let mut keys: Vec<Key> = keys.into_iter().filter(inside).collect();
    // The same document may be sampled twice.
    keys.dedup();
    Ok(spread(keys, wanted.count))
}

/// So many of the keys, at even distances.
fn spread(keys: Vec<Key>, count: u64) -> Vec<Key> {
    let ranges = count as usize + 1;
    let len = keys.len();
    if len <= count as usize {
        return keys;
    }
    let places = (1..ranges).map(|i| (i as u128 * len as u128 / ranges as u128) as usize);
    places.map(|place| keys[place].clone()).collect()
}

/// Each key that comes `every` keys after another, from the first boundary on.
async fn walk(
    server: &Server,
    target: &Target,
    within: &KeyRange,
    every: u64,
) -> mongodb::error::Result<Vec<Key>> {
    let as_of = AsOf::Current(Timestamp::default());
    let amount = Amount {
        batch: BATCH,
        limit: None,
    };
    let command = command::find_keys(target, within, as_of, 0, amount);
    let mut keys = Vec::new();
    let mut at = 0;
    read(server, target, command, |key| {
        if at % every == 0 && at > 0 {
            keys.push(key());
        }
        at += 1;
    })
    .await?;
    Ok(keys)
}

async fn sample(server: &Server, target: &Target, size: u64) -> mongodb::error::Result<Vec<Key>> {
    let mut keys = Vec::new();
    let command = command::sample(target, size);
    read(server, target, command, |key| keys.push(key())).await?;
    Ok(keys)
}

/// Hands over every key that the command gives.
async fn read(
    server: &Server,
    target: &Target,
    command: bson::RawDocumentBuf,
    mut take: impl FnMut(&dyn Fn() -> Key),
) -> mongodb::error::Result<()> {
    let database = server.client.database(target.database());
    let options = ReaderOptions {
        batch_size: Some(BATCH),
        await_time: None,
        tailable: false,
    };
    let broken = |malformed: Malformed| mongodb::error::Error::custom(malformed);
    let mut reader = Reader::open_patient(database, command, options, ANSWER_TIME);
    while let Some(reply) = reader.next().await {
        let reply = reply?;
        for document in Walk::new(reply.documents().map_err(broken)?).map_err(broken)? {
            let document = document.map_err(broken)?.value;
            let id = Walk::find(document, "_id").map_err(broken)?;
            if let Some(id) = id {
                take(&|| Key::from(id));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use oplet_sdk::raw::kind;

    use super::*;

    #[test]
    fn boundaries_are_spread_evenly() {
        let keys = |numbers: &[i32]| -> Vec<Key> {
            let key = |n: &i32| Key::new(kind::INT32, &n.to_le_bytes());
            numbers.iter().map(key).collect()
        };
        let all: Vec<i32> = (0..100).collect();
        assert_eq!(spread(keys(&all), 3), keys(&[25, 50, 75]));
        assert_eq!(spread(keys(&[7]), 3), keys(&[7]));
        assert_eq!(spread(keys(&[]), 3), keys(&[]));
        assert_eq!(spread(keys(&[1, 2]), 1), keys(&[2]));
    }
}
