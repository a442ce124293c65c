//! Clocks that are wrong: libfaketime, which reads at each look at the clock how far it is off.

use anyhow::Context as _;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// A frontend's wall clock. Its monotonic one is left alone: a machine's is, too, when its time is set.
#[derive(Debug)]
pub(crate) struct Clock {
    file: PathBuf,
}

impl Clock {
    /// One that is right.
    pub(super) fn new(file: PathBuf) -> anyhow::Result<Self> {
        let clock = Self { file };
        clock.set(0)?;
        Ok(clock)
    }

    /// Has it be off by so many seconds from now on.
    pub(crate) fn set(&self, off_s: i64) -> anyhow::Result<()> {
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{off_s:+}s\n")).with_context(|| format!("writing {}", next.display()))?;
        // At once: a process may look at any moment.
        fs::rename(&next, &self.file).with_context(|| format!("renaming {}", next.display()))
    }

    pub(super) fn environment(&self) -> Vec<(String, OsString)> {
        let set = |name: &str, value: &str| (name.to_owned(), OsString::from(value));
        vec![
            ("FAKETIME_TIMESTAMP_FILE".to_owned(), self.file.clone().into()),
            set("FAKETIME_NO_CACHE", "1"),
            set("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            // The times of files are of no matter.
            set("NO_FAKE_STAT", "1"),
        ]
    }
}

/// The library that fakes time for processes of several threads.
pub(super) fn library() -> anyhow::Result<PathBuf> {
    let folders = fs::read_dir("/usr/lib").context("looking for libfaketime")?.flatten();
    let in_folder = |folder: &Path| folder.join("faketime/libfaketimeMT.so.1");
    let found = folders.map(|folder| in_folder(&folder.path())).find(|path| path.exists());
    found.context("there is no libfaketime (Debian package libfaketime)")
}

/// Removes what libfaketime has left of a process that was killed: one that gets the same id would find it.
pub(super) fn clean_up(process: u32) {
    for name in [format!("faketime_shm_{process}"), format!("sem.faketime_sem_{process}")] {
        // Most have left nothing.
        drop(fs::remove_file(Path::new("/dev/shm").join(name)));
    }
}
