//! Faults of disks.

use crate::cluster::{Cluster, Store};
use crate::disk::{Counts, Shim};
use crate::random::Random;
use anyhow::Context as _;
use std::time::Duration;
use tokio::time::sleep;

/// The one with the data folder.
const FRONTEND: usize = 0;

impl Cluster {
    pub(super) async fn fill_disk(&mut self, random: &mut Random) -> anyhow::Result<()> {
        let before = self.disk()?.counts()?;
        let room_bytes = random.within(0..=8 << 10) as u32;
        self.disk()?.fill_up(Some(room_bytes))?;
        sleep(random.millis(500..=3_000)).await;
        self.disk()?.fill_up(None)?;
        if self.was_hurt_since(before)? {
            self.start_again(random).await?;
        }
        Ok(())
    }

    pub(super) async fn fail_syncs(&mut self, random: &mut Random) -> anyhow::Result<()> {
        let before = self.disk()?.counts()?;
        self.disk()?.fail_syncs(true)?;
        sleep(random.millis(500..=3_000)).await;
        self.disk()?.fail_syncs(false)?;
        if !self.was_hurt_since(before)? {
            return Ok(());
        }
        if self.settings().store == Store::Embedded && random.coin() {
            return self.cut_power(random).await;
        }
        self.start_again(random).await
    }

    pub(super) async fn slow_disk(&mut self, random: &mut Random) -> anyhow::Result<()> {
        self.disk()?.delay_syncs(random.millis(50..=400))?;
        sleep(random.millis(1_000..=4_000)).await;
        self.disk()?.delay_syncs(Duration::ZERO)
    }

    pub(super) async fn cut_power(&mut self, random: &mut Random) -> anyhow::Result<()> {
        self.amid_a_sync(random).await?;
        self.kill_frontend(FRONTEND)?;
        self.mend_syncs()?;
        self.backing.cut_power(random)?;
        sleep(random.millis(0..=1_500)).await;
        self.start_frontend(FRONTEND).await
    }

    /// Where disks can be slowed, has syncs take long as often as not, so that what ends a process comes in the midst of
    /// one: a sync by itself takes too short a time to be hit.
    pub(super) async fn amid_a_sync(&self, random: &mut Random) -> anyhow::Result<()> {
        if let Some(disk) = self.backing.shim().filter(|_| random.coin()) {
            disk.delay_syncs(random.millis(20..=100))?;
            sleep(random.millis(50..=300)).await;
        }
        Ok(())
    }

    /// Ends that again.
    pub(super) fn mend_syncs(&self) -> anyhow::Result<()> {
        self.backing.shim().map_or(Ok(()), |disk| disk.delay_syncs(Duration::ZERO))
    }

    fn was_hurt_since(&self, before: Counts) -> anyhow::Result<bool> {
        let now = self.disk()?.counts()?;
        Ok((now.writes_refused, now.syncs_failed) != (before.writes_refused, before.syncs_failed))
    }

    /// A store that was refused something does not trust its disk any more until it is started again.
    async fn start_again(&mut self, random: &mut Random) -> anyhow::Result<()> {
        if self.settings().store != Store::Embedded {
            // It panics, and starts again by itself or not.
            return self.backing.crash(Duration::ZERO).await;
        }
        if random.coin() {
            self.kill_frontend(FRONTEND)?;
        } else {
            self.stop_frontend(FRONTEND).await?;
        }
        self.start_frontend(FRONTEND).await
    }

    fn disk(&self) -> anyhow::Result<&Shim> {
        self.backing.shim().context("the cluster was started without faults of disks")
    }
}
