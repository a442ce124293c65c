//! The bucket: a few calls of S3, with bounded memory. Region, credentials and endpoint come from where the SDK takes
//! them for every program: the environment, profiles, the machine's role.

use crate::BackupError;
use crate::location::Location;
use aws_config::BehaviorVersion;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_smithy_http_client::tls;
use bytes::{Bytes, BytesMut};
use std::error::Error;
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes of a part: an upload holds one in memory. 10,000 parts are the most that S3 takes, 80 GB then.
const PART_BYTES: usize = 8 << 20;

/// How the bucket is spoken to.
#[derive(Clone, Debug, Default)]
pub struct BucketOptions {
    /// Whether the bucket's name stands in the path instead of the host name, as MinIO and Garage have it.
    pub path_style: bool,
}

/// A bucket, and the prefix in it.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    location: Location,
}

fn failed<E: Error>(error: E) -> BackupError {
    BackupError::Bucket(DisplayErrorContext(error).to_string())
}

impl Bucket {
    /// Speaks to a bucket as the surroundings say.
    pub async fn open(location: Location, options: &BucketOptions) -> Self {
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let http = aws_smithy_http_client::Builder::new().tls_provider(provider).build_https();
        let surroundings = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
        let config = aws_sdk_s3::config::Builder::from(&surroundings)
            .force_path_style(options.path_style)
            // Checksums that not every S3 server knows; what is stored here has its own.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Self::with_client(Client::from_conf(config), location)
    }

    /// Speaks to a bucket by this client.
    #[must_use]
    pub fn with_client(client: Client, location: Location) -> Self {
        Self { client, location }
    }

    /// Writes a small object.
    pub(crate) async fn put(&self, name: &str, content: Bytes) -> Result<(), BackupError> {
        let put = self.client.put_object().bucket(self.location.bucket()).key(self.location.key(name));
        put.body(content.into()).send().await.map_err(failed)?;
        Ok(())
    }

    /// Writes an object of any size. One whose upload fails does not come into being.
    pub(crate) async fn upload(
        &self,
        name: &str,
        mut content: impl AsyncRead + Unpin,
    ) -> Result<(), BackupError> {
        let first = next_part(&mut content).await?;
        if first.len() < PART_BYTES {
            return self.put(name, first).await;
        }
        let (bucket, key) = (self.location.bucket(), self.location.key(name));
        let begun = self.client.create_multipart_upload().bucket(bucket).key(&key).send();
        let upload = begun.await.map_err(failed)?.upload_id.unwrap_or_default();
        match self.upload_parts((&key, &upload), first, content).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let aborting =
                    self.client.abort_multipart_upload().bucket(bucket).key(&key).upload_id(&upload);
                if let Err(error) = aborting.send().await {
                    tracing::warn!(error = %DisplayErrorContext(error), key, "parts of an upload stay behind");
                }
                Err(error)
            }
        }
    }

    async fn upload_parts(
        &self,
        (key, upload): (&str, &str),
        first: Bytes,
        mut content: impl AsyncRead + Unpin,
    ) -> Result<(), BackupError> {
        let bucket = self.location.bucket();
        let (mut part, mut parts) = (first, Vec::new());
        for number in 1.. {
            let sending = self.client.upload_part().bucket(bucket).key(key).upload_id(upload);
            let is_last = part.len() < PART_BYTES;
            let sent = sending.part_number(number).body(part.into()).send().await.map_err(failed)?;
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build());
            if is_last {
                break;
            }
            part = next_part(&mut content).await?;
            if part.is_empty() {
                break;
            }
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let completing = self.client.complete_multipart_upload().bucket(bucket).key(key).upload_id(upload);
        completing.multipart_upload(parts).send().await.map_err(failed)?;
        Ok(())
    }

    /// Reads an object.
    pub(crate) async fn read(&self, name: &str) -> Result<ByteStream, BackupError> {
        let get = self.client.get_object().bucket(self.location.bucket()).key(self.location.key(name));
        Ok(get.send().await.map_err(failed)?.body)
    }

    /// Reads a small object.
    pub(crate) async fn read_all(&self, name: &str) -> Result<Bytes, BackupError> {
        Ok(self.read(name).await?.collect().await.map_err(failed)?.into_bytes())
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

/// As much as a part holds, or the rest.
async fn next_part(content: &mut (impl AsyncRead + Unpin)) -> Result<Bytes, BackupError> {
    let mut part = BytesMut::with_capacity(PART_BYTES);
    let mut content = content.take(PART_BYTES as u64);
    while content.read_buf(&mut part).await.map_err(|error| BackupError::Bucket(error.to_string()))? > 0 {}
    Ok(part.freeze())
}
