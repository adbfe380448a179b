//! From configuration to services. No socket is opened here.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    StartError, control,
    descriptors::{self, Descriptors},
    receipts::Receipts,
};
use crate::{
    audit::{AuditLog, AuditSettings, Book},
    comfyui::ComfyUi,
    config::{self, Config, Listeners, Reverse},
    emulator::{
        Asking, CopilotDeps, CopilotResponder, ImageResponder, MadeWorkflows, ManagerLists,
        McpBounds, McpResponder, ModelScopeResponder, SinkResponder,
    },
    front_door::{
        Cards, FrontDoor, FrontDoorDeps, LoginPages, OwnPages, ReceiptPages, ReportResponder,
    },
    gateway::{Gateway, GatewayDeps},
    handler::cors::OriginPolicy,
    limit::{Limiter, breaker::Breaker},
    metrics::Metrics,
    models::{Library, local::Local},
    net::{Authority, Host, Port, Scheme},
    page::{OWN_HOST, OwnNames, PageSettings},
    policy::CompiledPolicy,
    proxy::{
        DoorRoute, Doorkeeper, Limits, Memory, OwnRequests, Responders, Route, Routes, Services,
        clean_headers,
    },
    session::{FirstAdmin, Identity, now},
    store::{Store, Totals, token::AdminToken},
    tls::{
        CaError, CaEvent, ClientTls, LeafCache, RootCa, SystemRoots, install_provider,
        system_bundle_path, write_bundle,
    },
    upstream::{
        connector::CountingConnector,
        dial::Dialer,
        ech::EchGuard,
        http_client::{HttpClient, Origin},
        private_ca::PrivateCas,
        site_proxy::SiteProxy,
    },
};

/// Name look-ups take longer than this only when something is broken.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

pub struct Built {
    pub services: Arc<Services>,
    pub gateway: Arc<Gateway>,
    pub copilot: Arc<CopilotResponder>,
    /// What this machine has, to be kept young.
    pub local_models: Arc<Local>,
    pub library: Arc<Library>,
    /// `None`: it is turned off.
    pub comfyui: Option<Arc<ComfyUi>>,
    pub store: Arc<Store>,
    pub identity: Arc<Identity>,
    pub first_admin: Option<FirstAdmin>,
    pub receipts: Arc<Receipts>,
    pub ca_bundle: PathBuf,
    pub roots: SystemRoots,
    pub token: AdminToken,
    /// Roots Pingora verifies upstreams with.
    pub ca_file: Option<String>,
    pub notes: Vec<String>,
}

