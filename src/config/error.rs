//! Everything that is wrong with a configuration, at once.

use std::fmt;

/// One mistake: where it stands and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// YAML path (`rules[2].hosts[0]`), `env NAME`, or empty for the file as a whole.
    pub path: String,
    /// Line in the file, from 1.
    pub line: Option<u64>,
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// All mistakes of one load, in the order of the file. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// File name, or what stands for it.
    pub source: String,
    pub errors: Vec<ConfigError>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.errors.len();
        write!(
            f,
            "{}: {n} {}",
            self.source,
            if n == 1 { "error" } else { "errors" }
        )?;
        for error in &self.errors {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Collects while the tree is read.
#[derive(Debug, Default)]
pub(crate) struct Errors(Vec<ConfigError>);

impl Errors {
    pub(crate) fn add(&mut self, path: &str, line: Option<u64>, message: impl Into<String>) {
        let error = ConfigError {
            path: path.to_owned(),
            line,
            message: message.into(),
        };
        if !self.0.contains(&error) {
            self.0.push(error);
        }
    }

    pub(crate) fn env(&mut self, name: &str, message: impl Into<String>) {
        self.add(&format!("env {name}"), None, message);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_errors(mut self, source: &str) -> ConfigErrors {
        self.0.sort_by_key(|e| e.line.unwrap_or(u64::MAX));
        ConfigErrors {
            source: source.to_owned(),
            errors: self.0,
        }
    }
}
