//! A folder for one run: private, under a name nobody can guess, gone at the end.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use uuid::Uuid;

/// Removed with everything in it when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes a folder below `parent` that only its owner may enter: the run's CA key lies in it.
    pub fn below(parent: &Path) -> io::Result<Self> {
        let path = parent.join(format!("airlock-demo-{}", Uuid::new_v4().simple()));
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        // Not recursive: a folder that is there already is not ours.
        builder.create(&path)?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), error = %e, "scratch folder not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_folder_is_private_and_goes_with_its_contents() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::below(parent.path()).unwrap();
        let path = scratch.path().to_owned();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o700
            );
        }
        fs::create_dir(path.join("ca")).unwrap();
        fs::write(path.join("ca/key.pem"), "x").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }
}