pub fn build(config: &Config, environment: &HashMap<String, String>) -> Result<Built, StartError> {
    install_provider();
    let mut notes = config.notes.clone();
    notes.extend(make_state_dir(config)?);
    let metrics = Arc::new(Metrics::new());
    let store = Arc::new(Store::open(&config.state_dir)?);
    let totals = Arc::new(Totals::starting_from(store.totals()?));
    let (identity, first_admin) = super::identity::open(config, store.clone())?;

    let names = intercepted(&config.policy);
    let (root, event) = RootCa::load_or_create(&config.state_dir, &names)?;
    notes.extend(note_of(&event));
    let variable = |name: &str| environment.get(name).cloned();
    let roots = SystemRoots::load(variable, &config.state_dir);
    notes.extend(roots.warnings().iter().map(ToString::to_string));
    let ca_bundle = write_bundle(&root, &roots).map_err(|e| StartError::Bundle(e.to_string()))?;
    let ca_file = system_bundle_path(variable, &config.state_dir).map(|p| p.display().to_string());
    let leafs = Arc::new(LeafCache::new(
        Arc::new(root),
        config.limits.leaf_cache,
        metrics.clone(),
    )?);

    let book = Arc::new(Book::new(now()));
    let audit = Arc::new(AuditLog::keeping(
        AuditSettings {
            path: config.audit.enabled.then(|| {
                config
                    .audit
                    .path
                    .clone()
                    .unwrap_or_else(|| config.state_dir.join("audit.jsonl"))
            }),
            max_bytes: config.audit.max_bytes,
            keep: config.audit.keep,
        },
        metrics.clone(),
        Some(book.clone()),
    )?);
    let door = config.listeners.front_door.as_ref();
    let allowlist = door.map(|door| door.connection_allowlist);
    let receipts = Arc::new(Receipts::new(book, identity.clone(), allowlist));

    let dialer = Arc::new(
        Dialer::new(metrics.clone(), config.addresses.clone(), RESOLVE_TIMEOUT)
            .behind(SiteProxy::of(&config.egress)),
    );
    let client_tls = ClientTls::new(roots.store());
    let llm_tls = client_tls.config_for(config.llm.ca_file.as_deref())?;
    let client = HttpClient::new(dialer.clone(), llm_tls, config.llm.connect_timeout);
    let gateway = Arc::new(Gateway::new(GatewayDeps {
        settings: super::llm::gateway_settings(config),
        client,
        metrics: metrics.clone(),
        origins: OriginPolicy::private_only(),
    }));
    let origins = OriginPolicy::private_only();
    let own = own_pages(config, &identity, &receipts, &metrics);
    let own_requests = Arc::new(OwnRequests::default());
    let cards = Arc::new(Cards::default());
    let comfyui = super::comfyui::comfyui(config, &dialer, &client_tls, &metrics)?;
    let known = comfyui.as_ref();
    let models =
        super::models::build(config, &dialer, &client_tls, &own_requests, &metrics, known)?;
    let library = models.library;
    let web = super::comfyui::web_search(config, &dialer, &client_tls, &own_requests)?;
    let asking = Arc::new(Asking::new(gateway.clone()));
    let made = Arc::new(MadeWorkflows::default());
    let tools = comfyui
        .as_ref()
        .map(|c| super::comfyui::tools(config, c, &library, &cards, &asking, &made, web));
    let providers = super::llm::providers(config, &dialer, &client_tls, &own_requests, &metrics)?;
    let copilot = Arc::new(CopilotResponder::new(
        &config.state_dir,
        CopilotDeps {
            origins: origins.clone(),
            metrics: metrics.clone(),
            asking,
            providers,
            comfyui: comfyui.clone(),
            manager_lists: ManagerLists::below(super::comfyui::folder(config)),
            made,
            identity: identity.clone(),
            receipts: receipts.clone(),
        },
    ));
    let responders = Responders {
        llm: gateway.clone(),
        mcp: Arc::new(mcp(config, tools, &metrics)),
        copilot: copilot.clone(),
        model_scope: Arc::new(ModelScopeResponder::new(library.clone(), metrics.clone())),
        sink: Arc::new(SinkResponder::new(origins, metrics.clone())),
        image: Arc::new(ImageResponder),
        front_door: Arc::new(own),
    };
    let breaker = breaker(config, &metrics);
    let kept = (cards, comfyui.clone());
    let front_door = front_door(config, &dialer, &client_tls, kept, &metrics, &breaker)?;
    notes.extend(front_door.iter().flat_map(|door| door.notes()));
    let private_cas = private_cas(config, &client_tls)?;
    let ech = ech_guard(config, &dialer, &client_tls)?;
    let limits = &config.limits;
    let (descriptors, note) = Descriptors::dealt(limits.connections, descriptors::granted());
    notes.extend(note);
    let services = Arc::new(Services {
        limiter: Limiter::new(&limits.rates, &metrics),
        breaker,
        policy: arc_swap::ArcSwap::new(config.policy.clone()),
        connector: Arc::new(CountingConnector::new(
            metrics.clone(),
            config.limits.connect_timeout,
        )),
        metrics,
        audit,
        totals,
        dialer,
        leafs: arc_swap::ArcSwap::new(leafs),
        responders,
        routes: routes(&config.listeners),
        front_door,
        private_cas: arc_swap::ArcSwap::from_pointee(private_cas),
        ech: arc_swap::ArcSwap::from_pointee(ech),
        budgets: Arc::default(),
        live: Arc::default(),
        doorkeeper: Doorkeeper {
            turn: Default::default(),
            identity: identity.clone(),
            users_required: config.users.required,
            asks: config.listeners.asking(),
        },
        closing: CancellationToken::new(),
        // The largest body fits, whatever else is configured.
        memory: Memory::of(limits.held_bytes.max(limits.body_bytes) as usize),
        limits: Limits {
            head_bytes: limits.head_bytes as usize,
            head_timeout: limits.head_timeout,
            idle_timeout: limits.idle_timeout,
            client_hello_timeout: limits.client_hello_timeout,
            connect_timeout: limits.connect_timeout,
            upstream_timeout: limits.upstream_timeout,
            connections: descriptors.connections,
            farewells: descriptors.farewells,
            idle_upstreams: descriptors.idle_upstreams,
            drain_timeout: limits.drain_timeout,
            body_bytes: limits.body_bytes as usize,
        },
    });
    receipts.about(&services);
    own_requests.join(&services);
    notes.extend(control::restore(&services, &config.state_dir));
    let token = AdminToken::create(&config.state_dir).map_err(CaError::File)?;
    Ok(Built {
        services,
        gateway,
        copilot,
        local_models: models.local,
        library,
        comfyui,
        store,
        identity,
        first_admin,
        receipts,
        ca_bundle,
        roots,
        token,
        ca_file,
        notes,
    })
}

