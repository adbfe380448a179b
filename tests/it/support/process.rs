//! A child process that says when it is ready, and is gone when its value is dropped.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;

/// How long a peer may take to be ready. Generous: a debug build on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(30);

pub struct Process {
    child: Child,
    name: &'static str,
    log: PathBuf,
}

impl Process {
    /// Starts `command` and waits for its first line on stdout, a JSON object.
    /// Its stderr goes to a file in `scratch`, and into the test's output when the test fails.
    pub fn start<R>(name: &'static str, mut command: Command, scratch: &Path) -> (Self, R)
    where
        R: DeserializeOwned,
    {
        let log = scratch.join(format!("{name}.stderr"));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("scratch is writable"))
            .spawn()
            .unwrap_or_else(|error| panic!("{name} did not start: {error}"));
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut process = Self { child, name, log };

        let (first_line, arrived) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines();
            if let Some(Ok(line)) = lines.next() {
                // The test may have given up on it.
                let _ = first_line.send(line);
            }
            // Read on, so that the child never blocks on a full pipe.
            lines.for_each(drop);
        });
        let line = arrived.recv_timeout(READY_WITHIN).unwrap_or_else(|_| {
            let exit = process.exit(Duration::from_secs(1));
            panic!(
                "{name} was not ready (exit {exit:?}):\n{}",
                process.stderr()
            )
        });
        let ready = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{name} said {line:?} when ready: {error}"));
        (process, ready)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name: `TERM`, `KILL`.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status();
        assert!(
            status.is_ok_and(|s| s.success()),
            "signal {name} was not sent"
        );
    }

    /// How it ended, if it does within this time.
    pub fn exit(&mut self, within: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + within;
        loop {
            match self.child.try_wait().expect("a child can be waited for") {
                Some(status) => return Some(status),
                None if Instant::now() > deadline => return None,
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// What it has said on stderr so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the child is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- stderr of {} ---\n{}", self.name, self.stderr());
        }
    }
}
