//! The engine: what compiles modules and stops the calls that take too long.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::{Cache, CacheConfig};

use super::cache_directory;
use super::compiling::Compilers;
use super::error::Error;
use super::limits::Limits;
use super::runtime::{Code, Runtime};

/// How an [`Engine`] is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where compiled modules are kept; without one each start compiles. The directory is made when
    /// it is missing, for its owner alone, and refused when others can write to it: what lies there
    /// is run as native code.
    pub cache_directory: Option<PathBuf>,
    /// What its modules may have at most, see [`Limits::within`].
    pub limits: Limits,
    /// Instances that may live at the same time, over all modules: lanes by modules, twice during a
    /// swap, and some to spare.
    pub instances_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_directory: None,
            limits: Limits::default(),
            instances_max: 64,
        }
    }
}

/// Compiles modules, and interrupts calls at their deadline. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    cache: Option<Cache>,
    compilers: Compilers,
    plain: Arc<Runtime>,
    /// Made when the first module asks for it. The lock is held while it is made.
    exact: Mutex<Option<Arc<Runtime>>>,
}

impl Engine {
    /// Sets up an engine and starts its ticker thread, which ends by itself when the engine and all
    /// its modules are gone.
    ///
    /// # Errors
    /// [`Error::CacheDirectory`] and [`Error::CacheDirectoryOpen`] for a directory that cannot be
    /// used or trusted; [`Error::Engine`] when wasmtime refuses the settings on this machine;
    /// [`Error::Ticker`] when no thread can be started.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let cache = options
            .cache_directory
            .as_deref()
            .map(|path| {
                let mut config = CacheConfig::new();
                config.with_directory(cache_directory::prepare(path)?);
                Cache::new(config).map_err(Error::engine)
            })
            .transpose()?;
        let plain = Arc::new(Runtime::new(options, cache.clone(), Code::Plain)?);
        Ok(Self {
            inner: Arc::new(Inner {
                options: options.clone(),
                cache,
                compilers: Compilers::default(),
                plain,
                exact: Mutex::new(None),
            }),
        })
    }

    /// What its modules may have at most, see [`Limits::within`].
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.options.limits
    }

    /// Modules taken from the cache, compiled earlier. `0` without a cache.
    #[must_use]
    pub fn cache_hits(&self) -> usize {
        self.inner.cache.as_ref().map_or(0, Cache::cache_hits)
    }

    /// Modules that had to be compiled and went into the cache. `0` without a cache.
    #[must_use]
    pub fn cache_misses(&self) -> usize {
        self.inner.cache.as_ref().map_or(0, Cache::cache_misses)
    }

    /// Whether instances come from a pool that was reserved at the start, or are made on demand.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.inner.plain.is_pooled
    }

    /// The threads that compile.
    pub(super) fn compilers(&self) -> &Compilers {
        &self.inner.compilers
    }

    /// What compiles to that code.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn runtime(&self, code: Code) -> Result<Arc<Runtime>, Error> {
        let Inner {
            options,
            cache,
            plain,
            exact,
            ..
        } = &*self.inner;
        if code == Code::Plain {
            return Ok(plain.clone());
        }
        let mut exact = exact.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match &*exact {
            Some(runtime) => runtime.clone(),
            None => exact
                .insert(Arc::new(Runtime::new(options, cache.clone(), code)?))
                .clone(),
        })
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("limits", &self.inner.options.limits)
            .field("pooled", &self.inner.plain.is_pooled)
            .finish_non_exhaustive()
    }
}
