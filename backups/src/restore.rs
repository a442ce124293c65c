//! Reading backups: to look whether they are whole, and to put their accounts back.

use crate::BackupError;
use crate::bucket::Bucket;
use crate::cipher::Identities;
use crate::manifest::{AccountEntry, Manifest};
use crate::packing::{Unpacking, unpack};
use bytes::Bytes;
use dragon_core::cell::Account;
use dragon_transfer::{Imported, Mode, import};
use dragon_waiters::Frontend;
use futures_util::stream::{BoxStream, StreamExt as _, unfold};

/// The lines of an account out of a backup, or what is wrong with it.
pub type Lines = BoxStream<'static, Result<Bytes, String>>;

/// Where accounts are restored to.
pub trait Target {
    /// Whether it has no account.
    fn is_empty(&self) -> impl Future<Output = Result<bool, BackupError>>;

    /// Imports an account: all of it, or nothing of it and why.
    fn import(
        &self,
        account: &Account,
        mode: Mode,
        lines: Lines,
    ) -> impl Future<Output = Result<Imported, String>>;
}

impl Target for Frontend {
    async fn is_empty(&self) -> Result<bool, BackupError> {
        Ok(self.accounts(None, 1).await?.accounts.is_empty())
    }

    async fn import(&self, account: &Account, mode: Mode, lines: Lines) -> Result<Imported, String> {
        import(self, account, mode, lines).await.map_err(|error| error.to_string())
    }
}

/// A bucket to read from, and the keys of what is encrypted in it.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The bucket.
    pub bucket: Bucket,
    /// The secret keys.
    pub identities: Identities,
}

impl Reader {
    /// The lines of an account, which are checked as they come: those of one that is not whole end with an error.
    async fn lines(&self, id: &str, entry: &AccountEntry) -> Result<(Account, Lines), BackupError> {
        let account = Account::new(&entry.account).map_err(|error| damaged(id, entry, &error.to_string()))?;
        let mut object = self.bucket.read(&entry.object).await?;
        let Unpacking { object: to_unpack, lines, looked_at } =
            unpack(account.clone(), entry.clone(), self.identities.clone());
        let feeding = async move {
            while let Some(piece) = object.next().await {
                let piece = piece.map_err(|error| format!("the bucket: {error}"))?;
                // It takes no more where it has found damage.
                if to_unpack.send(piece).await.is_err() {
                    break;
                }
            }
            Ok(())
        };
        let feeding = tokio::spawn(feeding);
        let lines = unfold(Some((lines, looked_at, feeding)), |reading| async move {
            let (mut lines, looked_at, feeding) = reading?;
            match lines.recv().await {
                Some(Ok(piece)) => Some((Ok(piece), Some((lines, looked_at, feeding)))),
                // An object that did not arrive whole is damaged as well, but that is not why.
                Some(Err(problem)) => match feeding.await {
                    Ok(Err(not_arrived)) => Some((Err(not_arrived), None)),
                    _ => Some((Err(problem), None)),
                },
                None => looked_at.await.err().map(|_| (Err("unpacking broke off".to_owned()), None)),
            }
        });
        Ok((account, lines.boxed()))
    }

    /// Downloads an account and checks it, without a store.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] when it is not what the manifest says.
    pub async fn verify(&self, id: &str, entry: &AccountEntry) -> Result<(), BackupError> {
        let (_, mut lines) = self.lines(id, entry).await?;
        while let Some(piece) = lines.next().await {
            piece.map_err(|problem| damaged(id, entry, &problem))?;
        }
        Ok(())
    }

    /// Puts an account into a store, all of it or nothing.
    ///
    /// # Errors
    /// [`BackupError`]; the account is as it was then.
    pub async fn restore(
        &self,
        target: &impl Target,
        id: &str,
        entry: &AccountEntry,
        mode: Mode,
    ) -> Result<Imported, BackupError> {
        let (account, lines) = self.lines(id, entry).await?;
        let imported = target.import(&account, mode, lines).await;
        imported.map_err(|problem| BackupError::Restore(account, problem))
    }
}

fn damaged(id: &str, entry: &AccountEntry, problem: &str) -> BackupError {
    let (id, account) = (id.to_owned(), entry.account.clone());
    BackupError::Damaged { id, account, problem: problem.to_owned() }
}

/// The entries that are to be restored: all, or that of one account. Unless it is forced, the target must be empty if it
/// is all of them.
///
/// # Errors
/// [`BackupError::NoAccount`], [`BackupError::NotEmpty`].
pub async fn wanted<'a>(
    target: &impl Target,
    manifest: &'a Manifest,
    account: Option<&Account>,
    is_forced: bool,
) -> Result<Vec<&'a AccountEntry>, BackupError> {
    let is_wanted = |entry: &&AccountEntry| account.is_none_or(|account| account.as_str() == entry.account);
    let wanted: Vec<&AccountEntry> = manifest.accounts.iter().filter(is_wanted).collect();
    match account {
        Some(account) if wanted.is_empty() => {
            Err(BackupError::NoAccount { id: manifest.id.clone(), account: account.clone() })
        }
        None if !is_forced && !target.is_empty().await? => Err(BackupError::NotEmpty),
        _ => Ok(wanted),
    }
}
