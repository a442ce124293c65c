//! Reading backups: to look whether they are whole, and to put their accounts back.

use crate::BackupError;
use crate::bucket::Bucket;
use crate::hashing::Hashing;
use crate::manifest::{AccountEntry, Manifest};
use async_compression::tokio::bufread::ZstdDecoder;
use dragon_core::cell::Account;
use dragon_transfer::format::Decoder;
use dragon_transfer::{Imported, Mode, import};
use dragon_waiters::Frontend;
use tokio::io::{AsyncRead, AsyncReadExt as _, BufReader};
use tokio_util::io::ReaderStream;

const PIECE_BYTES: usize = 256 << 10;

/// An entry's account, and the way to say what is wrong with it.
struct Entry<'a> {
    id: &'a str,
    entry: &'a AccountEntry,
}

impl Entry<'_> {
    fn damaged(&self, problem: impl ToString) -> BackupError {
        BackupError::Damaged {
            id: self.id.into(),
            account: self.entry.account.clone(),
            problem: problem.to_string(),
        }
    }

    fn account(&self) -> Result<Account, BackupError> {
        Account::new(&self.entry.account).map_err(|error| self.damaged(error))
    }

    /// Checks what was read of the object.
    fn check<R>(&self, read: Hashing<R>) -> Result<(), BackupError> {
        let (bytes, sha256) = read.finish();
        if (bytes, sha256.as_str()) != (self.entry.bytes, self.entry.sha256.as_str()) {
            return Err(self.damaged("its object is not the one that was uploaded"));
        }
        Ok(())
    }

    async fn object(&self, bucket: &Bucket) -> Result<Hashing<impl AsyncRead + Unpin + use<>>, BackupError> {
        Ok(Hashing::new(bucket.read(&self.entry.object).await?.into_async_read()))
    }
}

/// Downloads everything of a backup and checks it, without a store.
///
/// # Errors
/// [`BackupError::Damaged`] with the first account that is not whole.
pub async fn verify(bucket: &Bucket, manifest: &Manifest) -> Result<(), BackupError> {
    for entry in &manifest.accounts {
        let entry = Entry { id: &manifest.id, entry };
        verify_one(bucket, &entry).await?;
    }
    Ok(())
}

async fn verify_one(bucket: &Bucket, entry: &Entry<'_>) -> Result<(), BackupError> {
    let mut object = entry.object(bucket).await?;
    let mut lines = ZstdDecoder::new(BufReader::with_capacity(PIECE_BYTES, &mut object));
    let mut decoder = Decoder::new(entry.account()?);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = lines.read(&mut piece).await.map_err(|error| entry.damaged(error))?;
        if read == 0 {
            break;
        }
        decoder.push(&piece[..read]).map_err(|error| entry.damaged(error))?;
    }
    let (head, rows) = decoder.finish().map_err(|error| entry.damaged(error))?;
    // What comes behind the compressed content is part of the object too.
    tokio::io::copy(&mut object, &mut tokio::io::sink()).await.map_err(|error| entry.damaged(error))?;
    entry.check(object)?;
    let told = (&entry.entry.account, entry.entry.revision, entry.entry.rows);
    if (&head.account, head.revision, rows) != told {
        return Err(entry.damaged("it is not the account that the manifest tells of"));
    }
    Ok(())
}

/// Puts the accounts of a backup, or one of them, into a store. Unless it is forced, the store must have no account,
/// or of the one account nothing.
///
/// # Errors
/// [`BackupError`]. The accounts before the one that failed are restored, and that one is as it was.
pub async fn restore(
    frontend: &Frontend,
    bucket: &Bucket,
    manifest: &Manifest,
    account: Option<&Account>,
    is_forced: bool,
) -> Result<Vec<(Account, Imported)>, BackupError> {
    let is_wanted = |entry: &&AccountEntry| account.is_none_or(|account| account.as_str() == entry.account);
    let wanted: Vec<&AccountEntry> = manifest.accounts.iter().filter(is_wanted).collect();
    if let (Some(account), true) = (account, wanted.is_empty()) {
        return Err(BackupError::NoAccount { id: manifest.id.clone(), account: account.clone() });
    }
    if !is_forced && account.is_none() && !frontend.accounts(None, 1).await?.accounts.is_empty() {
        return Err(BackupError::NotEmpty);
    }
    let mode = if is_forced { Mode::Replace } else { Mode::Empty };
    let mut restored = Vec::new();
    for entry in wanted {
        let entry = Entry { id: &manifest.id, entry };
        // All of it is looked at before anything of it is changed.
        verify_one(bucket, &entry).await?;
        let account = entry.account()?;
        let object = BufReader::with_capacity(PIECE_BYTES, entry.object(bucket).await?);
        let pieces = ReaderStream::with_capacity(ZstdDecoder::new(object), PIECE_BYTES);
        let imported = import(frontend, &account, mode, pieces).await;
        let imported = imported.map_err(|error| BackupError::Import(account.clone(), error))?;
        restored.push((account, imported));
    }
    Ok(restored)
}
