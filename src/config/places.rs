//! Where the file's relative paths start, what its variables are, and what has to lie at a path.
//!
//! Handed to every section that names a file; nothing else of the configuration touches the disk.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use super::{
    error::Errors,
    reader::{Field, Section},
};

/// Where relative paths of the file start, and what `~` is.
#[derive(Clone, Debug)]
pub(super) struct Places<'a> {
    pub(super) base: PathBuf,
    pub(super) env: &'a HashMap<String, String>,
}

impl Places<'_> {
    pub(super) fn var(&self, name: &str) -> Option<&str> {
        // Compose writes an unset variable as an empty one.
        self.env
            .get(name)
            .map(|v| v.trim())
            .filter(|v| !v.is_empty())
    }

    pub(super) fn resolve(&self, text: &str) -> PathBuf {
        match text.strip_prefix("~/").zip(self.var("HOME")) {
            Some((rest, home)) => Path::new(home).join(rest),
            None => self.base.join(text),
        }
    }

    pub(super) fn path(&self, field: Field, errors: &mut Errors) -> Option<PathBuf> {
        field.parse(errors, "a path", |text| match text {
            "" => Err("is empty: write a path"),
            text => Ok(self.resolve(text)),
        })
    }

    /// `dir`, a folder that is there; `which` says what to name.
    pub(super) fn dir(&self, s: &mut Section, errors: &mut Errors, which: &str) -> Option<PathBuf> {
        s.take("dir")?.parse(errors, "a folder", |text| {
            let path = self.resolve(text);
            match path.is_dir() {
                true => Ok(path),
                false => Err(format!("{} is no folder: name {which}", path.display())),
            }
        })
    }

    pub(super) fn ca_file(&self, s: &mut Section, errors: &mut Errors) -> Option<PathBuf> {
        let field = s.take("ca_file")?;
        field.parse(errors, "a PEM file", |text| {
            let path = self.resolve(text);
            let pem = fs::read_to_string(&path)
                .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
            if !pem.contains("-----BEGIN CERTIFICATE-----") {
                let path = path.display();
                return Err(format!(
                    "{path} holds no certificate: name a PEM file of the CA"
                ));
            }
            Ok(path)
        })
    }
}
