//! The runtime configuration: every value checked, every default filled in.
//!
//! Built by `compile` once; read by `app`, which hands each part to its service.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

use crate::{
    net::{Authority, BaseUrl, DomainPattern, Host},
    policy::{AddressPolicy, CompiledPolicy, Mode, secrets::SecretMode},
    token::SigningKey,
};

use super::{
    ComfyUiConfig, FrontDoor, ModelsConfig, RatesConfig, Secret, TrustedNetworks, WebSearchConfig,
    watch::Stamp,
};

#[derive(Clone, Debug)]
pub struct Config {
    /// Where this came from: a file name, or "the embedded default".
    pub source: String,
    /// The file it came from, to be read again by a reload.
    pub file: Option<SourceFile>,
    /// Folder for the CA, keys, the store and the audit log. Not created by loading.
    pub state_dir: PathBuf,
    pub mode: Mode,
    pub listeners: Listeners,
    /// Names of the packs in `policy`.
    pub packs: Vec<String>,
    /// The user's rules, then implicit rules of reverse routes, then those of packs.
    pub policy: Arc<CompiledPolicy>,
    /// Private addresses that are open: the LLM, the reverse routes, the named upstreams.
    pub addresses: AddressPolicy,
    pub llm: LlmConfig,
    pub models: ModelsConfig,
    /// Where answers about nodes, templates and models come from; `None` is off.
    pub comfyui: Option<ComfyUiConfig>,
    /// Where the chat's web search goes; `None` is nowhere.
    pub web_search: Option<WebSearchConfig>,
    pub audit: AuditConfig,
    pub limits: Limits,
    pub selftest: SelftestConfig,
    pub encrypted_client_hello: EncryptedClientHello,
    pub upstreams: Vec<NamedUpstream>,
    pub egress: EgressConfig,
    pub session: SessionConfig,
    pub users: UsersConfig,
    /// Inside `policy` as well, ready to be searched for.
    pub secrets: SecretsConfig,
    /// Things worth telling at start: variables without effect, rules dropped, wide listeners.
    pub notes: Vec<String>,
}

/// Where a running airlock is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    pub state_dir: PathBuf,
    pub admin: Option<SocketAddr>,
}

/// A configuration file, as it was just before it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    pub path: PathBuf,
    pub stamp: Option<Stamp>,
}

impl Config {
    /// The CA that is named for an upstream, by its authority.
    pub fn ca_file_for(&self, authority: &Authority) -> Option<&PathBuf> {
        let llm = self.llm.base_url.iter().map(|url| (url, &self.llm.ca_file));
        let routes = self.listeners.reverse.iter().flat_map(|r| &r.routes);
        let door = self.listeners.front_door.iter();
        llm.chain(routes.map(|r| (&r.upstream, &r.ca_file)))
            .chain(door.map(|d| (&d.comfyui, &d.ca_file)))
            .chain(self.comfyui.iter().map(|c| (&c.url, &c.ca_file)))
            .chain(self.upstreams.iter().map(|u| (&u.url, &u.ca_file)))
            .filter(|(url, _)| url.authority == *authority)
            .find_map(|(_, ca)| ca.as_ref())
    }
}

/// `None` is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// Forward proxy.
    pub explicit: Option<SocketAddr>,
    pub reverse: Option<Reverse>,
    pub transparent_tls: Option<SocketAddr>,
    pub transparent_http: Option<SocketAddr>,
    /// Health, metrics.
    pub admin: Option<SocketAddr>,
    /// From the section `front_door`.
    pub front_door: Option<FrontDoor>,
    /// Who may use those that other machines reach without a key.
    pub trusted: TrustedNetworks,
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            explicit: Some(loopback(3128)),
            reverse: Some(Reverse::default()),
            transparent_tls: None,
            transparent_http: None,
            admin: Some(loopback(9464)),
            front_door: None,
            trusted: TrustedNetworks::default(),
        }
    }
}

