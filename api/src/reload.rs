//! What is made of files, and made anew when they change.

use crate::metrics::ReloadMetrics;
use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// How often the files are looked at. They are read, not watched: that a file changes is told neither on every file system
/// nor, reliably, where a name is pointed at another file, as Kubernetes does with secrets.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a changed file has to stay as it is before it counts.
const SETTLED_AFTER: Duration = Duration::from_millis(200);

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It can't be read.
    #[error("can't read {}: {error}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It does not hold what it should.
    #[error("the {what} can't be used: {problem}")]
    Content {
        /// What it should hold.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
}

type Parse<T> = dyn Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync;

/// A value made of files. While they hold nothing of use, it stays what it was.
pub(crate) struct Reloaded<T> {
    what: &'static str,
    paths: Vec<PathBuf>,
    parse: Box<Parse<T>>,
    metrics: ReloadMetrics,
    value: ArcSwap<T>,
}

impl<T> fmt::Debug for Reloaded<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reloaded").field("what", &self.what).finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads the files, and goes on looking at them for as long as the value is used.
    ///
    /// # Errors
    /// [`ReloadError`], in words for the operator.
    pub(crate) fn open(
        what: &'static str,
        paths: Vec<PathBuf>,
        metrics: &ReloadMetrics,
        parse: impl Fn(&[Vec<u8>]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, ReloadError> {
        let contents = read(&paths)?;
        let value = parse(&contents).map_err(|problem| ReloadError::Content { what, problem })?;
        let metrics = metrics.clone();
        let this = Self { what, paths, parse: Box::new(parse), metrics, value: ArcSwap::from_pointee(value) };
        this.metrics.succeeded(what);
        let this = Arc::new(this);
        tokio::spawn(keep_up(Arc::downgrade(&this), fingerprint(&contents)));
        Ok(this)
    }

    /// What the files hold.
    pub(crate) fn current(&self) -> arc_swap::Guard<Arc<T>> {
        self.value.load()
    }

    /// Reads the files again, and tells what they were like.
    fn look(&self, seen: &[u8; 32]) -> Result<[u8; 32], ReloadError> {
        let contents = read(&self.paths)?;
        let found = fingerprint(&contents);
        if found != *seen {
            // One that is just being written may hold half of it, and that may be good to read.
            std::thread::sleep(SETTLED_AFTER);
            if fingerprint(&read(&self.paths)?) != found {
                return Ok(*seen);
            }
            let problem = |problem| ReloadError::Content { what: self.what, problem };
            self.value.store(Arc::new((self.parse)(&contents).map_err(problem)?));
        }
        Ok(found)
    }
}

async fn keep_up<T: Send + Sync + 'static>(value: std::sync::Weak<Reloaded<T>>, mut seen: [u8; 32]) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut problem = String::new();
    loop {
        looks.tick().await;
        let Some(value) = value.upgrade() else { return };
        let what = value.what;
        let metrics = value.metrics.clone();
        // Files are read where that holds up nobody.
        let looked = tokio::task::spawn_blocking(move || value.look(&seen)).await;
        match looked {
            Ok(Ok(found)) => {
                if found != seen {
                    tracing::info!(what, "read again");
                    metrics.succeeded(what);
                } else if !problem.is_empty() {
                    metrics.succeeded(what);
                }
                seen = found;
                problem.clear();
            }
            Ok(Err(error)) => {
                // Told once, and not each time it is found again.
                let told = std::mem::replace(&mut problem, error.to_string());
                if told != problem {
                    tracing::error!(what, "{error}; what was read before stays in use");
                    metrics.failed(what);
                }
            }
            Err(error) => tracing::error!(what, %error, "looking at files broke off"),
        }
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, ReloadError> {
    let content =
        |path: &PathBuf| std::fs::read(path).map_err(|error| ReloadError::Read { path: path.clone(), error });
    paths.iter().map(content).collect()
}

/// The contents themselves are not kept: some are secret.
fn fingerprint(contents: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for content in contents {
        hash.update(content.len().to_le_bytes());
        hash.update(content);
    }
    hash.finalize().into()
}