/// The state folder holds keys: only its owner may look in. Told is what was changed to make it so.
pub fn make_state_dir(config: &Config) -> Result<Option<String>, StartError> {
    let path = &config.state_dir;
    let fail = |problem: String| StartError::StateDir {
        path: path.display().to_string(),
        problem,
    };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|e| fail(e.to_string()))?;
    #[cfg(unix)]
    return close_to_others(path).map_err(fail);
    #[cfg(not(unix))]
    Ok(None)
}

/// A folder that was there before may be open to the group or the world.
#[cfg(unix)]
fn close_to_others(path: &Path) -> Result<Option<String>, String> {
    use std::os::unix::fs::PermissionsExt;
    const OURS: [&str; 3] = ["ca", "airlock.redb", "audit.jsonl"];
    let words = |e: std::io::Error| e.to_string();
    let mode = std::fs::metadata(path).map_err(words)?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(None);
    }
    let mut entries = std::fs::read_dir(path).map_err(words)?.peekable();
    let empty = entries.peek().is_none();
    if !empty && !OURS.iter().any(|name| path.join(name).exists()) {
        return Err(format!(
            "others may look in (mode {:04o}) and it holds something else; name a folder of its own, or \
             close this one by chmod 700",
            mode & 0o7777
        ));
    }
    let shown = path.display();
    match std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)) {
        Ok(()) => Ok(Some(format!(
            "the state folder {shown} was open to others (mode {:04o}); it is 0700 now",
            mode & 0o7777
        ))),
        // A volume of another owner: the keys in it are 0600 all the same, or stop the start.
        Err(e) => Ok(Some(format!(
            "the state folder {shown} is open to others (mode {:04o}) and cannot be closed: {e}",
            mode & 0o7777
        ))),
    }
}

pub(super) fn note_of(event: &CaEvent) -> Option<String> {
    match event {
        CaEvent::Loaded => None,
        CaEvent::Created => Some("made a root CA; clients need its bundle (airlock env)".into()),
        CaEvent::Reissued { added, removed } => Some(format!(
            "re-issued the root certificate from the same key (now also: {}; no longer: {}); \
             clients that hold the old one need the new bundle",
            list(added),
            list(removed),
        )),
    }
}

/// The names that our CA stands for, sorted.
pub(super) fn intercepted(policy: &CompiledPolicy) -> Vec<String> {
    let mut names: Vec<String> = policy
        .intercepted_hosts()
        .iter()
        .map(ToString::to_string)
        .collect();
    names.sort_unstable();
    names
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".into()
    } else {
        names.join(", ")
    }
}

fn mcp(
    config: &Config,
    tools: Option<super::comfyui::Toolboxes>,
    metrics: &Arc<Metrics>,
) -> McpResponder {
    let bounds = McpBounds {
        max_sessions: config.limits.mcp_sessions,
        ..McpBounds::default()
    };
    let mcp = McpResponder::new(bounds, metrics.clone());
    match tools {
        Some(tools) => mcp.with_tools(tools.copilot, tools.search),
        None => mcp,
    }
}

fn own_pages(
    config: &Config,
    identity: &Arc<Identity>,
    receipts: &Arc<Receipts>,
    metrics: &Arc<Metrics>,
) -> OwnPages {
    let door = config.listeners.front_door.as_ref();
    OwnPages {
        reports: Arc::new(ReportResponder::new(metrics.clone())),
        login: Arc::new(LoginPages {
            identity: identity.clone(),
            names: door.map(own_names).unwrap_or_default(),
            required: config.users.required,
            metrics: metrics.clone(),
        }),
        receipts: Arc::new(ReceiptPages::new(receipts.clone())),
    }
}

