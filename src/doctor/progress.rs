//! What is being waited for. The command shows it while it waits; nobody has to look.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The step that is under way, and since when.
#[derive(Debug)]
pub struct Progress(Mutex<(String, Instant)>);

impl Default for Progress {
    fn default() -> Self {
        Self(Mutex::new((String::new(), Instant::now())))
    }
}

impl Progress {
    /// The next step begins.
    pub fn now(&self, step: impl Into<String>) {
        *self.0.lock() = (step.into(), Instant::now());
    }

    /// The step and how long it has taken so far.
    pub fn read(&self) -> (String, Duration) {
        let now = self.0.lock();
        (now.0.clone(), now.1.elapsed())
    }
}
