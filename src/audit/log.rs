//! The writer: records are queued in memory and written by one thread, a few times a second.
//!
//! A producer takes a lock for a push and never waits for the disk. The queue is bounded: when the
//! disk does not keep up, or cannot be written, records are counted as lost and `healthy` turns
//! false. `flush` (and dropping the log) writes everything that was accepted.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use super::{line, record::AuditRecord};
use crate::metrics::Metrics;

/// Often enough for a person who watches, seldom enough to cost nothing at rest.
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// Under load the writer is woken earlier: while it is at most this much, a batch stays in the
/// processor's cache on its way through.
const BATCH: usize = 128;
/// Room for a batch: one system call each.
const FILE_BUFFER: usize = 64 << 10;
const QUEUE: usize = 65_536;
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
            .spawn(move || write_loop(&for_writer, file))
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
        let mut queue = self.shared.queue.lock();
        if queue.records.len() >= QUEUE {
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

    /// False while records are being lost.
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

fn write_loop(shared: &Shared, mut file: Option<RotatingFile>) {
    let mut batch = Vec::new();
    loop {
        let (asked, closed) = {
            let mut queue = shared.queue.lock();
            if !queue.closed && queue.asked == queue.done && queue.records.len() < BATCH {
                shared.wake.wait_for(&mut queue, WRITE_EVERY);
            }
            std::mem::swap(&mut queue.records, &mut batch);
            (queue.asked, queue.closed)
        };
        // An unhealthy log is tried again without new records: while it is unhealthy, none may come.
        if !batch.is_empty() || !shared.healthy.load(Ordering::Relaxed) {
            write_batch(shared, file.as_mut(), &batch);
            let mut recent = shared.recent.lock();
            recent.extend(batch.drain(..));
            let over = recent.len().saturating_sub(RECENT);
            recent.drain(..over);
        }
        {
            let mut queue = shared.queue.lock();
            queue.done = asked;
            shared.flushed.notify_all();
            if closed && queue.records.is_empty() {
                return;
            }
        }
    }
}

fn write_batch(shared: &Shared, file: Option<&mut RotatingFile>, batch: &[AuditRecord]) {
    let mut healthy = true;
    if let Some(file) = file {
        for record in batch {
            let written = file.write(record).is_ok();
            shared.metrics.audit_record(written);
            healthy &= written;
        }
        healthy &= file.out.flush().is_ok();
    } else {
        batch.iter().for_each(|_| shared.metrics.audit_record(true));
    }
    if !healthy && shared.healthy.load(Ordering::Relaxed) {
        tracing::error!("audit log cannot be written; free space or fix its permissions");
    }
    shared.healthy.store(healthy, Ordering::Relaxed);
}

struct RotatingFile {
    path: PathBuf,
    max_bytes: u64,
    keep: usize,
    size: u64,
    out: BufWriter<File>,
    line: Vec<u8>,
}

impl RotatingFile {
    fn open(path: PathBuf, max_bytes: u64, keep: usize) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let mut file = open_append(&path)?;
        if ends_inside_a_line(&path)? {
            file.write_all(b"\n")?;
        }
        let metadata = file.metadata()?;
        let size = metadata.len();
        Ok(Self {
            path,
            // A device or a pipe has no end, and is not ours to rename: /dev/null least of all.
            max_bytes: match metadata.is_file() {
                true => max_bytes,
                false => u64::MAX,
            },
            keep,
            size,
            out: BufWriter::with_capacity(FILE_BUFFER, file),
            line: Vec::new(),
        })
    }

    fn write(&mut self, record: &AuditRecord) -> io::Result<()> {
        self.line.clear();
        line::write(record, &mut self.line)?;
        let length = self.line.len() as u64;
        if self.size > 0 && self.size + length > self.max_bytes {
            self.rotate()?;
        }
        self.out.write_all(&self.line)?;
        self.size += length;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.out.flush()?;
        for n in (1..self.keep).rev() {
            let from = numbered(&self.path, n);
            if from.exists() {
                std::fs::rename(from, numbered(&self.path, n + 1))?;
            }
        }
        if self.keep == 0 {
            std::fs::remove_file(&self.path)?;
        } else {
            std::fs::rename(&self.path, numbered(&self.path, 1))?;
        }
        self.out = BufWriter::with_capacity(FILE_BUFFER, open_append(&self.path)?);
        self.size = 0;
        Ok(())
    }
}

/// A machine that lost power may leave half a record; the next one must not be glued to it.
fn ends_inside_a_line(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() || file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn numbered(path: &Path, n: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{n}"));
    name.into()
}

fn open_append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::{
        audit::AuditKind,
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
        }
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
        file.out.flush().unwrap();
        assert!(path.is_symlink(), "it was renamed");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
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
