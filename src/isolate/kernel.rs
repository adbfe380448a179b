//! Does this system allow an unprivileged network namespace, and if not, what to change.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use super::IsolateError;

/// How the namespaces are made; the helper's command line follows.
///
/// The PID namespace is for the end: when its first process is gone the kernel kills the rest.
/// The capabilities are kept for the helper, which takes them from the program.
pub const UNSHARE: [&str; 11] = [
    "unshare",
    "--user",
    "--map-current-user",
    "--keep-caps",
    "--net",
    "--mount",
    "--pid",
    "--ipc",
    "--fork",
    "--kill-child",
    "--",
];
const TOOLS: [&str; 5] = ["unshare", "setpriv", "setsid", "mount", "sh"];

/// Tries it: makes the namespaces for a program that does nothing.
pub fn probe() -> Result<(), IsolateError> {
    for tool in TOOLS {
        // The status does not matter: it was found.
        let run = Command::new(tool)
            .args(if tool == "sh" {
                ["-c", ":"]
            } else {
                ["--version", "--version"]
            })
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if run.is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            return Err(IsolateError::ToolMissing(tool));
        }
    }
    let [program, arguments @ ..] = UNSHARE;
    let tried = Command::new(program)
        .args(arguments)
        .arg("true")
        .stdin(Stdio::null())
        .output()
        .map_err(IsolateError::io("run unshare"))?;
    if tried.status.success() {
        return Ok(());
    }
    let facts = Facts::gather(&String::from_utf8_lossy(&tried.stderr));
    Err(IsolateError::Namespace(facts.advice()))
}

/// What can forbid a namespace.
#[derive(Debug, Default)]
struct Facts {
    /// What `unshare` said.
    said: String,
    unprivileged_userns_clone: Option<u64>,
    apparmor_restricts: Option<u64>,
    /// Names of `user.max_*_namespaces` that are 0.
    zero_limits: Vec<&'static str>,
    in_container: bool,
}

impl Facts {
    fn gather(said: &str) -> Self {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
        let limits = [
            "max_user_namespaces",
            "max_net_namespaces",
            "max_mnt_namespaces",
            "max_pid_namespaces",
            "max_ipc_namespaces",
        ];
        Self {
            said: said.trim().chars().take(300).collect(),
            unprivileged_userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restricts: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            zero_limits: limits
                .into_iter()
                .filter(|name| number(&format!("/proc/sys/user/{name}")) == Some(0))
                .collect(),
            in_container: ["/.dockerenv", "/run/.containerenv"]
                .iter()
                .any(|mark| Path::new(mark).exists()),
        }
    }

    fn advice(&self) -> String {
        let said = &self.said;
        if said.contains("unrecognized option") || said.contains("invalid option") {
            return format!("`unshare` is too old; install util-linux 2.36 or newer ({said})");
        }
        if self.unprivileged_userns_clone == Some(0) {
            return "user namespaces are off; run `sudo sysctl -w kernel.unprivileged_userns_clone=1`, and put the line into /etc/sysctl.d/ to keep it".to_owned();
        }
        if let Some(name) = self.zero_limits.first() {
            return format!(
                "the limit user.{name} is 0; run `sudo sysctl -w user.{name}=15000`, and put the line into /etc/sysctl.d/ to keep it"
            );
        }
        if self.in_container {
            return format!(
                "a container's seccomp profile forbids it; use the network of deploy/compose in place of --isolate, or allow unshare(2) in the profile ({said})"
            );
        }
        if self.apparmor_restricts == Some(1) {
            return "AppArmor keeps user namespaces from programs without a profile; give airlock one with `userns,` (docs/ISOLATION.md has it), or run `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`".to_owned();
        }
        format!("{said}; docs/ISOLATION.md lists what can forbid it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_obstacle_is_named_with_its_way_out() {
        let facts = |change: fn(&mut Facts)| {
            let mut facts = Facts {
                said: "unshare: unshare failed: Operation not permitted".to_owned(),
                // What a system has that allows everything.
                unprivileged_userns_clone: Some(1),
                apparmor_restricts: Some(0),
                ..Facts::default()
            };
            change(&mut facts);
            facts
        };
        for (name, facts, want) in [
            (
                "a switch of Debian's kernels",
                facts(|f| f.unprivileged_userns_clone = Some(0)),
                "sysctl -w kernel.unprivileged_userns_clone=1",
            ),
            (
                "a limit of nought",
                facts(|f| f.zero_limits = vec!["max_user_namespaces"]),
                "sysctl -w user.max_user_namespaces=15000",
            ),
            (
                "Ubuntu's restriction",
                facts(|f| f.apparmor_restricts = Some(1)),
                "kernel.apparmor_restrict_unprivileged_userns=0",
            ),
            (
                "a container, whatever AppArmor does",
                facts(|f| {
                    f.in_container = true;
                    f.apparmor_restricts = Some(1);
                }),
                "deploy/compose",
            ),
            (
                "busybox in the place of util-linux",
                facts(|f| f.said = "unshare: unrecognized option: keep-caps".to_owned()),
                "util-linux 2.36",
            ),
            (
                "something unknown is shown as it is",
                facts(|_| ()),
                "Operation not permitted",
            ),
        ] {
            let advice = facts.advice();
            assert!(advice.contains(want), "{name}: {advice}");
        }
    }
}