impl Listeners {
    /// Every address that is listened on, with the setting that names it.
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let Self {
            explicit,
            reverse,
            transparent_tls,
            transparent_http,
            admin,
            front_door,
            trusted: _,
        } = self;
        let reverse = reverse.as_ref().map(|r| r.listen);
        let front_door = front_door.as_ref().map(|d| d.listen);
        [
            ("listeners.explicit", *explicit),
            ("listeners.reverse.listen", reverse),
            ("listeners.transparent_tls", *transparent_tls),
            ("listeners.transparent_http", *transparent_http),
            ("listeners.admin", *admin),
            ("front_door.listen", front_door),
        ]
        .into_iter()
        .filter_map(|(name, addr)| addr.map(|a| (name, a)))
        .collect()
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A base URL of ours that stands for a vendor's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reverse {
    pub listen: SocketAddr,
    /// The host that requests are judged as where no route takes them (port 443).
    pub host: Host,
    /// Longest prefix first.
    pub routes: Vec<ReverseRoute>,
}

/// The vendor host that the plugin's Python side talks to (WIRE.md 0).
pub const VENDOR_HOST: &str = "comfyui-copilot-server.onrender.com";

impl Default for Reverse {
    fn default() -> Self {
        Self {
            listen: loopback(8787),
            host: Host::Name(VENDOR_HOST.into()),
            routes: Vec::new(),
        }
    }
}

/// Requests of the reverse entry below a prefix go to an upstream of the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReverseRoute {
    /// `/`, or `/comfy`: covers itself and what is below it. The path is sent on as it is.
    pub path_prefix: String,
    /// No path of its own.
    pub upstream: BaseUrl,
    /// `Host` header towards the upstream; absent: the upstream's own.
    pub host: Option<String>,
    /// Whether WebSockets pass.
    pub upgrade: bool,
    /// PEM file of the CA that signed the upstream, beside the system's.
    pub ca_file: Option<PathBuf>,
}

impl ReverseRoute {
    /// True where the canonical `path` is the prefix or below it.
    pub fn covers(&self, path: &str) -> bool {
        let prefix = self.path_prefix.trim_end_matches('/');
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// What the plugin is shown when the LLM fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LlmErrors {
    /// The plugin's requests get a chat message, other clients an HTTP error.
    #[default]
    Auto,
    Http,
    Chat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LlmConfig {
    /// OpenAI-compatible base, with its `/v1`. `None`: discovery, if it is on.
    pub base_url: Option<BaseUrl>,
    pub api_key: Option<Secret<String>>,
    /// Model for every name that no alias knows; `None`: the upstream's first.
    pub model: Option<String>,
    /// PEM file of the CA that signed the upstream, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Asked for → sent.
    pub aliases: BTreeMap<String, String>,
    /// Unknown model names go to `model` or the upstream's first.
    pub catch_all: bool,
    /// Look for a local LLM where none is configured.
    pub discover: bool,
    /// Base URLs that are tried, in order.
    pub discover_ports: Vec<BaseUrl>,
    pub connect_timeout: Duration,
    /// Until the first byte of the answer: prompt processing takes long.
    pub first_byte_timeout: Duration,
    /// Between two chunks of a stream.
    pub idle_timeout: Duration,
    /// For `/v1/models`, which freezes ComfyUI while it hangs (WIRE.md 0.4).
    pub models_timeout: Duration,
    /// Remove `<think>` text from answers.
    pub strip_think: bool,
    pub errors: LlmErrors,
    /// Whom the key that the page seals may be shown to (WIRE.md 10, 14); empty: nobody.
    pub providers: Vec<Provider>,
}

/// An LLM that is asked with a key that comes with the question, and with no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// As it stands in the plugin's settings.
    pub base_url: BaseUrl,
    /// The page names none.
    pub model: String,
}

/// vLLM, llama.cpp, Ollama, LM Studio.
pub const DISCOVER: [&str; 4] = [
    "http://127.0.0.1:8000/v1",
    "http://127.0.0.1:8080/v1",
    "http://127.0.0.1:11434/v1",
    "http://127.0.0.1:1234/v1",
];

impl Default for LlmConfig {
    fn default() -> Self {
        Self {
            base_url: None,
            api_key: None,
            model: None,
            ca_file: None,
            aliases: BTreeMap::new(),
            catch_all: true,
            discover: true,
            discover_ports: DISCOVER
                .iter()
                .filter_map(|u| BaseUrl::parse(u).ok())
                .collect(),
            connect_timeout: Duration::from_secs(3),
            first_byte_timeout: Duration::from_secs(300),
            idle_timeout: Duration::from_secs(120),
            models_timeout: Duration::from_secs(2),
            strip_think: true,
            errors: LlmErrors::Auto,
            providers: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    pub enabled: bool,
    /// `None`: `audit.jsonl` in the state folder.
    pub path: Option<PathBuf>,
    /// Bytes after which the file is rotated.
    pub max_bytes: u64,
    /// Rotated files kept.
    pub keep: usize,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            path: None,
            max_bytes: 64 << 20,
            keep: 8,
        }
    }
}

/// When the running process tries to get past itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelftestConfig {
    pub at_start: bool,
    /// Between two rounds; `None` is off.
    pub every: Option<Duration>,
    pub on_escape: OnEscape,
}

