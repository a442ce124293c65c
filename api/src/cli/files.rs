//! Files of exported accounts. One is written under another name until it is whole.

use super::CliError;
use bytes::Bytes;
use dragon_core::cell::Account;
use dragon_transfer::format::Decoder;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use std::io;
use std::path::{Path, PathBuf};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;

/// What the files of `--all` end with.
const EXTENSION: &str = ".ndjson";
/// What a file that is not whole ends with besides.
const PART: &str = ".part";
const PIECE_BYTES: usize = 256 << 10;

/// The pieces of an account.
pub(super) type Pieces = BoxStream<'static, Result<Bytes, CliError>>;

/// Where an account is written to.
#[derive(Debug)]
pub(super) enum Output {
    Standard,
    File(PathBuf),
}

impl Output {
    pub(super) fn new(path: Option<&Path>, is_folder: bool, account: &Account) -> Result<Self, CliError> {
        match path {
            Some(folder) if is_folder => {
                std::fs::create_dir_all(folder).map_err(|error| CliError::new(folder.display(), error))?;
                Ok(Self::File(folder.join(format!("{account}{EXTENSION}"))))
            }
            Some(path) if path != Path::new("-") => Ok(Self::File(path.into())),
            _ => Ok(Self::Standard),
        }
    }

    /// Writes the pieces, checks them as who imports them would, and returns how many rows and bytes they are.
    pub(super) async fn write(&self, account: &Account, pieces: Pieces) -> Result<(u64, u64), CliError> {
        let Self::File(path) = self else {
            return copy(account, pieces, &mut tokio::io::stdout()).await;
        };
        let mut part = path.clone().into_os_string();
        part.push(PART);
        let failed = |error: io::Error| CliError::new(path.display(), error);
        let mut file = File::create(&part).await.map_err(failed)?;
        let written = copy(account, pieces, &mut file).await?;
        file.sync_all().await.map_err(failed)?;
        tokio::fs::rename(&part, path).await.map_err(failed)?;
        Ok(written)
    }
}

async fn copy(
    account: &Account,
    mut pieces: Pieces,
    to: &mut (impl AsyncWrite + Unpin),
) -> Result<(u64, u64), CliError> {
    let failed = |error: io::Error| CliError::new("writing", error);
    let mut decoder = Decoder::new(account.clone());
    let mut bytes = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        decoder.push(&piece).map_err(|error| CliError::new(account, error))?;
        to.write_all(&piece).await.map_err(failed)?;
        bytes += piece.len() as u64;
    }
    to.flush().await.map_err(failed)?;
    let (_, rows) = decoder.finish().map_err(|error| CliError::new(account, error))?;
    Ok((rows, bytes))
}

/// Where an account is read from.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) account: Account,
    /// `None` = standard input.
    path: Option<PathBuf>,
}

impl Input {
    /// The file of one account, or all of a folder in the order of their names.
    pub(super) fn all(path: Option<&Path>, account: Option<&Account>) -> Result<Vec<Self>, CliError> {
        if let Some(account) = account {
            let path = path.filter(|path| *path != Path::new("-")).map(Path::to_owned);
            return Ok(vec![Self { account: account.clone(), path }]);
        }
        let folder = path.unwrap_or(Path::new("."));
        let failed = |error: io::Error| CliError::new(folder.display(), error);
        let mut inputs = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(EXTENSION));
            if let Some(name) = name {
                let account = Account::new(name).map_err(|error| CliError::new(path.display(), error))?;
                inputs.push(Self { account, path: Some(path) });
            }
        }
        if inputs.is_empty() {
            return Err(CliError::new(folder.display(), "there is no file that ends with .ndjson"));
        }
        inputs.sort_unstable_by(|one, other| one.account.cmp(&other.account));
        Ok(inputs)
    }

    /// The file's pieces, and its size if that is known.
    pub(super) async fn open(&self) -> Result<(Pieces, Option<u64>), CliError> {
        let Some(path) = &self.path else {
            return Ok((pieces("standard input".into(), tokio::io::stdin()), None));
        };
        let failed = |error: io::Error| CliError::new(path.display(), error);
        let file = File::open(path).await.map_err(failed)?;
        let bytes = file.metadata().await.map_err(failed)?.len();
        Ok((pieces(path.display().to_string(), file), Some(bytes)))
    }
}

fn pieces(name: String, from: impl AsyncRead + Send + 'static) -> Pieces {
    let read = ReaderStream::with_capacity(from, PIECE_BYTES);
    read.map(move |piece| piece.map_err(|error| CliError::new(&name, error))).boxed()
}
