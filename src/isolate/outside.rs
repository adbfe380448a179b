//! The parent's side: Unix sockets in a private folder, each leading to one listener of Airlock;
//! published ports of the host; signals; the end.
//!
//! It only ever accepts on paths and never dials one: the program inside could have put another
//! socket there.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsString,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    process::{Child, Command},
    signal::unix::{Signal as SignalStream, SignalKind, signal},
    sync::{Semaphore, mpsc, oneshot},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    IsolateError, MAX_CONNECTIONS,
    control::{Order, Signal},
    cover::Hidden,
    kernel,
    plan::{CONTROL, PLAN, PUBLISHED, Plan, Publish, door_socket},
};
use crate::upstream::isolation;

/// How long the helper may take to bring a connection to a published port.
const BRING_WITHIN: Duration = Duration::from_secs(10);
/// Orders that wait for the helper; more are refused.
const ORDERS: usize = 256;
/// Longest folder name that leaves room for the sockets in `sun_path` (108 bytes).
const MAX_FOLDER: usize = 60;

/// A program to run with Airlock as its only way out.
pub struct Isolated {
    /// Port inside, and the Airlock listener it leads to.
    pub doors: Vec<(u16, SocketAddr)>,
    pub publish: Vec<Publish>,
    /// Hidden from the program, but for the bundle.
    pub state_dir: PathBuf,
    pub ca_bundle: PathBuf,
    /// The configuration file, read-only for the program.
    pub config_file: Option<PathBuf>,
    /// `TMPDIR` and `XDG_RUNTIME_DIR`.
    pub temporary: Option<PathBuf>,
    pub runtime_folder: Option<PathBuf>,
    /// Set for the program, on top of the environment of this process.
    pub variables: Vec<(&'static str, String)>,
    /// This binary.
    pub helper: PathBuf,
    /// The program and its arguments.
    pub command: Vec<OsString>,
}

/// Runs it to its end and returns its status. The program, whatever it started, and the private
/// folder are gone afterwards, also when this process is killed (the folder is left then).
pub async fn run(isolated: Isolated) -> Result<ExitStatus, IsolateError> {
    refuse_duplicates(&isolated.publish)?;
    kernel::probe()?;
    let folder = Folder::make(isolated.temporary.as_deref())?;
    let plan = plan(&isolated, &folder.0)?;
    let stop = CancellationToken::new();
    // Whatever way this function ends, the accepting tasks end with it.
    let _stop: DropGuard = stop.clone().drop_guard();

    for (port, listener) in &isolated.doors {
        let socket = listen(&folder.0.join(door_socket(*port)))?;
        tokio::spawn(
            stop.clone()
                .run_until_cancelled_owned(door(socket, *listener)),
        );
    }
    let control = listen(&folder.0.join(CONTROL))?;
    let brought = listen(&folder.0.join(PUBLISHED))?;
    let (orders, queue) = mpsc::channel(ORDERS);
    let waiting = Waiting::default();
    tokio::spawn(
        stop.clone()
            .run_until_cancelled_owned(deliver(brought, waiting.clone())),
    );
    let mut published = Vec::new();
    for publish in &isolated.publish {
        published.push((publish.inside, bind(*publish).await?));
    }
    write_plan(&folder.0.join(PLAN), &plan)?;

    // Before the program runs: one that came in between would end this process and not the program.
    let signals = listen_for_signals()?;
    let mut child = spawn(&isolated, &folder.0)?;
    let lines = tokio::select! {
        connected = control.accept() => connected.map_err(IsolateError::io("accept the helper"))?.0,
        // The helper has said on stderr what went wrong.
        status = child.wait() => return status.map_err(IsolateError::io("wait for the helper")),
    };
    // Nobody else gives or takes orders from here on.
    drop(control);
    tokio::spawn(
        stop.clone()
            .run_until_cancelled_owned(dispatch(lines, queue)),
    );
    for (inside, listener) in published {
        announce(inside, &listener);
        let task = published_port(listener, inside, orders.clone(), waiting.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(task));
    }
    wait(&mut child, signals, orders).await
}

/// The namespaces, and in them a shell as first process, for it collects orphans and passes the
/// status on; then the helper.
fn spawn(isolated: &Isolated, folder: &Path) -> Result<Child, IsolateError> {
    Command::new("setpriv")
        // The namespace ends with this process, a `kill -9` included.
        .args(["--pdeathsig", "KILL", "--"])
        .args(kernel::UNSHARE)
        .args(["sh", "-c", "\"$@\"; exit $?", "airlock"])
        .arg(&isolated.helper)
        .args(["isolate-child", "--folder"])
        .arg(folder)
        .arg("--")
        .args(&isolated.command)
        .envs(isolated.variables.iter().map(|(k, v)| (k, v)))
        // Signals of the terminal come here, and go on to the program by order: once, not twice.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(IsolateError::io("start setpriv"))
}

fn plan(isolated: &Isolated, folder: &Path) -> Result<Plan, IsolateError> {
    let hidden = Hidden::found(&isolated.state_dir, folder)?;
    let cwd = std::env::current_dir().map_err(IsolateError::io("find the working directory"))?;
    if let Some(around) = hidden.around(&cwd) {
        return Err(IsolateError::WorkingDirectory {
            hidden: around.to_owned(),
            cwd,
        });
    }
    Ok(Plan {
        doors: isolated.doors.iter().map(|(port, _)| *port).collect(),
        hidden_folders: hidden.folders,
        hidden_sockets: hidden.sockets,
        ca_bundle: isolated.ca_bundle.clone(),
        sealed: isolated
            .config_file
            .as_ref()
            .and_then(|file| fs::canonicalize(file).ok()),
        runtime_folder: isolated.runtime_folder.clone(),
    })
}

fn write_plan(path: &Path, plan: &Plan) -> Result<(), IsolateError> {
    serde_json::to_vec(plan)
        .map_err(io::Error::from)
        .and_then(|bytes| fs::write(path, bytes))
        .map_err(IsolateError::io("write the helper's plan"))
}

fn listen(path: &Path) -> Result<UnixListener, IsolateError> {
    UnixListener::bind(path).map_err(IsolateError::io("make a socket in the private folder"))
}

async fn bind(publish: Publish) -> Result<TcpListener, IsolateError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, publish.host));
    TcpListener::bind(address)
        .await
        .map_err(|source| IsolateError::Publish { address, source })
}

