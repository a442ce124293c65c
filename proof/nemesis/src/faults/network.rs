//! Faults of the network, between clients and frontends and between these and the store.

use crate::cluster::Cluster;
use crate::proxy::Proxy;
use crate::random::Random;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// For answers that are to be lost to come.
const LOSS_TIME_MAX: Duration = Duration::from_secs(2);

/// Of so many answers of the store one is lost: few enough that a new connection can be made, and some work be done.
const STORE_ANSWERS_A_LOSS: usize = 12;

impl Cluster {
    pub(super) async fn cut_clients(&mut self, random: &mut Random) -> anyhow::Result<()> {
        some(&self.client_proxies(), random).iter().for_each(|proxy| proxy.cut());
        Ok(())
    }

    pub(super) async fn cut_store(&mut self, random: &mut Random) -> anyhow::Result<()> {
        some(&self.store_proxies(), random).iter().for_each(|proxy| proxy.cut());
        Ok(())
    }

    pub(super) async fn lose_answers(&mut self, random: &mut Random) -> anyhow::Result<()> {
        let count = random.within(1..=8) as usize;
        let struck = some(&self.client_proxies(), random);
        let wanted: Vec<usize> = struck.iter().map(|proxy| proxy.answers_lost() + count).collect();
        struck.iter().for_each(|proxy| proxy.lose_answers(count));
        let until = Instant::now() + LOSS_TIME_MAX;
        let all_lost = || struck.iter().zip(&wanted).all(|(proxy, wanted)| proxy.answers_lost() >= *wanted);
        while !all_lost() && Instant::now() < until {
            sleep(Duration::from_millis(5)).await;
        }
        struck.iter().for_each(|proxy| proxy.lose_answers(0));
        Ok(())
    }

    pub(super) async fn lose_store_answers(&mut self, random: &mut Random) -> anyhow::Result<()> {
        let struck = some(&self.store_proxies(), random);
        struck.iter().for_each(|proxy| proxy.lose_one_in(STORE_ANSWERS_A_LOSS));
        sleep(random.millis(500..=2_000)).await;
        struck.iter().for_each(|proxy| proxy.lose_one_in(0));
        Ok(())
    }

    pub(super) async fn delay_answers(&mut self, random: &mut Random) -> anyhow::Result<()> {
        let max = random.millis(50..=800);
        delay(&some(&self.client_proxies(), random), max, random).await;
        Ok(())
    }

    pub(super) async fn delay_store(&mut self, random: &mut Random) -> anyhow::Result<()> {
        let max = random.millis(20..=300);
        delay(&some(&self.store_proxies(), random), max, random).await;
        Ok(())
    }

    pub(super) async fn half_open_clients(&mut self, random: &mut Random) -> anyhow::Result<()> {
        half_open(&some(&self.client_proxies(), random), random).await;
        Ok(())
    }

    pub(super) async fn half_open_store(&mut self, random: &mut Random) -> anyhow::Result<()> {
        half_open(&some(&self.store_proxies(), random), random).await;
        Ok(())
    }

    fn store_proxies(&self) -> Vec<&Proxy> {
        self.backing.proxies().iter().collect()
    }
}

/// One of them or all, as often.
fn some<'a>(proxies: &[&'a Proxy], random: &mut Random) -> Vec<&'a Proxy> {
    if random.coin() { proxies.to_vec() } else { random.pick(proxies).copied().into_iter().collect() }
}

async fn delay(proxies: &[&Proxy], max: Duration, random: &mut Random) {
    proxies.iter().for_each(|proxy| proxy.delay_up_to(max));
    sleep(random.millis(1_000..=4_000)).await;
    proxies.iter().for_each(|proxy| proxy.delay_up_to(Duration::ZERO));
}

async fn half_open(proxies: &[&Proxy], random: &mut Random) {
    if random.coin() {
        proxies.iter().for_each(|proxy| proxy.swallow(true));
    } else {
        proxies.iter().for_each(|proxy| proxy.orphan());
    }
    sleep(random.millis(1_000..=5_000)).await;
    // First none may come that would not be cut and has lost something.
    proxies.iter().for_each(|proxy| {
        proxy.swallow(false);
        proxy.cut();
    });
}
