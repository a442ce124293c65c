//! What must be true of a peer's answers and of what it holds at the end, whichever peer it is. No
//! sockets and no clock here.

use anyhow::{Result, ensure};
use std::collections::VecDeque;

/// Who wrote a value, and as its how manieth write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Author {
    /// The worker's number.
    pub worker: usize,
    /// Its write's number; the first is 1.
    pub sequence: u64,
}

/// Which values a key may hold at the end, when no store says in which order it took the writes: a write
/// that was answered before another began is gone once that other one is answered.
#[derive(Debug, Default)]
pub struct LastWrites {
    /// Counts beginnings and ends of writes.
    clock: u64,
    /// By key, in the order of their ends: the writes that may be the last one.
    candidates: Vec<VecDeque<(u64, Author)>>,
    writes: u64,
}

impl LastWrites {
    /// For so many keys, none of them written.
    #[must_use]
    pub fn new(keys: usize) -> Self {
        Self { candidates: (0..keys).map(|_| VecDeque::new()).collect(), ..Self::default() }
    }

    /// Notes that a write begins; what this returns belongs to its end.
    pub fn begin(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Notes that a write was answered.
    pub fn end(&mut self, key: usize, begun: u64, author: Author) {
        self.clock += 1;
        self.writes += 1;
        let candidates = &mut self.candidates[key];
        while candidates.front().is_some_and(|(ended, _)| *ended < begun) {
            candidates.pop_front();
        }
        candidates.push_back((self.clock, author));
    }

    /// How many writes were answered.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// The keys that were written.
    pub fn written(&self) -> impl Iterator<Item = usize> {
        (0..self.candidates.len()).filter(|key| !self.candidates[*key].is_empty())
    }

    /// Checks what a key holds.
    ///
    /// # Errors
    /// If it is none of the writes that may be the last one: then an update is lost.
    pub fn check(&self, key: usize, author: Author) -> Result<()> {
        let may_be = self.candidates[key].iter().any(|(_, candidate)| *candidate == author);
        ensure!(may_be, "key {key} holds {author:?}, and a later write of it was answered");
        Ok(())
    }
}

/// The sums that counters answered when 1 was added to them.
#[derive(Debug, Default)]
pub struct Sums {
    /// By counter: how often it was answered, and all its sums added up.
    counters: Vec<(u64, u128)>,
}

impl Sums {
    /// For so many counters, all of them 0.
    #[must_use]
    pub fn new(counters: usize) -> Self {
        Self { counters: vec![(0, 0); counters] }
    }

    /// Notes an answer.
    pub fn add(&mut self, counter: usize, sum: u64) {
        let (times, sums) = &mut self.counters[counter];
        *times += 1;
        *sums += u128::from(sum);
    }

    /// The counters that were added to, and what they have to be.
    pub fn added(&self) -> impl Iterator<Item = (usize, u64)> {
        let times = self.counters.iter().map(|(times, _)| *times);
        times.enumerate().filter(|(_, times)| *times > 0)
    }

    /// Checks that the sums answered were 1, 2, 3, … of each counter.
    ///
    /// # Errors
    /// If some came twice, and others never.
    pub fn check(&self) -> Result<()> {
        for (counter, (times, sums)) in self.counters.iter().enumerate() {
            let expected = u128::from(*times) * u128::from(times + 1) / 2;
            ensure!(*sums == expected, "some sums of counter {counter} came twice and others never");
        }
        Ok(())
    }
}

/// Who holds which lock, as the workers together know it.
#[derive(Debug)]
pub struct Holders {
    held: Vec<Option<usize>>,
}

impl Holders {
    /// For so many locks, all of them free.
    #[must_use]
    pub fn new(locks: usize) -> Self {
        Self { held: vec![None; locks] }
    }

    /// Notes a grant.
    ///
    /// # Errors
    /// If another one holds the lock.
    pub fn take(&mut self, lock: usize, worker: usize) -> Result<()> {
        let before = self.held[lock].replace(worker);
        ensure!(before.is_none(), "TWO HOLDERS: worker {worker} got lock {lock} while {before:?} held it");
        Ok(())
    }

    /// Notes that the holder is about to release.
    pub fn release(&mut self, lock: usize) {
        self.held[lock] = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn author(worker: usize) -> Author {
        Author { worker, sequence: 1 }
    }

    #[test]
    fn lost_writes_are_seen() {
        let mut writes = LastWrites::new(2);
        let first = writes.begin();
        writes.end(0, first, author(0));
        let (second, third) = (writes.begin(), writes.begin());
        writes.end(0, third, author(2));
        writes.end(0, second, author(1));
        writes.check(0, author(1)).unwrap();
        // It was under way together with the other one, so either may have come last.
        writes.check(0, author(2)).unwrap();
        assert!(writes.check(0, author(0)).is_err(), "overwritten before both of them");
        assert!(writes.check(1, author(1)).is_err(), "never written");
        let fourth = writes.begin();
        writes.end(0, fourth, author(3));
        assert!(writes.check(0, author(1)).is_err() && writes.check(0, author(2)).is_err());
        writes.check(0, author(3)).unwrap();
        assert!(writes.check(0, Author { worker: 3, sequence: 2 }).is_err());
        assert_eq!((writes.writes(), writes.written().collect::<Vec<_>>()), (4, vec![0]));
    }

    #[test]
    fn lost_additions_are_seen() {
        let answered = |answers: &[(usize, u64)]| {
            let mut sums = Sums::new(3);
            answers.iter().for_each(|(counter, sum)| sums.add(*counter, *sum));
            sums
        };
        let right = answered(&[(0, 2), (2, 1), (0, 1), (0, 3)]);
        right.check().unwrap();
        assert_eq!(right.added().collect::<Vec<_>>(), [(0, 3), (2, 1)]);
        assert!(answered(&[(0, 1), (0, 1)]).check().is_err(), "a sum came twice");
        assert!(answered(&[(0, 1), (0, 3)]).check().is_err(), "a sum is missing");
        assert!(answered(&[(0, 1), (1, 2)]).check().is_err(), "a sum of another counter");
    }

    #[test]
    fn two_holders_are_seen() {
        let mut holders = Holders::new(2);
        holders.take(0, 7).unwrap();
        holders.take(1, 8).unwrap();
        assert!(holders.take(0, 8).is_err());
        let mut holders = Holders::new(1);
        holders.take(0, 7).unwrap();
        holders.release(0);
        holders.take(0, 8).unwrap();
    }
}
