//! The writer: records are queued in memory and written by one thread, a few times a second.
//!
//! A producer takes a lock for a push and never waits for the disk. When the disk cannot be written,
//! `healthy` turns false, which closes every checkpoint; records are kept meanwhile and written, in
//! their order and whole, once there is room. What is kept is bounded: records beyond that are counted
//! as lost. `flush` (and dropping the log) writes everything that can be written.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use super::{book::Book, file::RotatingFile, record::AuditRecord};
use crate::metrics::Metrics;

/// Often enough for a person who watches, seldom enough to cost nothing at rest.
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// Under load the writer is woken earlier. Each time costs a switch of threads; what is more than this
/// no longer stays in the processor's cache on its way through.
const BATCH: usize = 512;
const QUEUE: usize = 65_536;
/// Kept while the disk cannot be written: refusals, which say little that is new, at some 10 MB.
const KEPT: usize = 16_384;
/// The last records, for the demo's table and the control plane.
const RECENT: usize = 512;

#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// Where to write; `None` keeps records in memory only (demo, tests).
    pub path: Option<PathBuf>,
    /// Rotate when a file would pass this many bytes.
    pub max_bytes: u64,
    /// Rotated files kept: `audit.jsonl.1` is the newest.
    pub keep: usize,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot write the audit log {path}: {source}; set audit.path to a file this user can write"
)]
pub struct AuditError {
    path: PathBuf,
    source: io::Error,
}

#[derive(Default)]
struct Queue {
    records: Vec<AuditRecord>,
    /// Flushes asked for, and done.
    asked: u64,
    done: u64,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    flushed: Condvar,
    healthy: AtomicBool,
    recent: Mutex<VecDeque<AuditRecord>>,
    metrics: Arc<Metrics>,
}

pub struct AuditLog {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl AuditLog {
    /// Opens the file (mode 0600) and starts the writer, so that a bad path fails at start.
    pub fn open(settings: AuditSettings, metrics: Arc<Metrics>) -> Result<Self, AuditError> {
        Self::keeping(settings, metrics, None)
    }

