//! How far it has come, on standard error: a bar on a terminal, elsewhere a line now and then.

use super::files::Pieces;
use futures_util::StreamExt as _;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// How often there is a line.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Clones show the same.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    what: String,
    bar: ProgressBar,
}

impl Progress {
    /// Of something of so many bytes, if that is known.
    pub(super) fn of(what: String, bytes: Option<u64>) -> Self {
        let (bar, template) = match bytes {
            Some(bytes) => {
                (ProgressBar::new(bytes), "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
            }
            None => (ProgressBar::new_spinner(), "{spinner} {msg} {bytes} {bytes_per_sec}"),
        };
        // The templates are right; what is wrong about one would show as the default style.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.clone());
        Self { what, bar }
    }

    /// The same pieces, counted.
    pub(super) fn watch(&self, pieces: Pieces) -> Pieces {
        let Self { what, bar } = self.clone();
        let mut last_line = Instant::now();
        let counted = pieces.inspect(move |piece| {
            bar.inc(piece.as_ref().map_or(0, |piece| piece.len() as u64));
            if bar.is_hidden() && last_line.elapsed() >= LINE_EVERY {
                last_line = Instant::now();
                eprintln!("{what}: {} so far", HumanBytes(bar.position()));
            }
        });
        counted.boxed()
    }

    /// It is done: the last line.
    pub(super) fn done(&self, what: &str) {
        self.bar.finish_and_clear();
        eprintln!("{what}");
    }
}