fn announce(inside: u16, listener: &TcpListener) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!("published: http://{address} leads to port {inside} of the program");
    }
}

/// Signals for this process are for the program. It decides when it ends.
async fn wait(
    child: &mut Child,
    signals: Vec<(Signal, SignalStream)>,
    orders: mpsc::Sender<Order>,
) -> Result<ExitStatus, IsolateError> {
    for (known, mut stream) in signals {
        let orders = orders.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if orders.send(Order::Signal(known)).await.is_err() {
                    return;
                }
            }
        });
    }
    child
        .wait()
        .await
        .map_err(IsolateError::io("wait for the program"))
}

/// From here on they end the program, and no longer this process.
fn listen_for_signals() -> Result<Vec<(Signal, SignalStream)>, IsolateError> {
    let stream = |known: Signal| {
        let kind = match known {
            Signal::Hangup => SignalKind::hangup(),
            Signal::Interrupt => SignalKind::interrupt(),
            Signal::Quit => SignalKind::quit(),
            Signal::Terminate => SignalKind::terminate(),
            Signal::User1 => SignalKind::user_defined1(),
            Signal::User2 => SignalKind::user_defined2(),
        };
        Ok((known, signal(kind)?))
    };
    let all: io::Result<_> = Signal::ALL.into_iter().map(stream).collect();
    all.map_err(IsolateError::io("listen for signals"))
}

/// Carries the orders. When either side ends, so does the other: the helper takes the end of this
/// stream for the end of the parent.
async fn dispatch(lines: UnixStream, mut queue: mpsc::Receiver<Order>) {
    let (mut from_helper, mut to_helper) = lines.into_split();
    let mut ignored = [0; 64];
    loop {
        tokio::select! {
            order = queue.recv() => {
                let Some(order) = order else { return };
                if to_helper.write_all(format!("{order}\n").as_bytes()).await.is_err() {
                    return;
                }
            }
            said = from_helper.read(&mut ignored) => {
                if !matches!(said, Ok(1..)) {
                    return;
                }
            }
        }
    }
}