    /// As [`Self::open`]; what is written is entered into the book as well.
    pub fn keeping(
        settings: AuditSettings,
        metrics: Arc<Metrics>,
        book: Option<Arc<Book>>,
    ) -> Result<Self, AuditError> {
        let file = match &settings.path {
            None => None,
            Some(path) => Some(
                RotatingFile::open(path.clone(), settings.max_bytes, settings.keep).map_err(
                    |source| AuditError {
                        path: path.clone(),
                        source,
                    },
                )?,
            ),
        };
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            wake: Condvar::new(),
            flushed: Condvar::new(),
            healthy: AtomicBool::new(true),
            recent: Mutex::default(),
            metrics,
        });
        let for_writer = shared.clone();
        let writer = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || write_loop(&for_writer, file, book.as_deref()))
            .map_err(|source| AuditError {
                path: settings.path.unwrap_or_default(),
                source,
            })?;
        Ok(Self {
            shared,
            writer: Some(writer),
        })
    }

    pub fn record(&self, record: AuditRecord) {
        let bound = if self.healthy() { QUEUE } else { KEPT };
        let mut queue = self.shared.queue.lock();
        if queue.records.len() >= bound {
            drop(queue);
            self.shared.healthy.store(false, Ordering::Relaxed);
            self.shared.metrics.audit_record(false);
            return;
        }
        queue.records.push(record);
        if queue.records.len().is_multiple_of(BATCH) {
            self.shared.wake.notify_one();
        }
    }

    /// False while the log cannot be written, or does not keep up.
    pub fn healthy(&self) -> bool {
        self.shared.healthy.load(Ordering::Relaxed)
    }

    /// Writes everything recorded before the call.
    pub fn flush(&self) {
        let mut queue = self.shared.queue.lock();
        queue.asked += 1;
        let mine = queue.asked;
        self.shared.wake.notify_one();
        while queue.done < mine && !queue.closed {
            self.shared.flushed.wait(&mut queue);
        }
    }

    /// The last records, oldest first (at most 512), flushed.
    pub fn recent(&self) -> Vec<AuditRecord> {
        self.flush();
        self.shared.recent.lock().iter().cloned().collect()
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.wake.notify_one();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

fn write_loop(shared: &Shared, mut file: Option<RotatingFile>, book: Option<&Book>) {
    // Taken from the queue and not written yet; stays when the disk is full.
    let mut batch = Vec::new();
    loop {
        let (asked, closed) = {
            let mut queue = shared.queue.lock();
            let rests = !batch.is_empty() || queue.records.len() < BATCH;
            if !queue.closed && queue.asked == queue.done && rests {
                shared.wake.wait_for(&mut queue, WRITE_EVERY);
            }
            if batch.is_empty() {
                std::mem::swap(&mut queue.records, &mut batch);
            }
            (queue.asked, queue.closed)
        };
        // An unhealthy log is tried again without new records: while it is unhealthy, none may come.
        if !batch.is_empty() || !shared.healthy.load(Ordering::Relaxed) {
            let written = write_batch(shared, file.as_mut(), &batch);
            if let (Some(book), Some(written)) = (book, batch.get(..written)) {
                book.enter(written);
            }
            let mut recent = shared.recent.lock();
            recent.extend(batch.drain(..written));
            let over = recent.len().saturating_sub(RECENT);
            recent.drain(..over);
        }
        {
            let mut queue = shared.queue.lock();
            queue.done = asked;
            shared.flushed.notify_all();
            if closed && !batch.is_empty() {
                let lost = batch.len() + queue.records.len();
                (0..lost).for_each(|_| shared.metrics.audit_record(false));
                tracing::error!(lost, "audit records could not be written before the end");
                return;
            }
            if closed && queue.records.is_empty() {
                return;
            }
        }
    }
}

/// Writes what can be written, and says how many records that was. What a record of them left
/// behind in the buffer is kept there, and goes out before the next one.
fn write_batch(shared: &Shared, file: Option<&mut RotatingFile>, batch: &[AuditRecord]) -> usize {
    let (written, healthy) = match file {
        None => (batch.len(), true),
        Some(file) => {
            let whole = batch
                .iter()
                .take_while(|record| file.write(record).is_ok())
                .count();
            (whole, file.flush().is_ok() && whole == batch.len())
        }
    };
    (0..written).for_each(|_| shared.metrics.audit_record(true));
    if !healthy {
        shared.metrics.audit_record(false);
    }
    let was = shared.healthy.swap(healthy, Ordering::Relaxed);
    if was && !healthy {
        tracing::error!("audit log cannot be written; free space or fix its permissions");
    } else if healthy && !was {
        tracing::info!("audit log can be written again");
    }
    written
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::{
        audit::{AuditKind, file::numbered},
        net::Entry,
        policy::{Reason, RuleName},
    };

    fn record(path: &str) -> AuditRecord {
        AuditRecord {
            time: time::OffsetDateTime::UNIX_EPOCH,
            id: uuid::Uuid::nil(),
            kind: AuditKind::Request,
            entry: Entry::Explicit,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            session: None,
            user: None,
            authority: crate::net::Authority::parse("allowed.test:443", None).ok(),
            method: Some("GET".into()),
            path: Some(path.into()),
            action: "deny",
            rule: RuleName::none(),
            reason: Reason::NoRuleMatched,
            would_deny: None,
            ended: None,
            status: Some(403),
            answered_by: None,
            upstream: None,
            detail: None,
            bytes_in: 0,
            bytes_out: 0,
            left_machine_bytes: 0,
            duration_us: 5,
            generation: 1,
            chat: None,
            responder: None,
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_never_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        let mut file = RotatingFile::open(path.clone(), 100, 3).unwrap();
        for _ in 0..10 {
            file.write(&record("/")).unwrap();
        }
        file.flush().unwrap();
        assert!(path.is_symlink(), "it was renamed");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_record_is_one_json_line_and_dropping_the_log_loses_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/audit.jsonl");
        let settings = AuditSettings {
            path: Some(path.clone()),
            max_bytes: 1 << 20,
            keep: 2,
        };
        let log = AuditLog::open(settings, Arc::new(Metrics::new())).unwrap();
        for n in 0..100 {
            log.record(record(&format!("/{n}")));
        }
        drop(log);
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(lines.len(), 100);
        assert_eq!(lines[7]["path"], "/7");
        assert_eq!(lines[7]["reason"], "no_rule_matched");
    }

    #[test]
    fn a_record_is_not_glued_to_one_that_a_power_cut_tore() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        std::fs::write(&path, "{\"time\":\"2026").unwrap();
        let settings = AuditSettings {
            path: Some(path.clone()),
            max_bytes: 1 << 20,
            keep: 1,
        };
        let log = AuditLog::open(settings, Arc::new(Metrics::new())).unwrap();
        log.record(record("/whole"));
        drop(log);
        let text = std::fs::read_to_string(path).unwrap();
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["path"], "/whole");
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn a_full_disk_is_unhealthy_until_it_can_be_written_again() {
        let full = PathBuf::from("/dev/full");
        if !full.exists() {
            return;
        }
        let settings = AuditSettings {
            path: Some(full),
            max_bytes: 1 << 20,
            keep: 1,
        };
        let log = AuditLog::open(settings, Arc::new(Metrics::new())).unwrap();
        assert!(log.healthy());
        log.record(record("/"));
        log.flush();
        assert!(!log.healthy());
    }

    #[test]
    fn a_rotation_that_failed_half_way_is_finished_when_it_can_be_and_no_record_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let settings = AuditSettings {
            path: Some(path.clone()),
            max_bytes: 1000,
            keep: 4,
        };
        let metrics = Arc::new(Metrics::new());
        let log = AuditLog::open(settings, metrics.clone()).unwrap();
        // A file cannot go where a folder with something in it stands: .3 moves to .4, .2 does not to .3.
        for n in [1, 4] {
            std::fs::create_dir_all(numbered(&path, n).join("full")).unwrap();
        }
        std::fs::write(numbered(&path, 3), "").unwrap();
        (0..5).for_each(|n| log.record(record(&format!("/{n}"))));
        log.flush();
        assert!(!log.healthy());
        (5..9).for_each(|n| log.record(record(&format!("/{n}"))));
        log.flush();
        assert_eq!(log.shared.queue.lock().records.len(), 4, "they are kept");
        for n in [1, 4] {
            std::fs::remove_dir_all(numbered(&path, n)).unwrap();
        }
        // Someone else moved the file meanwhile.
        std::fs::rename(&path, dir.path().join("moved")).unwrap();
        log.flush();
        log.flush();
        assert!(log.healthy());
        drop(log);
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            for line in text.lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                paths.push(line["path"].as_str().unwrap().to_owned());
            }
        }
        paths.sort();
        let expected: Vec<_> = (0..9).map(|n| format!("/{n}")).collect();
        assert_eq!(paths, expected);
        assert!(metrics.render().contains("airlock_audit_records_total 9"));
    }

    #[test]
    fn a_full_file_is_rotated_and_only_the_kept_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let settings = AuditSettings {
            path: Some(path.clone()),
            max_bytes: 1000,
            keep: 2,
        };
        let log = AuditLog::open(settings, Arc::new(Metrics::new())).unwrap();
        (0..50).for_each(|n| log.record(record(&format!("/{n}"))));
        log.flush();
        let mut names: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]);
        assert_eq!(log.recent().len(), 50);
    }

    #[test]
    fn a_path_that_cannot_be_written_fails_at_start_with_the_fix() {
        let dir = tempfile::tempdir().unwrap();
        let blocker = dir.path().join("file");
        std::fs::write(&blocker, "").unwrap();
        let settings = AuditSettings {
            path: Some(blocker.join("audit.jsonl")),
            max_bytes: 1,
            keep: 1,
        };
        let error = AuditLog::open(settings, Arc::new(Metrics::new()))
            .err()
            .unwrap();
        assert!(error.to_string().contains("set audit.path"), "{error}");
    }
}
