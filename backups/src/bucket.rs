//! The bucket: a few calls of S3, with bounded memory. Region, credentials and endpoint come from where the SDK takes
//! them for every program: the environment, profiles, the machine's role.

use crate::error::{BackupError, with_causes};
use crate::frames::in_frames;
use crate::location::Location;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, ServerSideEncryption};
use aws_smithy_http_client::tls;
use bytes::{Bytes, BytesMut};
use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc::Receiver;

/// Bytes of a part: an upload holds one in memory. 10,000 parts are the most that S3 takes, 80 GB then.
const PART_BYTES: usize = 8 << 20;

/// The folder of the accounts, which alone are uploaded in parts.
pub(crate) const ACCOUNTS: &str = "accounts/";
/// How long the server may take to begin to answer; it takes a part of an upload in that time. Some stores give up an
/// account of which nothing is read for a minute.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);
/// How often a request is sent, with pauses that grow, until it counts as failed.
const TRIES_MAX: u32 = 5;
/// What was begun to be uploaded and neither completed nor given up belongs to nobody after this.
pub(crate) const UPLOAD_TIME_MAX: Duration = Duration::from_secs(86_400);

/// How the bucket is spoken to.
#[derive(Clone, Debug, Default)]
pub struct BucketOptions {
    /// Whether the bucket's name stands in the path instead of the host name, as MinIO and Garage have it.
    pub path_style: bool,
    /// How the server is asked to encrypt what it stores.
    pub encryption: Encryption,
}

/// Encryption by the server, in S3's words.
#[derive(Clone, Debug, Default)]
pub struct Encryption {
    /// `x-amz-server-side-encryption`: `AES256`, `aws:kms` or `aws:kms:dsse`.
    pub algorithm: Option<String>,
    /// `x-amz-server-side-encryption-aws-kms-key-id`.
    pub kms_key: Option<String>,
}

/// A bucket, and the prefix in it.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    location: Location,
    encryption: Encryption,
}

/// What the server says, or else what went wrong on the way. Not its whole answer: that may quote keys and tokens.
fn failed<E>(error: SdkError<E>) -> BackupError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    BackupError::Bucket(match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => with_causes(&error),
    })
}

impl Bucket {
    /// Speaks to a bucket as the surroundings say.
    pub async fn open(location: Location, options: &BucketOptions) -> Self {
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let http = aws_smithy_http_client::Builder::new().tls_provider(provider).build_https();
        let surroundings = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
        Self::in_surroundings(location, options, &surroundings)
    }