/// A way out of the namespace: to this one listener, whatever is written into it.
async fn door(socket: UnixListener, listener: SocketAddr) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Some((mut inner, slot)) = next(&slots, socket.accept()).await else {
            continue;
        };
        tokio::spawn(async move {
            let _slot = slot;
            if let Ok(mut outer) = isolation::to_own_listener(listener).await {
                let _ = tokio::io::copy_bidirectional(&mut inner.0, &mut outer).await;
            }
        });
    }
}

/// The next connection and a slot for it; `None` after a failure, once the storm may be over.
async fn next<S>(
    slots: &Arc<Semaphore>,
    accept: impl Future<Output = io::Result<S>>,
) -> Option<(S, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    match accept.await {
        Ok(stream) => Some((stream, slot)),
        Err(e) => {
            tracing::warn!(error = %e, "accept failed");
            tokio::time::sleep(Duration::from_millis(20)).await;
            None
        }
    }
}

/// Visitors of published ports whose connection the helper has not brought yet.
#[derive(Clone, Default)]
struct Waiting {
    visitors: Arc<Mutex<HashMap<u64, oneshot::Sender<UnixStream>>>>,
    last: Arc<AtomicU64>,
}

async fn published_port(
    listener: TcpListener,
    inside: u16,
    orders: mpsc::Sender<Order>,
    waiting: Waiting,
) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Some(((visitor, _), slot)) = next(&slots, listener.accept()).await else {
            continue;
        };
        let (orders, waiting) = (orders.clone(), waiting.clone());
        tokio::spawn(async move {
            let _slot = slot;
            visit(visitor, inside, &orders, &waiting).await;
        });
    }
}

async fn visit(
    mut visitor: TcpStream,
    inside: u16,
    orders: &mpsc::Sender<Order>,
    waiting: &Waiting,
) {
    let id = waiting.last.fetch_add(1, Ordering::Relaxed);
    let (bring, brought) = oneshot::channel();
    waiting.visitors.lock().insert(id, bring);
    let order = Order::Open { id, port: inside };
    let arrived = match orders.try_send(order) {
        Ok(()) => tokio::time::timeout(BRING_WITHIN, brought).await,
        Err(_) => return drop(waiting.visitors.lock().remove(&id)),
    };
    waiting.visitors.lock().remove(&id);
    if let Ok(Ok(mut inner)) = arrived {
        let _ = visitor.set_nodelay(true);
        let _ = tokio::io::copy_bidirectional(&mut visitor, &mut inner).await;
    }
}

/// Takes what the helper brings: eight bytes that name the visitor, then the program's stream.
async fn deliver(socket: UnixListener, waiting: Waiting) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Some(((mut inner, _), slot)) = next(&slots, socket.accept()).await else {
            continue;
        };
        let waiting = waiting.clone();
        tokio::spawn(async move {
            let _slot = slot;
            let named = tokio::time::timeout(BRING_WITHIN, inner.read_u64()).await;
            if let Ok(Ok(id)) = named
                && let Some(visitor) = waiting.visitors.lock().remove(&id)
            {
                let _ = visitor.send(inner);
            }
        });
    }
}

/// The private folder: only this user may enter, and it goes with the value.
struct Folder(PathBuf);

impl Folder {
    fn make(temporary: Option<&Path>) -> Result<Self, IsolateError> {
        let name = format!("airlock-isolate-{}", uuid::Uuid::new_v4().simple());
        // Below /run it would be hidden from the helper; a long name has no room in a socket address.
        let parent = temporary
            .filter(|p| p.is_absolute() && !p.starts_with("/run") && !p.starts_with("/var/run"))
            .filter(|p| p.as_os_str().len() + name.len() < MAX_FOLDER + 32)
            .unwrap_or(Path::new("/tmp"));
        let path = parent.join(name);
        // Not recursive: a folder that is there already is not ours.
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .and_then(|()| fs::canonicalize(&path))
            .map(Self)
            .map_err(IsolateError::io("make a private folder"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), error = %e, "private folder not removed");
        }
    }
}

/// Each host port once; the operating system would refuse the second with less clarity.
fn refuse_duplicates(publish: &[Publish]) -> Result<(), IsolateError> {
    let mut seen = BTreeSet::new();
    for port in publish.iter().map(|p| p.host).filter(|port| *port != 0) {
        if !seen.insert(port) {
            return Err(IsolateError::PublishedTwice(port));
        }
    }
    Ok(())
}
