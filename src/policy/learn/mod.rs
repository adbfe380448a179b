//! Rules out of a report-mode audit log: what was let through only because nothing was enforced
//! becomes a file of rules that a person reads before using it.
//!
//! | file | what |
//! |---|---|
//! | [`line`] | one line of the log into an [`line::Observation`], or why it is none |
//! | [`tally`] | who asked, how often, how many bytes, when |
//! | [`gather`] | observations grouped by destination, bounded |
//! | [`paths`] | many paths into few patterns |
//! | [`risk`] | which destinations a person should look at twice |
//! | [`propose`] | groups into rules |
//! | [`yaml`] | rules into text |
//!
//! Called by `cli::learn`, which reads the files. Bytes in, values out: nothing here does IO or reads
//! a clock. No text of the log gets into the output: hosts, methods, paths, addresses and times are
//! parsed and printed from their parsed form, so that a client cannot write into the rules.

mod gather;
mod line;
mod paths;
mod propose;
mod risk;
mod tally;
mod yaml;

pub use line::LineError;
pub use propose::{Learned, LearnedRule, Options, Skipped};
pub use tally::Seen;

use gather::Gathered;

/// Takes the log line by line.
#[derive(Debug)]
pub struct Learner {
    options: Options,
    gathered: Gathered,
}

impl Learner {
    pub fn new(options: Options) -> Self {
        Self {
            options,
            gathered: Gathered::default(),
        }
    }

    /// Takes one line, without its line end. A line that is no record is the caller's to name; the
    /// others count all the same.
    pub fn line(&mut self, line: &[u8]) -> Result<(), LineError> {
        let observation = line::parse(line)?;
        self.gathered.take(observation, self.options.include_denied);
        Ok(())
    }

    pub fn finish(self) -> Learned {
        propose::propose(self.gathered, &self.options)
    }
}

impl Learned {
    /// The rules as a configuration file.
    pub fn to_yaml(&self) -> String {
        yaml::render(self)
    }
}

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod tests;
