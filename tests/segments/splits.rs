//! Every document exactly once, whatever its `_id` and wherever the boundaries lie.

use anyhow::Result;
use bson::{Bson, Document, doc, oid::ObjectId};
use fastrand::Rng;
use oplet::{
    op::{Key, KeyRange},
    source::direct_read::{ReadOptions, Splitting, Stages, split},
};

use super::{Scene, ensure_each_once, ids, options, raw, scanning};
use crate::say;

/// With stages that change nothing, so that ranges are read through them.
fn staged() -> ReadOptions {
    let mut options = options();
    let stage = bson::rawdoc! { "$match": { "n": 1 } };
    options.stages = Stages::new(vec![stage]);
    options
}

/// Reads a collection of these `_id`s at splits of many kinds.
async fn each_once_at_every_split(create: Document, ids: Vec<Bson>, hint: &str) -> Result<()> {
    let scene = Scene::new(hint).await?;
    scene.create(create).await?;
    if !ids.is_empty() {
        scene.insert(ids.clone()).await?;
    }
    let target = scene.target().await?;
    assert_eq!(target.documents, Some(ids.len() as u64));
    let mut most = 0;
    for boundaries in [0, 1, 2, 3, 7, 31, 1_000] {
        let ranges = scene.ranges(&target, boundaries).await?;
        assert!(ranges.len() <= boundaries as usize + 1);
        most = most.max(ranges.len());
        for options in [options(), staged()] {
            let found = scene.read(&target, &ranges, &options).await?;
            ensure_each_once(&found, &ids)?;
        }
    }
    let found = scene.read(&target, &[KeyRange::all()], &scanning()).await?;
    ensure_each_once(&found, &ids)?;
    // Each key a boundary of its own, and the segments as short as can be.
    let all = scene.read(&target, &[KeyRange::all()], &options()).await?;
    let keys = all.iter().map(|found| found.key.clone()).skip(1);
    for options in [options(), staged()] {
        let single = KeyRange::all().cut(keys.clone());
        let found = scene.read(&target, &single, &options).await?;
        ensure_each_once(&found, &ids)?;
        let short = ReadOptions {
            documents_max: 1,
            ..options
        };
        let found = scene.read(&target, &[KeyRange::all()], &short).await?;
        ensure_each_once(&found, &ids)?;
    }
    assert!(
        most > ids.len() / 2,
        "{most} ranges of {} documents",
        ids.len()
    );
    scene.end().await;
    Ok(())
}

#[tokio::test]
async fn every_type_of_id_is_read_once_at_every_split() -> Result<()> {
    let seed = fastrand::u64(..);
    say(&format!("seed {seed}"));
    let ids = ids(&mut Rng::with_seed(seed), 150);
    each_once_at_every_split(doc! {}, ids, "types").await
}

#[tokio::test]
async fn clustered_collections_are_split_by_their_own_keys() -> Result<()> {
    let ids = ids(&mut Rng::with_seed(7), 100);
    let clustered = doc! { "clusteredIndex": { "key": { "_id": 1 }, "unique": true } };
    each_once_at_every_split(clustered, ids, "clustered").await
}

#[tokio::test]
async fn an_empty_collection_has_nothing_at_every_split() -> Result<()> {
    each_once_at_every_split(doc! {}, Vec::new(), "empty").await
}

/// Where `a` and `A` are one key, and `é` comes before `f`: boundaries mean what the server means.
#[tokio::test]
async fn collections_with_a_collation_are_split_in_its_order() -> Result<()> {
    let words = [
        "a", "B", "c", "Ä", "é", "e", "f", "Z", "z1", "Ω", "ß", "a-b", "ab", "-", "", "10", "9",
    ];
    let mut ids: Vec<Bson> = words.map(Bson::from).to_vec();
    for (i, word) in words.iter().enumerate() {
        ids.push(doc! { "w": word, "i": i as i32 / 5 }.into());
        ids.push(format!("{word}{i}").into());
    }
    ids.extend([
        1.into(),
        Bson::Null,
        true.into(),
        Bson::ObjectId(ObjectId::new()),
    ]);
    let strength = doc! { "collation": { "locale": "en", "strength": 2 } };
    let scene = Scene::new("collated").await?;
    scene.create(strength.clone()).await?;
    let target = scene.target().await?;
    assert!(!target.orders_by_bytes());
    scene.end().await;
    // What the collation takes for one key cannot be there twice.
    let mut kept: Vec<Bson> = Vec::new();
    for id in ids {
        let is_same = |other: &Bson| fold(other) == fold(&id);
        if !kept.iter().any(is_same) {
            kept.push(id);
        }
    }
    each_once_at_every_split(strength, kept, "collation").await
}

