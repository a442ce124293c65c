//! A disk that may lose what was not synced: files as they are in memory, files as they surely are on
//! the disk, and the writes in between.

use crate::trace::Call;
use std::collections::BTreeMap;
use std::path::Path;

/// Disks write whole sectors.
const SECTOR_BYTES: usize = 512;

/// A small generator (xorshift64*, Vigna 2016), so that a failing seed can be played again.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }
}

#[derive(Clone, Default)]
struct File {
    synced: Vec<u8>,
    /// Since the last sync: writes by place, and changes of length.
    unsynced: Vec<Change>,
    cursor: usize,
}

#[derive(Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// Names are taken as durable at once: file systems journal them, and the server syncs the folder.
#[derive(Default)]
pub struct Disk {
    files: BTreeMap<String, File>,
}

/// What is left after a cut.
pub struct Remains(BTreeMap<String, Vec<u8>>);

impl Disk {
    pub fn apply(&mut self, call: &Call) {
        match call {
            Call::Truncate { file, len } => self.file(file).unsynced.push(Change::Truncate(*len)),
            Call::Write { file, at, bytes } => {
                let file = self.file(file);
                let at = at.unwrap_or(file.cursor);
                file.cursor = at + bytes.len();
                file.unsynced.push(Change::Write { at, bytes: bytes.clone() });
            }
            Call::Sync { file } => {
                if let Some(file) = self.files.get_mut(file) {
                    for change in std::mem::take(&mut file.unsynced) {
                        apply(&mut file.synced, &change);
                    }
                }
            }
            Call::Rename { from, to } => {
                if let Some(file) = self.files.remove(from) {
                    self.files.insert(to.clone(), file);
                }
            }
            Call::Remove { file } => _ = self.files.remove(file),
            Call::Send { .. } => {}
        }
    }

    fn file(&mut self, name: &str) -> &mut File {
        self.files.entry(name.to_owned()).or_default()
    }

    /// Keeps of each unsynced change all, nothing, or some of its sectors.
    pub fn cut_power(&self, random: &mut Random) -> Remains {
        let remains = |(name, file): (&String, &File)| {
            let mut content = file.synced.clone();
            for change in &file.unsynced {
                match (change, random.below(3)) {
                    (_, 0) => {}
                    (Change::Write { at, bytes }, 1) => {
                        for (number, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                            if random.below(2) == 0 {
                                let at = at + number * SECTOR_BYTES;
                                apply(&mut content, &Change::Write { at, bytes: sector.to_vec() });
                            }
                        }
                    }
                    _ => apply(&mut content, change),
                }
            }
            (name.clone(), content)
        };
        Remains(self.files.iter().map(remains).collect())
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Truncate(len) => content.resize(*len, 0),
        Change::Write { at, bytes } => {
            content.resize(content.len().max(at + bytes.len()), 0);
            content[*at..at + bytes.len()].copy_from_slice(bytes);
        }
    }
}

impl Remains {
    pub fn write_to(&self, folder: &Path) {
        for (name, content) in &self.0 {
            std::fs::write(folder.join(name), content).unwrap();
        }
    }
}
