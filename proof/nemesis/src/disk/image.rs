//! A disk that may lose what was not synced: files as the process sees them, files as they surely are on the
//! disk, and the changes in between.

use super::journal::Event;
use crate::random::Random;
use anyhow::Context as _;
use std::collections::BTreeMap;
use std::path::Path;

/// Disks write whole sectors.
const SECTOR_BYTES: usize = 512;
/// By which files are compared.
const PAGE_BYTES: usize = 4_096;

/// The files of one folder (it has no folders in it).
///
/// Contents: of each change since the last sync of its file, a power cut may keep all, nothing, or, of a write,
/// some sectors. Names: they go to the disk in order, as journalling file systems have it, so a cut keeps all
/// changes of names up to some moment; a sync of the folder makes all that came before durable, a sync of a
/// file those up to the last that named it.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    files: Vec<File>,
    /// As the process sees them.
    names: Names,
    /// As they surely are.
    durable_names: Names,
    /// From these to those.
    unsynced_names: Vec<NameChange>,
    /// How many changes of names are durable since the beginning.
    names_synced: usize,
    /// What each sync that is under way covers.
    syncs: BTreeMap<u64, Covered>,
}

type FileId = usize;
type Names = BTreeMap<String, FileId>;

#[derive(Clone, Debug, Default)]
struct File {
    synced: Vec<u8>,
    unsynced: Vec<Change>,
    /// How many changes were synced before those: what a sync covers is counted from the beginning.
    before: usize,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(String, FileId),
    Rename { from: String, to: String, file: FileId },
    Remove(String),
}

#[derive(Clone, Copy, Debug)]
struct Covered {
    /// None: the folder.
    file: Option<FileId>,
    /// How many of the file's changes, counted from the beginning.
    changes: usize,
    /// How many changes of names, counted from the beginning.
    names: usize,
}

/// What is left after a power cut: files by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image(BTreeMap<String, Vec<u8>>);

impl Disk {
    /// Does to the disk what was done to the files.
    pub fn apply(&mut self, event: Event) {
        match event {
            Event::Open { name } => _ = self.file(&name),
            Event::Truncate { name, len } => self.change(&name, Change::Truncate(len as usize)),
            Event::Write { name, at, bytes } => self.change(&name, Change::Write { at: at as usize, bytes }),
            Event::SyncBegins { name, sync } => {
                let covered = self.covered_by_sync_of(&name);
                self.syncs.insert(sync, covered);
            }
            Event::SyncEnds { sync } => {
                if let Some(covered) = self.syncs.remove(&sync) {
                    self.make_durable(covered);
                }
            }
            Event::Rename { from, to } => {
                if let Some(file) = self.names.remove(&from) {
                    self.names.insert(to.clone(), file);
                    self.unsynced_names.push(NameChange::Rename { from, to, file });
                }
            }
            Event::Remove { name } => {
                if self.names.remove(&name).is_some() {
                    self.unsynced_names.push(NameChange::Remove(name));
                }
            }
        }
    }

    /// Notes that the process which made these changes is gone: the syncs that it was at have no end.
    pub fn process_ended(&mut self) {
        self.syncs.clear();
    }

    /// Keeps of what was not synced what chance has it.
    #[must_use]
    pub fn cut_power(&self, random: &mut Random) -> Image {
        let mut names = self.durable_names.clone();
        let kept = random.below(self.unsynced_names.len() + 1);
        self.unsynced_names[..kept].iter().for_each(|change| change.apply_to(&mut names));
        let content = |file: FileId, random: &mut Random| self.files[file].after_cut(random);
        Image(names.into_iter().map(|(name, file)| (name, content(file, random))).collect())
    }

    /// The files as the process sees them.
    #[must_use]
    pub fn seen(&self) -> Image {
        let seen = |(name, file): (&String, &FileId)| (name.clone(), self.files[*file].seen());
        Image(self.names.iter().map(seen).collect())
    }

    /// A disk on which all of this is durable.
    #[must_use]
    pub fn from_image(image: Image) -> Self {
        let mut disk = Self::default();
        for (name, synced) in image.0 {
            disk.durable_names.insert(name, disk.files.len());
            disk.files.push(File { synced, ..File::default() });
        }
        disk.names = disk.durable_names.clone();
        disk
    }

    /// Takes over what is found where a process was killed, as changes that are not synced: it may have done
    /// something that is in no journal yet.
    pub fn becomes(&mut self, found: &Image) {
        let seen = self.seen();
        for name in seen.0.keys().filter(|name| !found.0.contains_key(*name)) {
            self.apply(Event::Remove { name: name.clone() });
        }
        for (name, content) in &found.0 {
            self.file(name);
            let mut before = seen.0.get(name).cloned().unwrap_or_default();
            if before.len() != content.len() {
                before.resize(content.len(), 0);
                self.change(name, Change::Truncate(content.len()));
            }
            let pages = content.chunks(PAGE_BYTES).zip(before.chunks(PAGE_BYTES)).enumerate();
            for (number, (page, _)) in pages.filter(|(_, (page, before))| page != before) {
                let (at, bytes) = (number * PAGE_BYTES, page.to_vec());
                self.change(name, Change::Write { at, bytes });
            }
        }
    }