/// Letters without their accents: 'ä' and 'a' differ at strength 2, but 'Ä' and 'ä' do not.
fn fold(id: &Bson) -> String {
    id.to_string().to_lowercase()
}

/// One bracket of thousands between others of one each: the boundaries lie where the documents do.
#[tokio::test]
async fn boundaries_follow_the_documents() -> Result<()> {
    let scene = Scene::new("brackets").await?;
    let mut ids: Vec<Bson> = (0..20_000).map(Bson::Int32).collect();
    ids.extend([Bson::MinKey, "a".into(), true.into(), Bson::MaxKey]);
    scene.insert(ids.clone()).await?;
    let target = scene.target().await?;
    // Few enough that they are found by a sample, and not by going through all keys.
    for boundaries in [9, 49] {
        let ranges = scene.ranges(&target, boundaries).await?;
        assert_eq!(ranges.len(), boundaries as usize + 1);
        let mut sizes = Vec::new();
        let mut found = Vec::new();
        for range in &ranges {
            let part = scene
                .read(&target, std::slice::from_ref(range), &options())
                .await?;
            sizes.push(part.len());
            found.extend(part);
        }
        ensure_each_once(&found, &ids)?;
        let even = ids.len() / ranges.len();
        let largest = *sizes.iter().max().expect("there are ranges");
        assert!(largest < 4 * even, "{sizes:?}");
        // They come in the order of their keys.
        assert!(found.windows(2).all(|pair| pair[0].key < pair[1].key));
    }
    scene.end().await;
    Ok(())
}

/// What is inserted behind the last key, or before the first, after the bounds were taken is not read.
#[tokio::test]
async fn a_bounded_read_ends_with_the_last_key_of_its_beginning() -> Result<()> {
    let seed = fastrand::u64(..);
    say(&format!("seed {seed}"));
    let mut rng = Rng::with_seed(seed);
    let bounded = Splitting {
        boundaries_max: Some(5),
        is_bounded: true,
        ..Splitting::default()
    };
    let stages = Stages::default();
    let scene = Scene::new("bounded").await?;
    scene.create(doc! {}).await?;
    let target = scene.target().await?;
    assert_eq!(split(&scene.server, &target, &stages, &bounded).await?, []);
    for _ in 0..15 {
        scene.collection().delete_many(doc! {}).await?;
        let mut ids = ids(&mut rng, 20);
        ids.sort_by_cached_key(|id| {
            let (kind, value) = raw(id);
            Key::new(kind, &value)
        });
        // Any type may be the last one, and the first.
        let last = rng.usize(5..ids.len());
        let first = rng.usize(0..last);
        let there = &ids[first..=last];
        scene.insert(there.to_vec()).await?;
        let target = scene.target().await?;
        let ranges = split(&scene.server, &target, &stages, &bounded).await?;
        let found = scene.read(&target, &ranges, &options()).await?;
        ensure_each_once(&found, there)?;
        // Whole numbers, text, object ids and so on have a next one; others may let in some more.
        let before = ids[..first].iter().cloned();
        let (kind, value) = raw(&ids[last]);
        let next = Key::new(kind, &value).successor(true);
        let above = ids[last + 1..].iter().filter(|id| {
            let (kind, value) = raw(id);
            next.as_ref()
                .is_some_and(|next| Key::new(kind, &value) >= *next)
        });
        let outside: Vec<Bson> = before.chain(above.cloned()).collect();
        if !outside.is_empty() {
            scene.insert(outside).await?;
        }
        let found = scene.read(&target, &ranges, &options()).await?;
        ensure_each_once(&found, there)?;
    }
    scene.end().await;
    Ok(())
}
