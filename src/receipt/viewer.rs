//! Who looks at a receipt, and what of it is theirs to see.

use crate::token::{Role, Username};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// The machine's owner, an admin, or the one person there is.
    Everything,
    /// What they did themselves.
    Own(String),
}

impl Viewer {
    /// `None`: nobody has to log in here, so there is one person.
    pub fn of(principal: Option<(&Username, Role)>) -> Self {
        match principal {
            None | Some((_, Role::Admin)) => Viewer::Everything,
            Some((user, Role::User | Role::Viewer)) => Viewer::Own(user.to_string()),
        }
    }

    /// What nobody is named for is the machine's.
    pub fn may_see(&self, owner: Option<&str>) -> bool {
        match self {
            Viewer::Everything => true,
            Viewer::Own(user) => owner == Some(user.as_str()),
        }
    }
}
