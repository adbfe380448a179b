//! What a rule demands of the requests that it matches, beyond matching them: bounds, read-only, an
//! end, a budget. Pure: time comes in as an argument.
//!
//! A rule is chosen by destination, port, client, entry, method, path and upgrade; a rule that has
//! ended is not there at all. The chosen rule's demands then hold, and no later rule is asked: a
//! wider rule below it cannot undo a bound.

use time::OffsetDateTime;

use super::{Reason, budget::Budget, secrets::SecretMode};
use crate::token::{Principal, Username, Via};

/// Query bytes that a `read_only` rule lets through where it says no other bound: long enough for
/// signed download links.
pub const READ_ONLY_QUERY_BYTES: u64 = 4 << 10;
/// Header bytes of a `read_only` rule likewise: long enough for tokens and cookies.
pub const READ_ONLY_HEADER_BYTES: u64 = 16 << 10;

/// Held by a [`super::Rule`] where its author wrote any of them, and handed out with the decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The rule ends here; what it opened is cut.
    pub until: Option<OffsetDateTime>,
    /// Users and API keys by name, whom it is for; empty: all, and whoever shows nothing.
    pub users: Vec<Username>,
    /// GET and HEAD without a body.
    pub read_only: bool,
    /// Bytes behind the `?`.
    pub max_query_bytes: Option<u64>,
    /// Bytes of all header lines.
    pub max_header_bytes: Option<u64>,
    /// Bytes that may be sent in a while.
    pub budget: Option<Budget>,
    /// Stands above the mode of the whole policy.
    pub secrets: Option<SecretMode>,
    /// Bodies with a Content-Encoding pass, although secrets cannot be seen in them.
    pub encoded_bodies: bool,
}

/// Sizes of a request as it arrived, for [`Terms::check`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestSize {
    /// Bytes behind the `?`.
    pub query_bytes: u64,
    /// Names, values, and four bytes for the rest of each line.
    pub header_bytes: u64,
    /// A body follows the head.
    pub has_body: bool,
}

impl Terms {
    /// Whether its `until` has come.
    pub fn ended(&self, now: OffsetDateTime) -> bool {
        self.until.is_some_and(|until| now >= until)
    }

    /// Whether it is for whoever asks. What the plugin's one key says is of whoever chatted last: it names
    /// nobody here, a chat's id does.
    pub fn are_for(&self, who: Option<&Principal>) -> bool {
        let name = match who {
            Some(who) if who.via != Via::Plugin => Some(&who.username),
            Some(_) | None => None,
        };
        self.users.is_empty() || name.is_some_and(|name| self.users.contains(name))
    }

    /// The demand that a request fails, if any.
    pub(super) fn check(&self, method: &str, size: &RequestSize) -> Result<(), Reason> {
        let over = |bound: Option<u64>, bytes: u64| bound.is_some_and(|bound| bytes > bound);
        if self.read_only && (!matches!(method, "GET" | "HEAD") || size.has_body) {
            return Err(Reason::ReadOnly);
        }
        if over(self.max_query_bytes, size.query_bytes) {
            return Err(Reason::QueryTooLarge);
        }
        if over(self.max_header_bytes, size.header_bytes) {
            return Err(Reason::HeadersTooLarge);
        }
        Ok(())
    }

    /// Whether they let through all that `narrow` lets through.
    pub(super) fn allow_all_of(&self, narrow: &Terms) -> bool {
        /// Absent: no bound.
        fn bound<T: PartialOrd>(wide: Option<T>, narrow: Option<T>) -> bool {
            wide.is_none_or(|wide| narrow.is_some_and(|narrow| narrow <= wide))
        }
        let Self {
            until,
            users,
            read_only,
            max_query_bytes,
            max_header_bytes,
            budget,
            secrets,
            encoded_bodies,
        } = self;
        let same_window = match (budget, narrow.budget) {
            (Some(wide), Some(narrow)) => (wide.per, wide.each) == (narrow.per, narrow.each),
            (None, _) | (_, None) => true,
        };
        let same_users = users.is_empty()
            || !narrow.users.is_empty() && narrow.users.iter().all(|name| users.contains(name));
        bound(*until, narrow.until)
            && same_users
            && (!read_only || narrow.read_only)
            && bound(*max_query_bytes, narrow.max_query_bytes)
            && bound(*max_header_bytes, narrow.max_header_bytes)
            && same_window
            && bound(budget.map(|b| b.bytes), narrow.budget.map(|b| b.bytes))
            && (*secrets == narrow.secrets
                || *secrets == Some(SecretMode::Off)
                || narrow.secrets == Some(SecretMode::Block))
            && (*encoded_bodies || !narrow.encoded_bodies)
    }

    /// Whether a tunnel, which nobody looks into, would keep them.
    pub fn need_decryption(&self) -> bool {
        let Self {
            until: _,
            // Who opens a tunnel has said so before.
            users: _,
            read_only,
            max_query_bytes,
            max_header_bytes,
            budget: _,
            secrets,
            encoded_bodies,
        } = self;
        *read_only
            || max_query_bytes.is_some()
            || max_header_bytes.is_some()
            || secrets.is_some()
            || *encoded_bodies
    }
}
