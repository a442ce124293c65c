//! What servers on a database count besides: commits and retries, and which part of the CPU time is the
//! database's. Of servers that have none, nothing.

use crate::outcome::Outcome;
use crate::probe::total;
use crate::server::Server;
use crate::usage::Processes;
use anyhow::Result;
use std::time::Duration;

/// Commits and retries, as each program names them.
const COMMITS: [&str; 3] =
    ["dragon_postgres_commits_total", "dragon_foundationdb_commits_total", "dragon_one_by_one_commits_total"];
const RETRIES: [&str; 3] =
    ["dragon_postgres_retries_total", "dragon_foundationdb_retries_total", "dragon_one_by_one_retries_total"];

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    commits: Option<f64>,
    retries: Option<f64>,
    database_cpu: Option<Duration>,
    all_cpu: Option<Duration>,
}

impl Counts {
    /// Looks.
    ///
    /// # Errors
    /// When a server does not answer.
    pub async fn of(server: &Server) -> Result<Self> {
        if !server.is_on_database() {
            return Ok(Self::default());
        }
        let database = server.database_processes();
        Ok(Self {
            commits: first_known(server, COMMITS).await?,
            retries: first_known(server, RETRIES).await?,
            database_cpu: database.as_ref().map(Processes::cpu_time).transpose()?.flatten(),
            all_cpu: server.processes().cpu_time()?,
        })
    }

    /// The outcome with what was counted since, from before the warm-up until after the checks at the end.
    ///
    /// # Errors
    /// When a server does not answer.
    pub async fn until_now(self, server: &Server, outcome: Outcome) -> Result<Outcome> {
        let now = Self::of(server).await?;
        let since = |before: Option<f64>, now: Option<f64>| Some(now? - before.unwrap_or_default());
        let (commits, retries) = (since(self.commits, now.commits), since(self.retries, now.retries));
        let per_commit = commits.zip(retries).filter(|(commits, _)| *commits > 0.0);
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        let database = since(seconds(self.database_cpu), seconds(now.database_cpu));
        let all = since(seconds(self.all_cpu), seconds(now.all_cpu)).filter(|all| *all > 0.0);
        Ok(outcome
            .with_known("commits", commits)
            .with_known("retries", retries)
            .with_known("retries a commit", per_commit.map(|(commits, retries)| retries / commits))
            .with_known(
                "% of the CPU time in the database",
                database.zip(all).map(|(its, all)| 100.0 * its / all),
            ))
    }
}

/// The first of these that the server shows.
async fn first_known(server: &Server, names: [&str; 3]) -> Result<Option<f64>> {
    for name in names {
        if let Some(found) = total(server, name).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
