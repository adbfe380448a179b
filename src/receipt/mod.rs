//! What was sent where, for a person: counted, put into words, signed.
//!
//! `audit`'s writer feeds [`Ledger`] one [`Event`] for each record that it has written. [`Receipt`] is
//! what a ledger says about the machine, a user or a chat, as values; `front_door` shows it as a page
//! ([`page`]) and as JSON, `cli` prints it. [`seal`] signs that JSON and judges it, over the bytes of
//! [`canonical`]. [`Viewer`] says whose doings somebody may see.
//!
//! | file | what |
//! |---|---|
//! | [`event`] | one decision, and where it went |
//! | [`deed`], [`reasons`] | the two tables of plain words: what it was for, why it was refused |
//! | [`account`], [`ledger`] | the counts, bounded |
//! | [`headline`], [`receipt`] | what is said about them |
//! | [`plane`] | how far the browser is closed |
//! | [`canonical`], [`seal`] | the signed form |
//! | [`page`], [`picture`], [`amount`] | how it looks |
//!
//! Pure: the time is passed in, and nothing here knows a socket, a file or the log.

pub mod account;
pub mod amount;
pub mod canonical;
pub mod deed;
pub mod event;
pub mod headline;
pub mod ledger;
pub mod page;
pub mod picture;
pub mod plane;
pub mod reasons;
#[allow(
    clippy::module_inception,
    reason = "the thing itself, beside what it is made of"
)]
pub mod receipt;
pub mod seal;
pub mod viewer;

pub use deed::Deed;
pub use event::{Done, Event, Way};
pub use ledger::Ledger;
pub use plane::{Plane, Told};
pub use receipt::{About, Around, Ever, Receipt};
pub use seal::{Genuine, SealError};
pub use viewer::Viewer;

#[cfg(test)]
mod tests;
