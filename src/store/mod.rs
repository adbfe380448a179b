//! State that outlives the process: one redb file, `airlock.redb` in the state folder.
//!
//! Today it holds the schema version and the running totals; sessions and users come with the front
//! door. Beside it, as files of their own: the kill switch ([`lockdown`]) and the token of the control
//! plane ([`token`]). The totals are kept in memory by [`totals::Totals`] and written now and then: a request
//! never waits for the disk here.

pub mod lockdown;
pub mod token;
pub mod totals;

use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

pub use totals::{Totals, TotalsSnapshot};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const TOTALS: TableDefinition<'_, &str, u64> = TableDefinition::new("totals");
const SCHEMA: u64 = 1;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "{path} is open in another process; stop that airlock, or set AIRLOCK_STATE_DIR to another folder"
    )]
    InUse { path: PathBuf },
    #[error(
        "{path} was written by a newer airlock (schema {found}, this one knows {SCHEMA}); use that version"
    )]
    Newer { path: PathBuf, found: u64 },
    #[error(
        "cannot use {path}: {problem}; check the folder's permissions, or set AIRLOCK_STATE_DIR"
    )]
    Failed { path: PathBuf, problem: String },
}

/// The open database.
pub struct Store {
    database: Database,
    path: PathBuf,
}

impl Store {
    /// Opens or creates the file; one process at a time.
    pub fn open(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join("airlock.redb");
        let file = open_private(&path).map_err(|e| StoreError::Failed {
            path: path.clone(),
            problem: e.to_string(),
        })?;
        let database = Database::builder().create_file(file).map_err(|e| match e {
            redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path: path.clone() },
            e => StoreError::Failed {
                path: path.clone(),
                problem: e.to_string(),
            },
        })?;
        let store = Self { database, path };
        store.check_schema()?;
        Ok(store)
    }

    fn check_schema(&self) -> Result<(), StoreError> {
        let found = self.transact(|write| {
            let mut meta = write.open_table(META)?;
            let found = meta.get("schema_version")?.map(|v| v.value());
            if found.is_none() {
                meta.insert("schema_version", SCHEMA)?;
            }
            write.open_table(TOTALS)?;
            Ok(found)
        })?;
        match found {
            Some(found) if found > SCHEMA => Err(StoreError::Newer {
                path: self.path.clone(),
                found,
            }),
            _ => Ok(()),
        }
    }

    /// The totals of all earlier runs.
    pub fn totals(&self) -> Result<TotalsSnapshot, StoreError> {
        let read = || -> Result<TotalsSnapshot, redb::Error> {
            let table = self.database.begin_read()?.open_table(TOTALS)?;
            let value = |key: &str| -> Result<u64, redb::Error> {
                Ok(table.get(key)?.map_or(0, |v| v.value()))
            };
            Ok(TotalsSnapshot {
                answered_here: value("answered_here")?,
                forwarded: value("forwarded")?,
                refused: value("refused")?,
                left_machine_bytes: value("left_machine_bytes")?,
            })
        };
        read().map_err(|e| self.failed(&e))
    }

    pub fn save_totals(&self, totals: &TotalsSnapshot) -> Result<(), StoreError> {
        let TotalsSnapshot {
            answered_here,
            forwarded,
            refused,
            left_machine_bytes,
        } = totals;
        self.transact(|write| {
            let mut table = write.open_table(TOTALS)?;
            table.insert("answered_here", answered_here)?;
            table.insert("forwarded", forwarded)?;
            table.insert("refused", refused)?;
            table.insert("left_machine_bytes", left_machine_bytes)?;
            Ok(())
        })
    }

    fn transact<T>(
        &self,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let run = || -> Result<T, redb::Error> {
            let write = self.database.begin_write()?;
            let value = work(&write)?;
            write.commit()?;
            Ok(value)
        };
        run().map_err(|e| self.failed(&e))
    }

    fn failed(&self, e: &redb::Error) -> StoreError {
        StoreError::Failed {
            path: self.path.clone(),
            problem: e.to_string(),
        }
    }
}

/// What is in it is for its owner alone, whatever the umask says.
fn open_private(path: &Path) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_survive_and_a_second_process_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let totals = TotalsSnapshot {
            answered_here: 3,
            forwarded: 1,
            refused: 2,
            left_machine_bytes: 7,
        };
        {
            let store = Store::open(dir.path()).unwrap();
            assert!(matches!(
                Store::open(dir.path()),
                Err(StoreError::InUse { .. })
            ));
            store.save_totals(&totals).unwrap();
        }
        assert_eq!(Store::open(dir.path()).unwrap().totals().unwrap(), totals);
    }

    #[test]
    fn a_newer_file_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store
            .transact(|w| {
                w.open_table(META)?.insert("schema_version", 99)?;
                Ok(())
            })
            .unwrap();
        drop(store);
        assert!(matches!(
            Store::open(dir.path()),
            Err(StoreError::Newer { found: 99, .. })
        ));
    }
}