/// What an escape leads to, beside bad health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnEscape {
    #[default]
    Report,
    /// Everything is shut, until a person opens it again.
    Lockdown,
}

/// Bounds on everything that a peer can make grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request head.
    pub head_bytes: u64,
    pub head_timeout: Duration,
    /// Bytes of a request body that is answered here.
    pub body_bytes: u64,
    /// Bytes of all heads and bodies that are in memory at once.
    pub held_bytes: u64,
    /// Open downstream connections.
    pub connections: usize,
    /// Leaf certificates held.
    pub leaf_cache: usize,
    pub mcp_sessions: usize,
    pub client_hello_timeout: Duration,
    /// To upstreams other than the LLM.
    pub connect_timeout: Duration,
    /// Silence of a forwarded upstream, and of a client that does not read.
    pub upstream_timeout: Duration,
    /// Time that open exchanges get at shutdown.
    pub drain_timeout: Duration,
    /// Keep-alive without a request.
    pub idle_timeout: Duration,
    pub rates: RatesConfig,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 << 10,
            head_timeout: Duration::from_secs(10),
            body_bytes: 64 << 20,
            held_bytes: 128 << 20,
            connections: 4096,
            leaf_cache: 1024,
            mcp_sessions: 256,
            client_hello_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            upstream_timeout: Duration::from_secs(300),
            drain_timeout: Duration::from_secs(8),
            idle_timeout: Duration::from_secs(60),
            rates: RatesConfig::default(),
        }
    }
}

/// What happens to a tunnel whose ClientHello has an `encrypted_client_hello` extension.
/// An intercepted connection is not concerned: its TLS ends here, and what is hidden goes nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EncryptedClientHello {
    /// Refused, GREASE as well.
    Refuse,
    /// Passes where the server shows that it takes no encrypted hello, so that it can only be GREASE.
    #[default]
    AllowGrease,
}

/// An upstream that may live at a private address, or has a CA of its own. Opens no host:
/// rules do that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedUpstream {
    pub name: String,
    pub url: BaseUrl,
    pub ca_file: Option<PathBuf>,
}

/// Signed sessions; see `session`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// `None`: a key file in the state folder.
    pub secret: Option<SigningKey>,
    pub previous_secret: Option<SigningKey>,
    /// From the last activity.
    pub lifetime: Duration,
    /// From the beginning, whatever the activity.
    pub max_lifetime: Duration,
    pub max_sessions: usize,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            secret: None,
            previous_secret: None,
            lifetime: Duration::from_secs(24 * 3600),
            max_lifetime: Duration::from_secs(720 * 3600),
            max_sessions: 10_000,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsersConfig {
    /// Nobody comes in without a login; the first start makes an admin.
    pub required: bool,
}

/// What is looked for in forwarded requests, and what is done with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretsConfig {
    pub mode: SecretMode,
    /// Strings of the user's own, beside the makers' keys and tokens.
    pub own: Vec<Secret<String>>,
}

/// How what leaves this machine leaves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressConfig {
    pub upstream_proxy: Option<SiteProxy>,
    /// Dialled by us all the same.
    pub no_proxy: Vec<Exemption>,
    pub llm_through_proxy: bool,
}

/// A proxy that is asked with CONNECT, and looks names up itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteProxy {
    pub authority: Authority,
    /// `user:password`.
    pub credentials: Option<Secret<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exemption {
    Name(DomainPattern),
    Net(IpNet),
}

impl Exemption {
    pub fn covers(&self, host: &Host) -> bool {
        match (self, host) {
            (Exemption::Name(pattern), host) => pattern.matches(host),
            (Exemption::Net(net), Host::Ip(ip)) => net.contains(&ip.to_canonical()),
            (Exemption::Net(_), Host::Name(_)) => false,
        }
    }
}
