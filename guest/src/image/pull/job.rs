//! One layer on its way in. Pulls that want the same layer share one job; it ends early when the last of them
//! goes away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use holm_api::Digest;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use super::error::PullError;
use super::manifest::Descriptor;
use crate::image::registry::{BlobError, Session};
use crate::image::stream::{Gauge, Inflow, Outflow};
use crate::image::{Shared, blocking};

/// Layers that are downloaded at the same time. Docker's number; on loopback, more gain nothing.
const DOWNLOADS: usize = 3;
/// Pieces that wait to be written. A piece is at most some 400 KiB, hyper's largest buffer.
const PIECES: usize = 8;

/// How far a layer is.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub(super) stage: Stage,
    pub(super) downloaded: u64,
    /// Of the compressed bytes.
    pub(super) unpacked: u64,
    /// The bytes of its files, or why there are none.
    pub(super) outcome: Option<Result<u64, PullError>>,
}

/// In the order in which they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    #[default]
    Waiting,
    Downloading,
    Downloaded,
    Unpacked,
}

/// A running job. Whoever holds it keeps it running.
pub(super) struct Job {
    progress: watch::Receiver<Progress>,
    task: JoinHandle<()>,
    gauge: Arc<Gauge>,
}

/// All running jobs, and what they share.
pub(in crate::image) struct Jobs {
    running: Mutex<HashMap<(Digest, Digest), Weak<Job>>>,
    downloads: Semaphore,
    unpackers: Semaphore,
}

impl Default for Jobs {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            running: Mutex::default(),
            downloads: Semaphore::new(DOWNLOADS),
            unpackers: Semaphore::new(processors),
        }
    }
}

impl Job {
    /// The job for this layer: the running one, or a new one that asks `session`.
    pub(super) fn of(
        shared: &Arc<Shared>,
        session: &Arc<Session>,
        blob: &Descriptor,
        diff_id: Digest,
    ) -> Arc<Self> {
        let mut running = shared.jobs.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, job| job.strong_count() > 0);
        let key = (blob.digest, diff_id);
        if let Some(job) = running.get(&key).and_then(Weak::upgrade)
            // A failed one is left to those who watched it fail.
            && !matches!(job.progress.borrow().outcome, Some(Err(_)))
        {
            return job;
        }
        let (sender, progress) = watch::channel(Progress::default());
        let held = shared.blobs.holds(&blob.digest);
        let gauge = Arc::new(if held { Gauge::whole(blob.size, blob.digest) } else { Gauge::default() });
        let work = Work {
            shared: shared.clone(),
            session: session.clone(),
            blob: blob.clone(),
            diff_id,
            gauge: gauge.clone(),
            sender,
        };
        let task = tokio::spawn(async move {
            let outcome = if held { work.unpack_held().await } else { work.download_and_unpack().await };
            work.sender.send_modify(|progress| {
                progress.stage = Stage::Unpacked;
                progress.outcome = Some(outcome);
            });
        });
        let job = Arc::new(Self { progress, task, gauge });
        running.insert(key, Arc::downgrade(&job));
        job
    }

    pub(super) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.task.abort();
        // A thread that unpacks cannot be aborted; it finds out with its next read.
        self.gauge.fail();
    }
}

struct Work {
    shared: Arc<Shared>,
    session: Arc<Session>,
    blob: Descriptor,
    diff_id: Digest,
    gauge: Arc<Gauge>,
    sender: watch::Sender<Progress>,
}

impl Work {
    async fn unpack_held(&self) -> Result<u64, PullError> {
        let path = self.shared.blobs.path(&self.blob.digest);
        self.sender.send_modify(|progress| progress.stage = Stage::Downloaded);
        self.unpack(path).await
    }

    async fn download_and_unpack(&self) -> Result<u64, PullError> {
        let Ok(permit) = self.shared.jobs.downloads.acquire().await else { return Err(PullError::Cancelled) };
        let half = self.shared.blobs.begin().map_err(PullError::from_store_io)?;
        self.sender.send_modify(|progress| progress.stage = Stage::Downloading);
        let download = async {
            let result = self.download(half.path()).await;
            drop(permit);
            if result.is_ok() {
                self.sender.send_modify(|progress| progress.stage = Stage::Downloaded);
            }
            result
        };
        // Both always come to an end: a failed download ends the unpacking, and of two failures it is the cause.
        let (downloaded, unpacked) = tokio::join!(download, self.unpack(half.path().to_owned()));
        downloaded?;
        let size = unpacked?;
        self.shared.blobs.keep(half, &self.blob.digest).map_err(PullError::from_store_io)?;
        Ok(size)
    }

    async fn download(&self, path: &std::path::Path) -> Result<(), PullError> {
        let mut inflow = Inflow::new(path, self.gauge.clone()).map_err(PullError::from_store_io)?;
        let (pieces, mut arriving) = mpsc::channel::<Bytes>(PIECES);
        let digest = self.blob.digest;
        // Hashing and writing take a processor: not one of the few threads that everything else waits on. The
        // channel's end without the word that all is there leaves the file broken.
        let (all_there, is_all_there) = tokio::sync::oneshot::channel::<()>();
        let sender = self.sender.clone();
        let writing = tokio::task::spawn_blocking(move || {
            while let Some(piece) = arriving.blocking_recv() {
                inflow.write(&piece)?;
                sender.send_modify(|progress| progress.downloaded += piece.len() as u64);
            }
            Ok(is_all_there.blocking_recv().is_ok() && inflow.finish(&digest))
        });
        let came = self.session.blob(&digest, self.blob.size, &pieces).await;
        if came.is_ok() {
            // The other end is gone only after a failed write, which is told below.
            let _ = all_there.send(());
        } else {
            drop(all_there);
        }
        drop(pieces);
        let written: std::io::Result<bool> = writing.await.map_err(|_| PullError::Cancelled)?;
        match (came, written) {
            (_, Err(error)) => Err(PullError::from_layer_io(digest, error)),
            (Err(BlobError::Registry(error)), _) => Err(error.into()),
            (Err(BlobError::Size(wrong)), _) => {
                Err(PullError::Size { blob: digest, expected: self.blob.size, got: wrong.got })
            }
            (Err(BlobError::Taker), _) => Err(PullError::Cancelled),
            (Ok(()), Ok(false)) => Err(PullError::LayerDigest(digest)),
            (Ok(()), Ok(true)) => Ok(()),
        }
    }

    async fn unpack(&self, path: std::path::PathBuf) -> Result<u64, PullError> {
        let Ok(_permit) = self.shared.jobs.unpackers.acquire().await else {
            return Err(PullError::Cancelled);
        };
        let (shared, gauge, diff_id, digest) =
            (self.shared.clone(), self.gauge.clone(), self.diff_id, self.blob.digest);
        let unpacking = blocking(move || {
            let mut tar = Outflow::open(&path, gauge, Some(diff_id), &shared.windows)?;
            shared.layers.unpack(&diff_id, &mut tar)
        });
        let mut unpacking = std::pin::pin!(unpacking);
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(100));
        loop {
            tokio::select! {
                unpacked = &mut unpacking => {
                    let size = unpacked.map_err(|error| PullError::from_layer_io(digest, error))?;
                    self.shared.note_size(diff_id, size);
                    return Ok(size);
                }
                _ = tick.tick() => {
                    let read = self.gauge.read();
                    self.sender.send_modify(|progress| progress.unpacked = read);
                }
            }
        }
    }
}
