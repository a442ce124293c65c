//! Faults of processes and of their clocks.

use crate::cluster::{Cluster, Signal, Store};
use crate::random::Random;
use tokio::time::sleep;

const HOUR_S: u64 = 3_600;

impl Cluster {
    pub(super) async fn kill_one(&mut self, random: &mut Random) -> anyhow::Result<()> {
        let frontend = self.one(random);
        self.amid_a_sync(random).await?;
        self.kill_frontend(frontend)?;
        self.mend_syncs()?;
        sleep(random.millis(0..=1_500)).await;
        self.start_frontend(frontend).await
    }

    pub(super) async fn restart_one(&mut self, random: &mut Random) -> anyhow::Result<()> {
        let frontend = self.one(random);
        self.stop_frontend(frontend).await?;
        self.start_frontend(frontend).await
    }

    pub(super) async fn pause_one(&mut self, random: &mut Random) -> anyhow::Result<()> {
        let frontend = self.one(random);
        self.signal_frontend(frontend, Signal::STOP)?;
        sleep(random.millis(300..=6_000)).await;
        self.signal_frontend(frontend, Signal::CONT)
    }

    pub(super) async fn pause_store(&mut self, random: &mut Random) -> anyhow::Result<()> {
        self.backing.signal(Signal::STOP)?;
        sleep(random.millis(300..=4_000)).await;
        self.backing.signal(Signal::CONT)
    }

    pub(super) async fn clocks_jump(&mut self, random: &mut Random) -> anyhow::Result<()> {
        let is_own_clock = matches!(self.settings().store, Store::Memory | Store::Embedded);
        for clock in self.clocks() {
            let off_s = if is_own_clock { random.within(1..=30) } else { random.within(1..=HOUR_S) };
            let is_ahead = is_own_clock || random.coin();
            clock.set(if is_ahead { off_s.cast_signed() } else { -off_s.cast_signed() })?;
        }
        sleep(random.millis(500..=4_000)).await;
        self.clocks().iter().try_for_each(|clock| clock.set(0))
    }

    /// A frontend, by chance.
    fn one(&self, random: &mut Random) -> usize {
        random.below(self.settings().store.frontends())
    }
}
