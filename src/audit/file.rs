//! The log's file: appended to, rotated by size, and never left with half a record in its middle.
//!
//! Used by the writer of [`super::log`] alone. A failure (no room, no descriptor) may be tried again:
//! nothing written is lost by it, and a rotation that stopped half way goes on where it stopped.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{line, record::AuditRecord};

/// Room for a batch: one system call each.
const FILE_BUFFER: usize = 64 << 10;

pub struct RotatingFile {
    path: PathBuf,
    max_bytes: u64,
    keep: usize,
    size: u64,
    out: BufWriter<File>,
    line: Vec<u8>,
}

impl RotatingFile {
    pub fn open(path: PathBuf, max_bytes: u64, keep: usize) -> io::Result<Self> {
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

    pub fn write(&mut self, record: &AuditRecord) -> io::Result<()> {
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

    /// Hands everything written so far to the system; what it does not take is kept for the next time.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.out.flush()?;
        // Not there: moved by someone else, or by a rotation that could not open the new file (no
        // descriptor, no room). Only that is left to do then.
        if self.path.exists() {
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

pub(super) fn numbered(path: &Path, n: usize) -> PathBuf {
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