fn own_names(door: &config::FrontDoor) -> OwnNames {
    OwnNames {
        named: door.hosts.clone(),
        beyond_loopback: !door.listen.ip().is_loopback(),
        plain_websockets: door.plain_websockets.clone(),
    }
}

fn front_door(
    config: &Config,
    dialer: &Arc<Dialer>,
    tls: &ClientTls,
    (cards, known): (Arc<Cards>, Option<Arc<ComfyUi>>),
    metrics: &Arc<Metrics>,
    breaker: &Arc<Breaker>,
) -> Result<Option<Arc<FrontDoor>>, StartError> {
    let Some(door) = &config.listeners.front_door else {
        return Ok(None);
    };
    let tls = tls.config_for(door.ca_file.as_deref())?;
    let deps = FrontDoorDeps {
        clean: clean_headers,
        comfyui: Origin::of(&door.comfyui),
        client: HttpClient::new(dialer.clone(), tls, config.limits.connect_timeout),
        settings: PageSettings {
            connection_allowlist: door.connection_allowlist,
        },
        breaker: breaker.clone(),
        metrics: metrics.clone(),
        cards,
        known,
    };
    Ok(Some(Arc::new(FrontDoor::new(deps, &config.policy))))
}

fn breaker(config: &Config, metrics: &Arc<Metrics>) -> Arc<Breaker> {
    let door = config.listeners.front_door.as_ref();
    Breaker::new(door.and_then(|door| door.breaker), metrics.clone())
}

fn door_route(door: &config::FrontDoor) -> DoorRoute {
    DoorRoute {
        names: own_names(door),
        comfyui: door.comfyui.authority.clone(),
        tls: door.comfyui.scheme == Scheme::Https,
        own: Authority::new(Host::Name(OWN_HOST.into()), Port::HTTP),
        upload_bytes: door.upload_bytes,
        guards: door.guards,
    }
}

fn routes(listeners: &Listeners) -> Routes {
    let fallback = Reverse::default();
    let reverse = listeners.reverse.as_ref().unwrap_or(&fallback);
    Routes {
        door: listeners.front_door.as_ref().map(door_route),
        vendor: Authority::new(reverse.host.clone(), Port::HTTPS),
        routes: reverse
            .routes
            .iter()
            .map(|r| Route {
                prefix: r.path_prefix.trim_end_matches('/').to_owned(),
                authority: r.upstream.authority.clone(),
                tls: r.upstream.scheme == Scheme::Https,
                host: r.host.clone().unwrap_or_else(|| {
                    r.upstream
                        .authority
                        .without_port(r.upstream.scheme.default_port())
                }),
            })
            .collect(),
    }
}

/// CAs of forwarded upstreams; the LLM's own goes into its client.
pub(super) fn private_cas(config: &Config, tls: &ClientTls) -> Result<PrivateCas, StartError> {
    Ok(PrivateCas::load(named_cas(config), tls)?)
}

/// What looks after encrypted ClientHellos in tunnels; it verifies servers as `tls` does.
pub(super) fn ech_guard(
    config: &Config,
    dialer: &Arc<Dialer>,
    tls: &ClientTls,
) -> Result<EchGuard, StartError> {
    let patience = config.limits.connect_timeout;
    let mode = config.encrypted_client_hello;
    Ok(EchGuard::new(
        mode,
        dialer.clone(),
        tls,
        named_cas(config),
        patience,
    )?)
}

fn named_cas(config: &Config) -> impl Iterator<Item = (&Authority, &Path)> {
    let routes = config.listeners.reverse.iter().flat_map(|r| &r.routes);
    let door = config.listeners.front_door.iter();
    config
        .upstreams
        .iter()
        .map(|u| (&u.url.authority, &u.ca_file))
        .chain(routes.map(|r| (&r.upstream.authority, &r.ca_file)))
        .chain(door.map(|d| (&d.comfyui.authority, &d.ca_file)))
        .filter_map(|(authority, ca)| Some((authority, ca.as_deref()?)))
}
