//! The helper: runs inside of the namespaces, before and beside the program.
//!
//! It has the capabilities of the namespaces and uses them for `lo` and the covers; the program gets
//! none, and no socket that knows no namespace ([`sockets`]). Then it only relays. It can be stopped or read by the program without harm: all it holds are
//! sockets that lead to Airlock's listeners.

use std::{
    ffi::OsString,
    fs, io,
    net::Ipv4Addr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, UnixStream, unix::OwnedReadHalf},
    process::{Child, Command},
    runtime::Handle,
    sync::Semaphore,
};

use super::{
    IsolateError, MAX_CONNECTIONS,
    control::{MAX_LINE, Order, STARTED, Signal},
    cover, interface,
    plan::{CONTROL, PLAN, PUBLISHED, Plan, door_socket},
    sockets,
};
use crate::upstream::isolation;

/// How the program is started: in a session of its own, so that it cannot type into the terminal
/// (TIOCSTI), and without a capability in any namespace.
const CONFINED: [&str; 7] = [
    "setsid",
    "setpriv",
    "--no-new-privs",
    "--bounding-set=-all",
    "--inh-caps=-all",
    "--ambient-caps=-all",
    "--",
];

const TO_THE_GROUP: &str = "kill -s \"$1\" -- \"-$2\" || kill -s \"$1\" -- \"$2\"";

/// Prepares the namespace and runs `command` in it. Its exit code, 128 and the signal as a shell has
/// it. Must run single-handed in namespaces of its own: it mounts and binds.
pub async fn run(folder: &Path, command: &[OsString]) -> Result<u8, IsolateError> {
    let plan = read_plan(&folder.join(PLAN))?;
    interface::bring_up_loopback().map_err(IsolateError::io("bring lo up in the namespace"))?;
    if let Err(e) = cover::own_proc() {
        tracing::warn!(error = %e, "no /proc of its own: the program sees the names of other processes");
    }
    cover::put_out_of_sight(&plan, folder)
        .map_err(IsolateError::io("hide the Unix sockets of other programs"))?;
    for port in &plan.doors {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port))
            .await
            .map_err(IsolateError::io("listen inside of the namespace"))?;
        tokio::spawn(door(listener, folder.join(door_socket(*port))));
    }
    let lines = isolation::to_parent(&folder.join(CONTROL))
        .await
        .map_err(IsolateError::io("reach the parent"))?;
    let (orders, mut answers) = lines.into_split();

    let mut program = spawn(command)?;
    let group = program_group(&program);
    // The parent reads the end of this stream; what is written into it is for people with strace.
    let _ = answers.write_all(format!("{STARTED}\n").as_bytes()).await;
    tokio::select! {
        status = program.wait() => {
            status.map(code).map_err(IsolateError::io("wait for the program"))
        }
        () = obey(orders, group, folder) => {
            // The parent is gone. The end of this process ends the namespace, and the program with it.
            let _ = program.start_kill();
            Ok(128 + 9)
        }
    }
}

fn read_plan(path: &Path) -> Result<Plan, IsolateError> {
    let bytes = fs::read(path).map_err(IsolateError::io("read the parent's plan"))?;
    serde_json::from_slice(&bytes)
        .map_err(io::Error::from)
        .map_err(IsolateError::io("understand the parent's plan"))
}

/// On a thread that is there for this alone: it keeps the filters of its sockets until it ends.
fn spawn(command: &[OsString]) -> Result<Child, IsolateError> {
    let runtime = Handle::current();
    let start = || {
        sockets::keep_to_the_namespace()?;
        let _runtime = runtime.enter();
        let [program, arguments @ ..] = CONFINED;
        Command::new(program)
            .args(arguments)
            .args(command)
            .spawn()
            .map_err(IsolateError::io("start setsid"))
    };
    thread::scope(|scope| scope.spawn(start).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// `setsid` makes the program the leader of a group with its own number.
fn program_group(program: &Child) -> Option<String> {
    program.id().map(|id| id.to_string())
}

/// A shell's: the code itself, or 128 and the signal.
fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Reads orders until the parent closes the stream, or says something that is none.
async fn obey(orders: OwnedReadHalf, group: Option<String>, folder: &Path) {
    let brought = folder.join(PUBLISHED);
    let mut reader = BufReader::new(orders);
    loop {
        let mut line = String::new();
        match (&mut reader).take(MAX_LINE).read_line(&mut line).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        match line.trim_end_matches('\n').parse() {
            Ok(Order::Open { id, port }) => drop(tokio::spawn(bring(brought.clone(), id, port))),
            Ok(Order::Signal(signal)) => pass_on(signal, group.as_deref()).await,
            Err(e) => {
                tracing::warn!(error = %e, "the parent cannot be understood");
                return;
            }
        }
    }
}

/// By kill(1) of the shell: the call itself has no safe wrapper among our dependencies. To the process
/// alone where it has no group yet.
async fn pass_on(signal: Signal, group: Option<&str>) {
    let Some(group) = group else { return };
    let sent = Command::new("sh")
        .args(["-c", TO_THE_GROUP, "sh", signal.name(), group])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    if !sent.is_ok_and(|status| status.success()) {
        tracing::debug!(signal = signal.name(), "signal not passed on");
    }
}

/// Carries what comes to a port on the namespace's loopback to the parent.
async fn door(listener: TcpListener, socket: PathBuf) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((mut inner, _)) => {
                let socket = socket.clone();
                tokio::spawn(async move {
                    let _slot = slot;
                    let _ = inner.set_nodelay(true);
                    if let Ok(mut outer) = isolation::to_parent(&socket).await {
                        let _ = tokio::io::copy_bidirectional(&mut inner, &mut outer).await;
                    }
                });
            }
            Err(e) => {
                tracing::warn!(error = %e, "accept failed");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Answers an [`Order::Open`]. Where nothing listens inside, the visitor is told by a closed stream.
async fn bring(socket: PathBuf, id: u64, port: u16) {
    let Ok(mut outer) = isolation::to_parent(&socket).await else {
        return;
    };
    if named(&mut outer, id).await.is_ok()
        && let Ok(mut inner) = isolation::to_published(port).await
    {
        let _ = tokio::io::copy_bidirectional(&mut inner, &mut outer).await;
    }
}

async fn named(outer: &mut UnixStream, id: u64) -> io::Result<()> {
    outer.write_u64(id).await?;
    outer.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_as_a_shell_tells_it() {
        for (name, raw, want) in [
            ("success", 0, 0),
            ("a code", 42 << 8, 42),
            ("the highest code", 255 << 8, 255),
            ("killed", 9, 137),
            ("terminated", 15, 143),
        ] {
            assert_eq!(code(ExitStatus::from_raw(raw)), want, "{name}");
        }
    }

    #[tokio::test]
    async fn the_end_of_the_parent_and_nonsense_end_the_orders() {
        for (name, said) in [
            ("closed", &b""[..]),
            ("no order", b"launch everything\n"),
            ("a line without an end", &[b'o'; 500]),
        ] {
            let (mut parent, helper) = UnixStream::pair().unwrap();
            parent.write_all(said).await.unwrap();
            drop(parent);
            let (orders, _answers) = helper.into_split();
            let ended = obey(orders, None, Path::new("/nonexistent"));
            let ended = tokio::time::timeout(Duration::from_secs(5), ended).await;
            assert!(ended.is_ok(), "{name}");
        }
    }
}