    /// Speaks to a bucket in other surroundings.
    #[must_use]
    pub fn in_surroundings(location: Location, options: &BucketOptions, surroundings: &SdkConfig) -> Self {
        let config = aws_sdk_s3::config::Builder::from(surroundings)
            .force_path_style(options.path_style)
            // Checksums that not every S3 server knows; what is stored here has its own.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .retry_config(RetryConfig::standard().with_max_attempts(TRIES_MAX))
            .timeout_config(TimeoutConfig::builder().read_timeout(ANSWER_TIME_MAX).build())
            .build();
        Self { client: Client::from_conf(config), location, encryption: options.encryption.clone() }
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    fn server_side_encryption(&self) -> Option<ServerSideEncryption> {
        self.encryption.algorithm.as_deref().map(ServerSideEncryption::from)
    }

    /// Writes a small object, and takes its time for it where it is to be gentle.
    pub(crate) async fn put(&self, name: &str, content: Bytes, is_gentle: bool) -> Result<(), BackupError> {
        let put = self.client.put_object().bucket(self.location.bucket()).key(self.location.key(name));
        let put = put.set_server_side_encryption(self.server_side_encryption());
        let put = put.set_ssekms_key_id(self.encryption.kms_key.clone());
        // What is stored has a checksum of its own, so that hashing it for the signature too is of no use.
        let put = put.body(in_frames(content, is_gentle)).customize().disable_payload_signing();
        put.send().await.map_err(failed)?;
        Ok(())
    }

    /// Writes an object of any size, and takes its time for it where it is to be gentle. One whose upload fails, or whose
    /// content ends with an error, does not come into being.
    pub(crate) async fn upload(
        &self,
        name: &str,
        mut content: Receiver<io::Result<Bytes>>,
        is_gentle: bool,
    ) -> Result<(), BackupError> {
        let mut rest = BytesMut::new();
        let first = next_part(&mut content, &mut rest).await?;
        if first.len() < PART_BYTES {
            return self.put(name, first, is_gentle).await;
        }
        let (bucket, key) = (self.location.bucket(), self.location.key(name));
        let begin = self.client.create_multipart_upload().bucket(bucket).key(&key);
        let begin = begin.set_server_side_encryption(self.server_side_encryption());
        let begin = begin.set_ssekms_key_id(self.encryption.kms_key.clone());
        let upload = begin.send().await.map_err(failed)?.upload_id.unwrap_or_default();
        match self.upload_parts((&key, &upload), first, (rest, content), is_gentle).await {
            Ok(()) => Ok(()),
            Err(error) => {
                if let Err(error) = self.abort(&key, &upload).await {
                    tracing::warn!(%error, key, "parts of an upload stay behind");
                }
                Err(error)
            }
        }
    }

    async fn upload_parts(
        &self,
        (key, upload): (&str, &str),
        first: Bytes,
        (mut rest, mut content): (BytesMut, Receiver<io::Result<Bytes>>),
        is_gentle: bool,
    ) -> Result<(), BackupError> {
        let bucket = self.location.bucket();
        let (mut part, mut parts) = (first, Vec::new());
        for number in 1.. {
            let sending = self.client.upload_part().bucket(bucket).key(key).upload_id(upload);
            let is_last = part.len() < PART_BYTES;
            let sending = sending
                .part_number(number)
                .body(in_frames(part, is_gentle))
                .customize()
                .disable_payload_signing();
            let sent = sending.send().await.map_err(failed)?;
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build());
            if is_last {
                break;
            }
            part = next_part(&mut content, &mut rest).await?;
            if part.is_empty() {
                break;
            }
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let completing = self.client.complete_multipart_upload().bucket(bucket).key(key).upload_id(upload);
        completing.multipart_upload(parts).send().await.map_err(failed)?;
        Ok(())
    }

    async fn abort(&self, key: &str, upload: &str) -> Result<(), BackupError> {
        let abort = self.client.abort_multipart_upload().bucket(self.location.bucket());
        abort.key(key).upload_id(upload).send().await.map_err(failed)?;
        Ok(())
    }

    /// Gives up the uploads that nobody will complete.
    pub(crate) async fn abort_abandoned(&self) -> Result<(), BackupError> {
        let begun_before = SystemTime::now() - UPLOAD_TIME_MAX;
        let list = self.client.list_multipart_uploads().bucket(self.location.bucket());
        let list = list.prefix(self.location.key(ACCOUNTS));
        let (mut key_marker, mut upload_marker) = (None, None);
        loop {
            let page = list.clone().set_key_marker(key_marker).set_upload_id_marker(upload_marker);
            let page = page.send().await.map_err(failed)?;
            for upload in page.uploads() {
                let begun = upload.initiated.and_then(|at| SystemTime::try_from(at).ok());
                if let (Some(key), Some(id)) = (upload.key(), upload.upload_id())
                    && begun.is_some_and(|begun| begun < begun_before)
                {
                    self.abort(key, id).await?;
                }
            }
            if page.is_truncated != Some(true) {
                return Ok(());
            }
            (key_marker, upload_marker) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    /// Reads an object.
    pub(crate) async fn read(&self, name: &str) -> Result<ByteStream, BackupError> {
        let get = self.client.get_object().bucket(self.location.bucket()).key(self.location.key(name));
        Ok(get.send().await.map_err(failed)?.body)
    }

    /// Reads a small object.
    pub(crate) async fn read_all(&self, name: &str) -> Result<Bytes, BackupError> {
        let content = self.read(name).await?.collect().await;
        Ok(content.map_err(|error| BackupError::Bucket(with_causes(&error)))?.into_bytes())
    }

    /// The names that begin with this, in order.
    pub(crate) async fn list(&self, beginning: &str) -> Result<Vec<String>, BackupError> {
        Ok(self.list_with_times(beginning).await?.into_iter().map(|(name, _)| name).collect())
    }

    /// The same, and when each was uploaded.
    pub(crate) async fn list_with_times(
        &self,
        beginning: &str,
    ) -> Result<Vec<(String, Option<SystemTime>)>, BackupError> {
        let list = self.client.list_objects_v2().bucket(self.location.bucket());
        let mut pages = list.prefix(self.location.key(beginning)).into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let objects = page.map_err(failed)?.contents.unwrap_or_default();
            names.extend(objects.iter().filter_map(|object| {
                let name = self.location.name(object.key.as_deref()?)?;
                let uploaded = object.last_modified.and_then(|at| SystemTime::try_from(at).ok());
                Some((name.to_owned(), uploaded))
            }));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Deletes an object.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), BackupError> {
        let delete = self.client.delete_object().bucket(self.location.bucket()).key(self.location.key(name));
        delete.send().await.map_err(failed)?;
        Ok(())
    }
}

/// As much as a part holds, or what is left: all parts but the last have one size, as some servers (R2) want it.
async fn next_part(
    content: &mut Receiver<io::Result<Bytes>>,
    rest: &mut BytesMut,
) -> Result<Bytes, BackupError> {
    while rest.len() < PART_BYTES
        && let Some(piece) = content.recv().await
    {
        let piece = piece.map_err(|error| BackupError::Packing(error.to_string()))?;
        // Grown once, not by doubling.
        rest.reserve((PART_BYTES + piece.len()).saturating_sub(rest.len()));
        rest.extend_from_slice(&piece);
    }
    Ok(rest.split_to(rest.len().min(PART_BYTES)).freeze())
}
