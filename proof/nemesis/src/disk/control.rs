//! The library in the process, and what it is told.

use anyhow::{Context as _, ensure};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SOURCE: &str = include_str!("shim.c");
/// The words of the file that is shared with the library: as `struct control` there has them.
const WORDS: usize = 8;
const IS_FULL: usize = 0;
const ROOM_BYTES: usize = 1;
const SYNCS_FAIL: usize = 2;
const SYNC_DELAY_MS: usize = 3;
const LOADED: usize = 4;

/// The library, compiled, with the files by which one process and its children are told what to do.
#[derive(Debug)]
pub struct Shim {
    library: PathBuf,
    data: PathBuf,
    control_path: PathBuf,
    control: File,
    journal: Option<PathBuf>,
}

/// What the library has done since it was made. Counted over restarts of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Processes that have loaded it.
    pub loaded: u32,
    /// Writes answered by ENOSPC.
    pub writes_refused: u32,
    /// Syncs answered by EIO.
    pub syncs_failed: u32,
    /// Syncs that took longer.
    pub syncs_slowed: u32,
}

impl Shim {
    /// Compiles the library into `folder`, for a process whose data is in `data` (which need not be there yet,
    /// but the folder it is to be in must), with a journal if it is wanted.
    ///
    /// # Errors
    /// Where there is no C compiler, or something can't be written.
    pub fn build(folder: &Path, data: &Path, has_journal: bool) -> anyhow::Result<Self> {
        let source = folder.join("shim.c");
        std::fs::write(&source, SOURCE).with_context(|| format!("writing {}", source.display()))?;
        let library = folder.join("shim.so");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-pthread", "-o"]).arg(&library).arg(&source);
        let output = cc.output().context("running cc (Debian packages gcc and libc6-dev)")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cc failed on the library for faults of disks: {said}");
        let control_path = folder.join("shim-control");
        let mut open = OpenOptions::new();
        let control = open.read(true).write(true).create(true).truncate(true).open(&control_path);
        let control = control.with_context(|| format!("making {}", control_path.display()))?;
        control.write_all_at(&[0; WORDS * 4], 0).context("writing to the library's control")?;
        let journal = has_journal.then(|| folder.join("shim-journal"));
        let data = real_path(data)?;
        Ok(Self { library, data, control_path, control, journal })
    }

    /// The library, to be preloaded.
    #[must_use]
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The process's environment, beside `LD_PRELOAD`.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        let mut environment = vec![
            ("NEMESIS_DISK_FOLDER".to_owned(), text(&self.data)),
            ("NEMESIS_DISK_CONTROL".to_owned(), text(&self.control_path)),
        ];
        environment.extend(self.journal.iter().map(|path| ("NEMESIS_DISK_JOURNAL".to_owned(), text(path))));
        environment
    }

    /// The file that is shared with the library.
    #[must_use]
    pub fn control_path(&self) -> &Path {
        &self.control_path
    }

    /// Where the journal is, if one is kept.
    #[must_use]
    pub fn journal(&self) -> Option<&Path> {
        self.journal.as_deref()
    }

    /// Has writes fail once so many bytes are written; none: they succeed again.
    ///
    /// # Errors
    /// Where the control can't be written.
    pub fn fill_up(&self, room_bytes: Option<u32>) -> anyhow::Result<()> {
        self.tell(ROOM_BYTES, room_bytes.unwrap_or_default())?;
        self.tell(IS_FULL, room_bytes.is_some().into())
    }

    /// Whether syncs fail.
    ///
    /// # Errors
    /// Where the control can't be written.
    pub fn fail_syncs(&self, fail: bool) -> anyhow::Result<()> {
        self.tell(SYNCS_FAIL, fail.into())
    }

    /// Has each sync take so much longer.
    ///
    /// # Errors
    /// Where the control can't be written.
    pub fn delay_syncs(&self, delay: Duration) -> anyhow::Result<()> {
        self.tell(SYNC_DELAY_MS, delay.as_millis().try_into().unwrap_or(u32::MAX))
    }

    /// What it has done so far.
    ///
    /// # Errors
    /// Where the control can't be read.
    pub fn counts(&self) -> anyhow::Result<Counts> {
        let word = |at: usize| {
            let mut bytes = [0; 4];
            let read = self.control.read_exact_at(&mut bytes, (at * 4) as u64);
            read.map(|()| u32::from_ne_bytes(bytes)).context("reading the library's control")
        };
        Ok(Counts {
            loaded: word(LOADED)?,
            writes_refused: word(LOADED + 1)?,
            syncs_failed: word(LOADED + 2)?,
            syncs_slowed: word(LOADED + 3)?,
        })
    }

    fn tell(&self, word: usize, value: u32) -> anyhow::Result<()> {
        let told = self.control.write_all_at(&value.to_ne_bytes(), (word * 4) as u64);
        told.context("writing to the library's control")
    }
}

/// A path whose last part need not be there, without symbolic links.
fn real_path(path: &Path) -> anyhow::Result<PathBuf> {
    let folder = path.parent().context("the data needs a folder to be in")?;
    let real = folder.canonicalize().with_context(|| format!("{} is not there", folder.display()))?;
    Ok(real.join(path.file_name().context("the data needs a name")?))
}