    fn file(&mut self, name: &str) -> FileId {
        if let Some(file) = self.names.get(name) {
            return *file;
        }
        let file = self.files.len();
        self.files.push(File::default());
        self.names.insert(name.to_owned(), file);
        self.unsynced_names.push(NameChange::Create(name.to_owned(), file));
        file
    }

    fn change(&mut self, name: &str, change: Change) {
        let file = self.file(name);
        self.files[file].unsynced.push(change);
    }

    fn covered_by_sync_of(&mut self, name: &str) -> Covered {
        if name.is_empty() {
            let names = self.names_synced + self.unsynced_names.len();
            return Covered { file: None, changes: 0, names };
        }
        let file = self.file(name);
        let names = self.unsynced_names.iter().rposition(|change| change.names_file(file));
        let changes = self.files[file].before + self.files[file].unsynced.len();
        Covered { file: Some(file), changes, names: self.names_synced + names.map_or(0, |at| at + 1) }
    }

    fn make_durable(&mut self, covered: Covered) {
        if let Some(file) = covered.file {
            self.files[file].sync(covered.changes);
        }
        // Another sync may have come first.
        let names = covered.names.saturating_sub(self.names_synced).min(self.unsynced_names.len());
        for change in self.unsynced_names.drain(..names) {
            change.apply_to(&mut self.durable_names);
        }
        self.names_synced += names;
    }
}

impl File {
    fn sync(&mut self, changes: usize) {
        let synced = changes.saturating_sub(self.before).min(self.unsynced.len());
        for change in self.unsynced.drain(..synced) {
            change.apply_to(&mut self.synced);
        }
        self.before += synced;
    }

    fn seen(&self) -> Vec<u8> {
        let mut content = self.synced.clone();
        self.unsynced.iter().for_each(|change| change.apply_to(&mut content));
        content
    }

    fn after_cut(&self, random: &mut Random) -> Vec<u8> {
        let mut content = self.synced.clone();
        for change in &self.unsynced {
            match (change, random.below(3)) {
                (_, 0) => {}
                (Change::Write { at, bytes }, 1) => {
                    for (number, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                        if random.coin() {
                            write_at(&mut content, at + number * SECTOR_BYTES, sector);
                        }
                    }
                }
                _ => change.apply_to(&mut content),
            }
        }
        content
    }
}

impl Change {
    fn apply_to(&self, content: &mut Vec<u8>) {
        match self {
            Self::Truncate(len) => content.resize(*len, 0),
            Self::Write { at, bytes } => write_at(content, *at, bytes),
        }
    }
}

fn write_at(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[at..end].copy_from_slice(bytes);
}

impl NameChange {
    fn apply_to(&self, names: &mut Names) {
        match self {
            Self::Create(name, file) => _ = names.insert(name.clone(), *file),
            Self::Rename { from, to, file } => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
            Self::Remove(name) => _ = names.remove(name),
        }
    }

    fn names_file(&self, wanted: FileId) -> bool {
        match self {
            Self::Create(_, file) | Self::Rename { file, .. } => *file == wanted,
            Self::Remove(_) => false,
        }
    }
}

impl Image {
    /// The files of a folder as they are; none where there is no folder.
    ///
    /// # Errors
    /// Where one can't be read.
    pub fn of(folder: &Path) -> anyhow::Result<Self> {
        let mut files = BTreeMap::new();
        if !folder.exists() {
            return Ok(Self(files));
        }
        let reading = || format!("reading {}", folder.display());
        for entry in std::fs::read_dir(folder).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            let content = std::fs::read(entry.path()).with_context(reading)?;
            files.insert(entry.file_name().to_string_lossy().into_owned(), content);
        }
        Ok(Self(files))
    }

    /// The content of a file.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Makes the folder anew with these files and nothing else in it.
    ///
    /// # Errors
    /// Where that fails.
    pub fn write_to(&self, folder: &Path) -> anyhow::Result<()> {
        let writing = || format!("writing {}", folder.display());
        if folder.exists() {
            std::fs::remove_dir_all(folder).with_context(writing)?;
        }
        std::fs::create_dir_all(folder).with_context(writing)?;
        for (name, content) in &self.0 {
            std::fs::write(folder.join(name), content).with_context(writing)?;
        }
        Ok(())
    }
}
