//! Where dead letters are kept.

use std::{collections::VecDeque, path::PathBuf, sync::Arc};

use mongodb::Client;

use super::{
    DeadLetter, Error, Filter, Place,
    collection::Collection,
    file::{File, Index},
};
use crate::op::StoreSpec;

/// Where dead letters are kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Collection(Collection),
    File(File),
}

impl Store {
    /// The store that is meant, on that deployment if it is a collection. Nothing is opened yet.
    #[must_use]
    pub fn open(spec: &StoreSpec, client: &Client) -> Self {
        match spec {
            StoreSpec::Mongodb {
                database,
                collection,
            } => Self {
                kind: Kind::Collection(Collection::new(client, database, collection)),
            },
            StoreSpec::File(path) => Self::file(path.clone()),
        }
    }

    /// A file, which needs no deployment.
    #[must_use]
    pub fn file(path: PathBuf) -> Self {
        Self {
            kind: Kind::File(File::new(path)),
        }
    }

    /// What it is called in messages.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.kind {
            Kind::Collection(collection) => collection.namespace(),
            Kind::File(file) => file.path().display().to_string(),
        }
    }

    /// Stores letters, so that they outlast a crash of this machine (a file), or of the primary (a
    /// collection). Of a letter that is there already only attempts and times change: attempts
    /// and the last time never fall, the first time never rises.
    ///
    /// # Errors
    /// When it is not certain that all are stored; storing all of them again does no harm.
    pub async fn insert(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        match &self.kind {
            Kind::Collection(collection) => collection.insert(letters).await,
            Kind::File(file) => {
                let letters = letters.to_vec();
                blocking(file, move |file| file.insert(&letters)).await
            }
        }
    }

    /// The letters that are meant, in the order of their ops.
    #[must_use]
    pub fn list(&self, filter: Filter) -> Letters {
        Letters {
            left: filter.limit.unwrap_or(u64::MAX),
            store: self.clone(),
            filter,
            after: None,
            fetched: VecDeque::new(),
            index: None,
        }
    }

    /// The letter of that id.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn get(&self, id: &str) -> Result<Option<DeadLetter>, Error> {
        match &self.kind {
            Kind::Collection(collection) => collection.get(id).await,
            Kind::File(file) => {
                let id = id.to_owned();
                blocking(file, move |file| file.index()?.get(&id)).await
            }
        }
    }

    /// How many letters are meant.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn count(&self, filter: &Filter) -> Result<u64, Error> {
        let limit = filter.limit.unwrap_or(u64::MAX);
        match &self.kind {
            Kind::Collection(collection) => Ok(collection.count(filter).await?.min(limit)),
            Kind::File(_) => {
                let mut letters = self.list(filter.clone());
                let mut count = 0;
                while letters.next().await?.is_some() {
                    count += 1;
                }
                Ok(count)
            }
        }
    }

    /// Removes letters, and says how many there were.
    ///
    /// # Errors
    /// When it is not certain that all are removed; removing all of them again does no harm.
    pub async fn remove(&self, ids: &[String]) -> Result<u64, Error> {
        self.settle(ids, &[]).await
    }

    /// Removes letters, and tells the latest failure of others; those that are no longer there do not
    /// come back. Returns how many were removed.
    ///
    /// # Errors
    /// When it is not certain that all of it is done; doing all of it again does no harm.
    pub async fn settle(&self, removed: &[String], updated: &[DeadLetter]) -> Result<u64, Error> {
        if removed.is_empty() && updated.is_empty() {
            return Ok(0);
        }
        match &self.kind {
            Kind::Collection(collection) => {
                let count = collection.remove(removed).await?;
                collection.update(updated).await?;
                Ok(count)
            }
            Kind::File(file) => {
                let (removed, updated) = (removed.to_vec(), updated.to_vec());
                blocking(file, move |file| file.settle(&removed, &updated)).await
            }
        }
    }
}

/// Works on a file where waiting for the disk, or for its lock, holds nothing else.
async fn blocking<T: Send + 'static>(
    file: &File,
    work: impl FnOnce(&File) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let file = file.clone();
    let work = tokio::task::spawn_blocking(move || work(&file));
    work.await.expect("working on a file does not panic")
}

/// Letters, one after the other, in the order of their ops. It may be left alone for any time: a
/// collection is asked by pages, a file is seen as it was at first.
#[derive(Debug)]
pub struct Letters {
    store: Store,
    filter: Filter,
    after: Option<Place>,
    left: u64,
    fetched: VecDeque<DeadLetter>,
    index: Option<Arc<Index>>,
}

impl Letters {
    /// The next letter; none at the end. After an error it may be asked again.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn next(&mut self) -> Result<Option<DeadLetter>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.fetched.is_empty() {
            self.fetch().await?;
        }
        let next = self.fetched.pop_front();
        if let Some(letter) = &next {
            self.after = Some(letter.place());
            self.left -= 1;
        }
        Ok(next)
    }

    async fn fetch(&mut self) -> Result<(), Error> {
        let file = match &self.store.kind {
            Kind::Collection(collection) => {
                let page = collection.page(&self.filter, self.after.as_ref()).await?;
                self.fetched.extend(page);
                return Ok(());
            }
            Kind::File(file) => file,
        };
        let index = match &self.index {
            Some(index) => index.clone(),
            None => Arc::new(blocking(file, File::index).await?),
        };
        self.index = Some(index.clone());
        let (filter, after) = (self.filter.clone(), self.after.clone());
        let next = blocking(file, move |_| index.next(&filter, after.as_ref())).await?;
        self.fetched.extend(next);
        Ok(())
    }
}
