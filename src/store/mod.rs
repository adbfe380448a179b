//! State that outlives the process: one redb file, `airlock.redb` in the state folder.
//!
//! It holds the schema version, the running totals ([`totals`]), and what `session` keeps
//! ([`records`]). An older file is brought up to date when it is opened, in one transaction. Beside
//! it, as files of their own: the kill switch ([`lockdown`]) and the token of the control plane
//! ([`token`]). Totals and last activities are kept in memory and written now and then: a request
//! never waits for the disk here.

pub mod lockdown;
pub mod records;
pub mod token;
pub mod totals;

use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

pub use records::{Change, Table};
pub use totals::{Totals, TotalsSnapshot};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const TOTALS: TableDefinition<'_, &str, u64> = TableDefinition::new("totals");

type Step = fn(&redb::WriteTransaction) -> Result<(), redb::Error>;

/// What makes each schema out of the one before; the first makes schema 1 out of an empty file.
const STEPS: [Step; 3] = [
    create_totals,
    records::create_tables,
    records::create_tables,
];
const SCHEMA: u64 = STEPS.len() as u64;

fn create_totals(write: &redb::WriteTransaction) -> Result<(), redb::Error> {
    write.open_table(TOTALS).map(drop)?;
    Ok(())
}

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
        store.migrate()?;
        Ok(store)
    }

    /// Nothing is written to a file of a newer schema, nor to one that is up to date.
    fn migrate(&self) -> Result<(), StoreError> {
        let run = || -> Result<u64, redb::Error> {
            let write = self.database.begin_write()?;
            let mut meta = write.open_table(META)?;
            let found = meta.get("schema_version")?.map_or(0, |v| v.value());
            let missing = usize::try_from(found).ok().and_then(|n| STEPS.get(n..));
            let Some(steps) = missing.filter(|steps| !steps.is_empty()) else {
                drop(meta);
                write.abort()?;
                return Ok(found);
            };
            for step in steps {
                step(&write)?;
            }
            meta.insert("schema_version", SCHEMA)?;
            drop(meta);
            write.commit()?;
            Ok(SCHEMA)
        };
        match run().map_err(|e| self.failed(&e))? {
            found if found > SCHEMA => Err(StoreError::Newer {
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
    fn a_file_of_the_first_schema_keeps_its_totals_and_gets_what_is_new() {
        let dir = tempfile::tempdir().unwrap();
        {
            let database = Database::create(dir.path().join("airlock.redb")).unwrap();
            let write = database.begin_write().unwrap();
            let mut meta = write.open_table(META).unwrap();
            meta.insert("schema_version", 1).unwrap();
            drop(meta);
            let mut totals = write.open_table(TOTALS).unwrap();
            totals.insert("refused", 9).unwrap();
            drop(totals);
            write.commit().unwrap();
        }
        for _ in 0..2 {
            let store = Store::open(dir.path()).unwrap();
            assert_eq!(store.totals().unwrap().refused, 9);
            for table in Table::ALL {
                assert_eq!(store.records(table).unwrap(), [], "{}", table.name());
            }
            let read = store.database.begin_read().unwrap();
            let meta = read.open_table(META).unwrap();
            assert_eq!(meta.get("schema_version").unwrap().unwrap().value(), SCHEMA);
        }
    }

    #[test]
    fn a_batch_is_kept_whole() {
        let dir = tempfile::tempdir().unwrap();
        let put = |key: &str, value: Option<&[u8]>| Change {
            table: Table::Users,
            key: key.to_owned(),
            value: value.map(<[u8]>::to_vec),
        };
        let store = Store::open(dir.path()).unwrap();
        store.write(&[]).unwrap();
        store
            .write(&[
                put("b", Some(b"1")),
                put("a", Some(b"2")),
                put("gone", None),
            ])
            .unwrap();
        store
            .write(&[put("b", None), put("a", Some(b"3"))])
            .unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(
            store.records(Table::Users).unwrap(),
            [("a".to_owned(), b"3".to_vec())]
        );
        assert_eq!(store.records(Table::Sessions).unwrap(), []);
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
