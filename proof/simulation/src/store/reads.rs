//! Reads outside batches, and waiting for changes. The moment of a read lies somewhere between call and answer.

use super::{Store, Table, Unsynced, Writes, write};
use crate::Bug;
use crate::plan::Mode;
use bytes::Bytes;
use dragon_contract::{AccountsPage, Gathered, Loaded, NamedRow, Result, stored_cell};
use dragon_core::UnixMs;
use dragon_core::cell::{Account, Cell, all_of, past};
use dragon_core::layout;
use dragon_core::page::{Page, Query};
use std::ops::Bound;
use std::time::Duration;
use tokio::time::Instant;

impl Store {
    /// Reads at one moment; both ways take their time.
    async fn at_one_moment<T>(&self, read: impl FnOnce(&Table, UnixMs) -> Result<T>) -> Result<T> {
        self.pause().await;
        let found = {
            let mut state = self.state.lock();
            if let Some(error) = self.refusal(&mut state) {
                return Err(error);
            }
            let now_ms = state.now_ms(&self.clock);
            read(self.visible(&state), now_ms)?
        };
        self.pause().await;
        Ok(found)
    }

    pub(super) async fn load(&self, cells: &[Cell]) -> Result<Loaded> {
        let load = |rows: &Table, now_ms| {
            let rows = cells.iter().map(|cell| rows.get(cell.as_bytes()).cloned()).collect();
            Ok(Loaded { now_ms, rows })
        };
        self.at_one_moment(load).await
    }

    pub(super) async fn scan(&self, query: &Query) -> Result<Page> {
        let scan = |rows: &Table, now_ms| {
            let mut page = Page::begin(query, rows.get(query.meta().as_bytes()), now_ms)?;
            let stem = query.stem();
            for (name, row) in rows.range(Bytes::from(query.from())..) {
                if !name.starts_with(&stem) || page.push(stored_cell(name.clone())?, row.clone())?.is_break()
                {
                    break;
                }
            }
            Ok(page)
        };
        self.at_one_moment(scan).await
    }

    pub(super) async fn accounts(&self, after: Option<&Account>, limit: usize) -> Result<AccountsPage> {
        let list = |rows: &Table, _| {
            let mut page = AccountsPage::default();
            let mut from = after.map_or_else(Bytes::new, |account| past(account).into());
            while let Some((name, _)) = rows.range((Bound::Included(from), Bound::Unbounded)).next() {
                if page.accounts.len() == limit {
                    page.more = true;
                    break;
                }
                let account = stored_cell(name.clone())?.account();
                from = past(&account).into();
                page.accounts.push(account);
            }
            Ok(page)
        };
        self.at_one_moment(list).await
    }

    pub(super) async fn snapshot(&self, account: &Account) -> Result<Gathered> {
        let gather = |rows: &Table, _| {
            let names = all_of(account);
            let rows = rows.range(Bytes::from(names.start)..Bytes::from(names.end));
            let rows: Result<Vec<NamedRow>> =
                rows.map(|(name, row)| Ok((stored_cell(name.clone())?, row.clone()))).collect();
            Ok(Gathered::new(rows?))
        };
        self.at_one_moment(gather).await
    }

    fn stamp(&self, cell: &Cell) -> Result<u64> {
        let state = self.state.lock();
        Ok(layout::stamp(cell, self.visible(&state).get(cell.as_bytes()))?)
    }

    pub(super) async fn changed(&self, cell: &Cell, seen: u64) -> Result<()> {
        self.pause().await;
        if let Some(error) = self.refusal(&mut self.state.lock()) {
            return Err(error);
        }
        let forgets = self.plan.bug == Some(Bug::LostWakeup);
        if forgets {
            if self.stamp(cell)? != seen {
                return Ok(());
            }
            self.pause().await;
        }
        loop {
            let registration = self.wakeups.register(cell);
            if !forgets && self.stamp(cell)? != seen {
                break;
            }
            tokio::select! {
                biased;
                () = registration.woken() => {
                    let mut state = self.state.lock();
                    if forgets && state.random.happens(250) {
                        state.count("mistakes");
                        continue;
                    }
                    break;
                }
                () = self.spurious() => break,
            }
        }
        let late = {
            let mut state = self.state.lock();
            let ms_max = if state.is_calm { 0 } else { self.plan.late_ms_max };
            state.random.time(ms_max)
        };
        tokio::time::sleep(late).await;
        Ok(())
    }

    /// A wake-up for nothing.
    async fn spurious(&self) {
        let after = {
            let mut state = self.state.lock();
            let is_off = state.is_calm || self.plan.spurious_ms_max == 0;
            (!is_off).then(|| state.random.time(self.plan.spurious_ms_max) + Duration::from_millis(1))
        };
        match after {
            Some(after) => tokio::time::sleep(after).await,
            None => std::future::pending().await,
        }
        self.count("spurious wake-ups");
    }

    /// The rows that a sweep may delete now.
    pub(super) fn expired(&self, limit: usize) -> Result<Vec<NamedRow>> {
        let mut state = self.state.lock();
        let now_ms = state.now_ms(&self.clock);
        let rows = if self.plan.mode == Mode::Embedded { &state.newest } else { &state.durable };
        let mut expired = Vec::new();
        for (name, row) in rows {
            let cell = stored_cell(name.clone())?;
            let is_due = layout::sweep_at_ms(&cell, row)?.is_some_and(|sweep_at_ms| sweep_at_ms <= now_ms);
            if is_due && expired.len() < limit {
                expired.push((cell, row.clone()));
            }
        }
        Ok(expired)
    }

    /// Deletes those of these rows that are still the same. How many.
    pub(super) fn delete_unchanged(&self, rows: Vec<NamedRow>) -> usize {
        let mut state = self.state.lock();
        let state = &mut *state;
        let is_embedded = self.plan.mode == Mode::Embedded;
        let table = if is_embedded { &mut state.newest } else { &mut state.durable };
        let is_same = |(cell, row): &NamedRow| table.get(cell.as_bytes()) == Some(row);
        let writes: Writes = rows.into_iter().filter(is_same).map(|(cell, _)| (cell, None)).collect();
        write(table, &writes);
        let deleted = writes.len();
        if is_embedded {
            // It becomes durable with the next batch.
            state.last_number += 1;
            state.unsynced.push_back(Unsynced { number: state.last_number, writes });
            state.syncing_till = state.syncing_till.max(Instant::now());
        } else {
            self.wakeups.wake(writes.keys());
        }
        deleted
    }
}
