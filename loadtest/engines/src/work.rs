//! The job: batches of requests that each read two rows and write them again.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;

use anyhow::{Context, Result, ensure};

/// How many cell rows the store holds before the measuring starts.
pub const KEYS: u64 = 100_000;
/// How many of them are used when the keys are hot.
pub const HOT_KEYS: u64 = 1_000;

const META_KEY: &[u8] = b"acct\0\x00meta";
const META_BYTES: usize = 17;
const CELL_BYTES: usize = 64;

/// Which keys the requests go to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum KeySet {
    /// Any key of the store.
    Random,
    /// One range of neighbouring keys.
    Hot,
}

impl KeySet {
    /// Both sets, with their names in the table.
    pub const ALL: [(Self, &str); 2] = [(Self::Random, "100k random"), (Self::Hot, "1k hot")];

    fn keys(self) -> u64 {
        match self {
            Self::Random => KEYS,
            Self::Hot => HOT_KEYS,
        }
    }
}

/// The rows that a store holds before the measuring starts, in key order.
pub fn rows() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut random = Random(7);
    let cells = (0..KEYS).map(|key| (cell_key(key), value::<CELL_BYTES>(&mut random).to_vec()));
    let meta = (META_KEY.to_vec(), vec![0; META_BYTES]);
    std::iter::once(meta).chain(cells).collect()
}

/// The requests of one batch: the keys to read and, when that is done, the rows to write.
pub struct Batch {
    key_set: KeySet,
    requests: usize,
    random: Random,
    overlay: BTreeMap<Vec<u8>, Vec<u8>>,
    cache: Option<HashMap<Vec<u8>, Vec<u8>>>,
}

impl Batch {
    /// A source of batches. With `cached` rows, the engine is asked for none of them.
    pub fn new(key_set: KeySet, requests: usize, seed: u64, cached: Option<&[(Vec<u8>, Vec<u8>)]>) -> Self {
        Self {
            key_set,
            requests,
            random: Random(seed),
            overlay: BTreeMap::new(),
            cache: cached.map(|rows| rows.iter().cloned().collect()),
        }
    }

    /// Runs the requests against the overlay, and against `get` for the rows that are not in it.
    ///
    /// `get` hands the value it found to its second argument.
    pub fn run(&mut self, mut get: impl FnMut(&[u8], &mut Found) -> Result<()>) -> Result<()> {
        self.overlay.clear();
        for _ in 0..self.requests {
            let cell_key = cell_key(self.random.below(self.key_set.keys()));
            self.read(META_KEY, META_BYTES, &mut get)?;
            self.read(&cell_key, CELL_BYTES, &mut get)?;
            let meta = value::<META_BYTES>(&mut self.random);
            let cell = value::<CELL_BYTES>(&mut self.random);
            self.write(META_KEY, &meta);
            self.write(&cell_key, &cell);
        }
        Ok(())
    }

    /// The changed rows, each once, in key order.
    pub fn changed(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.overlay.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// Takes the changed rows into the cache, as a server does once they are durable.
    pub fn committed(&mut self) {
        if let Some(cache) = &mut self.cache {
            for (key, value) in &self.overlay {
                if let Some(row) = cache.get_mut(key) {
                    row.clone_from(value);
                }
            }
        }
    }

    fn read(
        &self,
        key: &[u8],
        bytes: usize,
        get: &mut impl FnMut(&[u8], &mut Found) -> Result<()>,
    ) -> Result<()> {
        let mut found = Found::default();
        if let Some(value) = self.overlay.get(key) {
            found.set(value);
        } else if let Some(cache) = &self.cache {
            found.set(cache.get(key).context("a row is missing in the cache")?);
        } else {
            get(key, &mut found)?;
        }
        ensure!(found.len == bytes, "a row is missing or has another length");
        Ok(())
    }

    fn write(&mut self, key: &[u8], value: &[u8]) {
        if let Some(row) = self.overlay.get_mut(key) {
            row.clear();
            row.extend_from_slice(value);
        } else {
            self.overlay.insert(key.to_vec(), value.to_vec());
        }
    }
}

/// Takes the value of a read without keeping it.
#[derive(Default)]
pub struct Found {
    len: usize,
}

impl Found {
    /// The value that the engine found.
    pub fn set(&mut self, value: &[u8]) {
        let sum = value.iter().fold(0_u64, |sum, byte| sum.wrapping_add(u64::from(*byte)));
        black_box(sum);
        self.len = value.len();
    }
}

fn cell_key(number: u64) -> Vec<u8> {
    format!("acct\0\x01key-{number:06}").into_bytes()
}

fn value<const BYTES: usize>(random: &mut Random) -> [u8; BYTES] {
    let mut value = [0; BYTES];
    for chunk in value.chunks_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
    }
    value
}

/// SplitMix64: every run sees the same keys.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
