//! Sessions, bindings, checkpoints, users and API keys as the store sees them: a name and some bytes.
//!
//! `session` says what the bytes are. A batch is one transaction, on disk when [`Store::write`]
//! returns; it is never called on a request's path.

use redb::{ReadableDatabase, ReadableTable, TableDefinition};

use super::{Store, StoreError};

type Definition = TableDefinition<'static, &'static str, &'static [u8]>;

const SESSIONS: Definition = TableDefinition::new("sessions");
const BINDINGS: Definition = TableDefinition::new("bindings");
const CHECKPOINTS: Definition = TableDefinition::new("checkpoints");
const USERS: Definition = TableDefinition::new("users");
const API_KEYS: Definition = TableDefinition::new("api_keys");

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    Sessions,
    /// The plugin's own session ids, and whose they are.
    Bindings,
    /// Workflows that the plugin has saved, and whose they are.
    Checkpoints,
    Users,
    ApiKeys,
}

impl Table {
    pub const ALL: [Self; 5] = [
        Self::Sessions,
        Self::Bindings,
        Self::Checkpoints,
        Self::Users,
        Self::ApiKeys,
    ];

    fn definition(self) -> Definition {
        match self {
            Self::Sessions => SESSIONS,
            Self::Bindings => BINDINGS,
            Self::Checkpoints => CHECKPOINTS,
            Self::Users => USERS,
            Self::ApiKeys => API_KEYS,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Bindings => "bindings",
            Self::Checkpoints => "checkpoints",
            Self::Users => "users",
            Self::ApiKeys => "api_keys",
        }
    }
}

/// One record written, or removed where `value` is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub table: Table,
    pub key: String,
    pub value: Option<Vec<u8>>,
}

/// Schema 2: the tables themselves. Schema 3: `checkpoints` beside them; those that are there stay.
pub(super) fn create_tables(write: &redb::WriteTransaction) -> Result<(), redb::Error> {
    for table in Table::ALL {
        write.open_table(table.definition())?;
    }
    Ok(())
}

impl Store {
    /// All records of a table, in the order of their keys.
    pub fn records(&self, table: Table) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let read = || -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
            let table = self.database.begin_read()?.open_table(table.definition())?;
            let mut found = Vec::new();
            for row in table.iter()? {
                let (key, value) = row?;
                found.push((key.value().to_owned(), value.value().to_vec()));
            }
            Ok(found)
        };
        read().map_err(|e| self.failed(&e))
    }

    /// All changes or none; synced to disk before it returns.
    pub fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.transact(|write| {
            for Change { table, key, value } in changes {
                let mut table = write.open_table(table.definition())?;
                match value {
                    Some(value) => table.insert(key.as_str(), value.as_slice())?,
                    None => table.remove(key.as_str())?,
                };
            }
            Ok(())
        })
    }
}
