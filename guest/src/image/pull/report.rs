//! Tells a job's progress in the order and with the words of Docker, not more often than a terminal is drawn.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use super::error::PullError;
use super::job::{Progress, Stage};
use super::manifest::Descriptor;
use super::progress::{LayerStatus, PullProgress};

/// Between two counts of bytes of one layer.
const PAUSE: Duration = Duration::from_millis(100);

/// Follows one layer's job to its end, and returns the bytes of the layer's files.
pub(super) async fn follow(
    mut job: watch::Receiver<Progress>,
    blob: &Descriptor,
    events: &mpsc::Sender<PullProgress>,
) -> Result<u64, PullError> {
    let mut teller = Teller { last: None, counted: None, blob };
    loop {
        let now = job.borrow_and_update().clone();
        for status in teller.news(&now, Instant::now()) {
            // Nobody to tell is no error, see `Images::pull`.
            let _ = events.send(PullProgress::Layer { id: blob.digest.short(), status }).await;
        }
        if let Some(outcome) = now.outcome {
            return outcome;
        }
        if job.changed().await.is_err() {
            return Err(PullError::Cancelled);
        }
    }
}

struct Teller<'a> {
    last: Option<Stage>,
    counted: Option<Instant>,
    blob: &'a Descriptor,
}

impl Teller<'_> {
    /// What there is to tell. Every milestone comes once and in order, also where a fast job passed several at a
    /// time; counts of bytes come when there is time for them.
    fn news(&mut self, now: &Progress, time: Instant) -> Vec<LayerStatus> {
        let mut news = Vec::new();
        let failed = matches!(now.outcome, Some(Err(_)));
        let milestones = [Stage::Waiting, Stage::Downloading, Stage::Downloaded, Stage::Unpacked];
        for stage in milestones.into_iter().filter(|stage| *stage <= now.stage) {
            if self.last.is_some_and(|last| stage <= last) || failed {
                continue;
            }
            self.last = Some(stage);
            match stage {
                Stage::Waiting if now.stage > Stage::Waiting => {}
                Stage::Waiting => news.push(LayerStatus::Waiting),
                Stage::Downloading => {}
                Stage::Downloaded => {
                    news.extend([LayerStatus::VerifyingChecksum, LayerStatus::DownloadComplete]);
                }
                Stage::Unpacked => news.push(LayerStatus::PullComplete),
            }
        }
        let total = self.blob.size;
        let count = match now.stage {
            Stage::Downloading => Some(LayerStatus::Downloading { current: now.downloaded, total }),
            Stage::Downloaded => Some(LayerStatus::Extracting { current: now.unpacked, total }),
            Stage::Waiting | Stage::Unpacked => None,
        };
        if let Some(count) = count
            && self.counted.is_none_or(|then| time.duration_since(then) >= PAUSE)
        {
            self.counted = Some(time);
            news.push(count);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holm_api::Digest;

    fn blob() -> Descriptor {
        let digest = Digest::from_bytes([1; 32]);
        serde_json::from_str(&format!(r#"{{"digest":"{digest}","size":10}}"#)).unwrap()
    }

    #[test]
    fn a_job_that_is_done_before_anybody_looks_is_told_from_its_milestones() {
        let blob = blob();
        let mut teller = Teller { last: None, counted: None, blob: &blob };
        let done = Progress { stage: Stage::Unpacked, outcome: Some(Ok(1)), ..Progress::default() };
        assert_eq!(
            teller.news(&done, Instant::now()),
            [LayerStatus::VerifyingChecksum, LayerStatus::DownloadComplete, LayerStatus::PullComplete]
        );
        assert_eq!(teller.news(&done, Instant::now()), []);
    }

    #[test]
    fn bytes_are_counted_no_more_often_than_they_can_be_read() {
        let blob = blob();
        let mut teller = Teller { last: None, counted: None, blob: &blob };
        let at = |downloaded| Progress { stage: Stage::Downloading, downloaded, ..Progress::default() };
        let start = Instant::now();
        assert_eq!(teller.news(&at(1), start), [LayerStatus::Downloading { current: 1, total: 10 }]);
        assert_eq!(teller.news(&at(2), start), []);
        assert_eq!(teller.news(&at(3), start + PAUSE), [LayerStatus::Downloading { current: 3, total: 10 }]);
    }

    #[test]
    fn a_failed_layer_is_not_called_complete() {
        let blob = blob();
        let mut teller = Teller { last: None, counted: None, blob: &blob };
        let outcome = Some(Err(PullError::NoSpace));
        let failed = Progress { stage: Stage::Unpacked, outcome, ..Progress::default() };
        assert_eq!(teller.news(&failed, Instant::now()), []);
    }
}
