//! The token that commands show to the control plane: `admin.token` in the state folder, 0600.
//!
//! Made anew at every start. Who can read it is the user who runs the program, and nobody else.

use std::{fmt, path::Path, path::PathBuf};

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::tls::files::{self, FileError};

const MAX_FILE: u64 = 256;

/// Never printed.
#[derive(Clone)]
pub struct AdminToken(Zeroizing<String>);

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(..)")
    }
}

pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("admin.token")
}

impl AdminToken {
    /// 244 random bits.
    pub fn random() -> Self {
        let (a, b) = (Uuid::new_v4().simple(), Uuid::new_v4().simple());
        Self(Zeroizing::new(format!("{a}{b}")))
    }

    /// Makes one and puts it in place of any that was there.
    pub fn create(state_dir: &Path) -> Result<Self, FileError> {
        let token = Self::random();
        files::replace(&path(state_dir), token.0.as_bytes(), 0o600)?;
        Ok(token)
    }

    /// The token of the airlock that was started last; `None` where none ever was.
    pub fn load(state_dir: &Path) -> Result<Option<Self>, FileError> {
        let read = files::read_secret(&path(state_dir), MAX_FILE)?;
        Ok(read.map(Self))
    }

    /// For the `Authorization` header of our own command.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Looks at every byte, whatever the first ones are.
    pub fn is(&self, other: &str) -> bool {
        let own = self.0.as_bytes();
        let differing = own
            .iter()
            .zip(other.as_bytes())
            .fold(own.len() ^ other.len(), |sum, (a, b)| {
                sum | usize::from(a ^ b)
            });
        differing == 0
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_private_new_at_every_start_and_compared_whole() {
        let dir = tempfile::tempdir().unwrap();
        assert!(AdminToken::load(dir.path()).unwrap().is_none());
        let first = AdminToken::create(dir.path()).unwrap();
        let second = AdminToken::create(dir.path()).unwrap();
        let mode = std::fs::metadata(path(dir.path()))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let loaded = AdminToken::load(dir.path()).unwrap().unwrap();
        assert!(second.is(loaded.expose()));
        let text = second.expose().to_owned();
        for wrong in [
            first.expose(),
            "",
            &text[1..],
            &format!("{text}x"),
            &text.to_uppercase(),
        ] {
            assert!(!second.is(wrong), "{wrong}");
        }
        assert!(!format!("{second:?}").contains(&text));
    }
}
