//! What the clients of a run were answered, noted together, and what the server must hold then. One thread
//! runs all clients, so what one was answered before another asked is known, and an answer that contradicts
//! it is wrong.

use anyhow::{Result, ensure};

/// Cells (keys or counters, over all accounts) that are followed one by one. With more of them only each
/// so-manyth is, spread evenly; the accounts' revisions are followed always, and miss no write.
const CELLS_MAX: usize = 10_000;

/// The notes of one account.
#[derive(Clone, Copy, Debug, Default)]
struct AccountNotes {
    /// The revision at the begin.
    base: u64,
    writes: u64,
    version_max: u64,
    /// All versions added up, above the base.
    versions_sum: u128,
}

/// The notes about accounts, and those of type `C` about single cells.
#[derive(Debug, Default)]
pub struct Book<C> {
    accounts: Vec<AccountNotes>,
    cells: Vec<C>,
    keys: usize,
    stride: usize,
}

impl<C: Clone + Default> Book<C> {
    /// For new accounts, with so many cells each.
    #[must_use]
    pub fn new(accounts: usize, keys: usize) -> Self {
        Self::on(&vec![0; accounts], keys)
    }

    /// For accounts that have these revisions.
    #[must_use]
    pub fn on(revisions: &[u64], keys: usize) -> Self {
        let notes = |base: &u64| AccountNotes { base: *base, version_max: *base, ..AccountNotes::default() };
        let all = revisions.len() * keys;
        let stride = all.div_ceil(CELLS_MAX).max(1);
        Self {
            accounts: revisions.iter().map(notes).collect(),
            cells: vec![C::default(); all.div_ceil(stride)],
            keys,
            stride,
        }
    }

    /// The highest version answered so far: a request sent now must get a higher one.
    #[must_use]
    pub fn floor(&self, account: usize) -> u64 {
        self.accounts[account].version_max
    }

    /// Notes that a write was answered with this version; `floor` is what it was when the write was sent.
    ///
    /// # Errors
    /// If the version is one of the past.
    pub fn wrote(&mut self, account: usize, floor: u64, version: u64) -> Result<()> {
        ensure!(version > floor, "version {version} was answered after {floor} had been");
        let notes = &mut self.accounts[account];
        notes.writes += 1;
        notes.version_max = notes.version_max.max(version);
        notes.versions_sum += u128::from(version - notes.base);
        Ok(())
    }

    /// The notes of a cell, if it is one of those that are followed.
    pub fn cell(&mut self, account: usize, key: usize) -> Option<&mut C> {
        let number = account * self.keys + key;
        if self.stride == 1 {
            return self.cells.get_mut(number);
        }
        if number.is_multiple_of(self.stride) { self.cells.get_mut(number / self.stride) } else { None }
    }

    /// The cells of an account that are followed.
    pub fn cells_of(&self, account: usize) -> impl Iterator<Item = (usize, &C)> {
        let (first, end) = (account * self.keys, (account + 1) * self.keys);
        let cells = first.div_ceil(self.stride)..end.div_ceil(self.stride);
        cells.map(move |cell| (cell * self.stride - first, &self.cells[cell]))
    }

    /// How many accounts there are.
    #[must_use]
    pub fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// Writes answered so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.accounts.iter().map(|notes| notes.writes).sum()
    }

    /// Each account's revision.
    #[must_use]
    pub fn revisions(&self) -> Vec<u64> {
        self.accounts.iter().map(|notes| notes.version_max).collect()
    }

    /// Checks that each account's revision rose by one a write: the versions answered are all the numbers
    /// from the first on, each once.
    ///
    /// # Errors
    /// If a revision was skipped, or two writes got the same.
    pub fn verify_revisions(&self) -> Result<()> {
        for (account, notes) in self.accounts.iter().enumerate() {
            let AccountNotes { base, writes, version_max, versions_sum } = *notes;
            ensure!(
                version_max == base + writes,
                "{writes} writes raised the revision of account {account} from {base} to {version_max}"
            );
            let expected = u128::from(writes) * u128::from(writes + 1) / 2;
            ensure!(
                versions_sum == expected,
                "in account {account} two writes were answered the same version"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_and_double_revisions_are_seen() {
        let verified = |versions: &[u64]| {
            let mut book = Book::<()>::on(&[5], 1);
            versions.iter().try_for_each(|version| book.wrote(0, 5, *version))?;
            book.verify_revisions()
        };
        verified(&[6, 8, 7]).unwrap();
        assert!(verified(&[6, 8]).is_err(), "one is skipped");
        assert!(verified(&[6, 8, 8]).is_err(), "one came twice");
        assert!(verified(&[5]).is_err(), "one does not rise");
        let mut book = Book::<()>::new(1, 1);
        book.wrote(0, 0, 1).unwrap();
        let floor = book.floor(0);
        assert!(book.wrote(0, floor, 1).is_err(), "answered before it was asked");
    }

    #[test]
    fn cells_are_sampled_evenly() {
        let mut all = Book::<u64>::new(3, 7);
        *all.cell(2, 6).unwrap() = 9;
        assert_eq!(all.cells_of(2).map(|(key, _)| key).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(all.cells_of(2).last().unwrap(), (6, &9));
        let mut some = Book::<u64>::new(1000, 1003);
        let mut followed = 0;
        for account in 0..1000 {
            for (key, _) in some.cells_of(account).map(|(key, cell)| (key, *cell)).collect::<Vec<_>>() {
                *some.cell(account, key).unwrap() += 1;
                followed += 1;
            }
        }
        assert!((9_000..=10_000).contains(&followed), "{followed}");
        assert!(some.cells.iter().all(|cell| *cell == 1));
        assert!(some.cell(0, 1).is_none());
    }
}
