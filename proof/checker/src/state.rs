//! One account as the core's rows, with expiries of which only bounds are known. The core decides on rows whose
//! expiry is a plain number: it is given rows that are surely alive or surely over, for each way that the bounds allow.

use crate::span::Span;
use bytes::Bytes;
use dragon_core::cell::{Cell, Kind};
use dragon_core::layout::{self, Corrupt};
use dragon_core::verdict::Rows;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// The time at which the core is asked.
pub(crate) const NOW_MS: u64 = 1 << 40;
/// The expiry of a row that is alive then. No lease is as short as this.
pub(crate) const ALIVE_MS: u64 = NOW_MS + 1;
/// The expiry of a row that is over.
const OVER_MS: u64 = 1;

/// How long a row lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Life {
    Forever,
    /// It ends at some moment of these.
    Until(Span),
    /// It has been seen to be over.
    Over,
}

/// Whether a row is there at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Is {
    Alive,
    Over,
    Either,
}

impl Life {
    pub(crate) fn at(self, now: Span) -> Is {
        match self {
            Self::Forever => Is::Alive,
            Self::Over => Is::Over,
            Self::Until(end) if now.max_ms < end.min_ms => Is::Alive,
            Self::Until(end) if now.min_ms >= end.max_ms => Is::Over,
            Self::Until(_) => Is::Either,
        }
    }

    /// What is known of it once it was seen alive or over, where it could have been either.
    pub(crate) fn seen(self, alive: bool, now: Span) -> Self {
        match self {
            Self::Until(end) if alive => Self::Until(Span { min_ms: end.min_ms.max(now.min_ms + 1), ..end }),
            Self::Until(_) => Self::Over,
            known @ (Self::Forever | Self::Over) => known,
        }
    }
}

/// A row, its expiry apart: in the bytes it is 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) row: Bytes,
    pub(crate) life: Life,
}

/// The account at one point of its order.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    rows: BTreeMap<Cell, Held>,
    /// Locks that were granted to a client that may have hung up: the server may yet release them.
    orphans: Vec<(Cell, u64)>,
    /// Of everything above, so that equal states are found without comparing them.
    hash: u128,
}

impl State {
    pub(crate) fn get(&self, cell: &Cell) -> Option<&Held> {
        self.rows.get(cell)
    }

    /// The rows of a name space, in order.
    pub(crate) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&Cell, &Held)> {
        self.rows.iter().filter(move |(cell, _)| cell.kind() == kind)
    }

    pub(crate) fn revision(&self, meta: &Cell) -> u64 {
        let row = self.rows.get(meta).map(|held| &held.row);
        layout::read_meta(meta, row).map_or(0, |meta| meta.revision)
    }

    pub(crate) fn set(&mut self, cell: &Cell, held: Option<Held>) {
        let before = match held {
            Some(held) => {
                self.hash ^= hash_of(&(cell, &held));
                self.rows.insert(cell.clone(), held)
            }
            None => self.rows.remove(cell),
        };
        if let Some(before) = before {
            self.hash ^= hash_of(&(cell, &before));
        }
    }

    pub(crate) fn set_life(&mut self, cell: &Cell, life: Life) {
        if let Some(held) = self.rows.get(cell).filter(|held| held.life != life) {
            let held = Held { row: held.row.clone(), life };
            self.set(cell, Some(held));
        }
    }

    pub(crate) fn orphans(&self) -> &[(Cell, u64)] {
        &self.orphans
    }

    pub(crate) fn add_orphan(&mut self, lock: Cell, handle: u64) {
        self.hash ^= hash_of(&(&lock, handle));
        self.orphans.push((lock, handle));
    }

    pub(crate) fn remove_orphan(&mut self, at: usize) -> (Cell, u64) {
        let orphan = self.orphans.swap_remove(at);
        self.hash ^= hash_of(&(&orphan.0, orphan.1));
        orphan
    }

    pub(crate) fn hash(&self) -> u128 {
        self.hash
    }
}

/// Two hashes of 64 bits: states that only seem equal would hide a violation, or make one up.
fn hash_of(what: &impl std::hash::Hash) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        what.hash(&mut hasher);
        hasher.finish()
    };
    u128::from(half(0)) << 64 | u128::from(half(1))
}

/// A row with this expiry.
pub(crate) fn with_expiry(row: &Bytes, expires_ms: u64) -> Bytes {
    let mut bytes = row.to_vec();
    bytes[9..17].copy_from_slice(&expires_ms.to_be_bytes());
    bytes.into()
}

/// A revision that no request names and none will have.
pub(crate) const UNTOLD: u64 = 1 << 62;

/// A row with this revision.
pub(crate) fn with_revision(row: &Bytes, revision: u64) -> Bytes {
    let mut bytes = row.to_vec();
    bytes[1..9].copy_from_slice(&revision.to_be_bytes());
    bytes.into()
}

/// The rows that the core sees: those that may be either are what is chosen.
pub(crate) struct View<'a> {
    pub(crate) state: &'a State,
    pub(crate) now: Span,
    pub(crate) chosen_alive: &'a [(Cell, bool)],
}

impl Rows for View<'_> {
    type Error = Corrupt;

    fn row(&mut self, cell: &Cell) -> Result<Option<Bytes>, Corrupt> {
        let Some(held) = self.state.get(cell) else { return Ok(None) };
        let chosen = || self.chosen_alive.iter().find(|(named, _)| named == cell);
        let expires_ms = match held.life.at(self.now) {
            _ if held.life == Life::Forever => 0,
            Is::Alive => ALIVE_MS,
            Is::Over => OVER_MS,
            // One that no request names is a kept answer's, whose expiry is not looked at.
            Is::Either => chosen().map_or(ALIVE_MS, |(_, alive)| if *alive { ALIVE_MS } else { OVER_MS }),
        };
        Ok(Some(with_expiry(&held.row, expires_ms)))
    }
}
