//! What a checkpoint answers: an action, the rule that gave it, and a reason.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::Terms;

/// Name of a rule as written in YAML, or `pack/rule` for a rule of a pack; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct RuleName(Arc<str>);

impl RuleName {
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }
    /// The name that stands where no rule matched.
    pub fn none() -> Self {
        static NONE: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| Arc::from("none"));
        Self(NONE.clone())
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a refusal by policy is carried out or only recorded.
/// Structural refusals (malformed, mismatched, unsafe address) are carried out in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Enforce,
    Report,
}

impl Mode {
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Report => "report",
        }
    }
}

/// Who answers a request that a rule keeps on this machine. Closed set; YAML `respond: NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Responder {
    /// OpenAI-compatible gateway to the user's own LLM.
    Llm,
    /// MCP over legacy HTTP+SSE and streamable HTTP.
    Mcp,
    /// The vendor's page and account endpoints (WIRE.md 10 to 18).
    Copilot,
    /// ModelScope search and download endpoints (WIRE.md 6 and 7).
    ModelScope,
    /// Counts and throws away: telemetry events and agents' traces (WIRE.md 8 and 12).
    Sink,
    /// A placeholder picture in place of a vendor's image (WIRE.md 20).
    Image,
    /// What the front door serves below `/airlock/` of its own: the reports of browsers.
    FrontDoor,
}

impl Responder {
    pub const ALL: [Responder; 7] = [
        Responder::Llm,
        Responder::Mcp,
        Responder::Copilot,
        Responder::ModelScope,
        Responder::Sink,
        Responder::Image,
        Responder::FrontDoor,
    ];
    pub fn as_str(self) -> &'static str {
        match self {
            Responder::Llm => "llm",
            Responder::Mcp => "mcp",
            Responder::Copilot => "copilot",
            Responder::ModelScope => "model_scope",
            Responder::Sink => "sink",
            Responder::Image => "image",
            Responder::FrontDoor => "front_door",
        }
    }
}

/// What is done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionAction {
    Deny,
    /// Relay the bytes undecrypted, after the SNI check.
    Tunnel,
    /// Terminate TLS here and judge each request.
    Intercept,
}

impl ConnectionAction {
    pub fn as_str(self) -> &'static str {
        match self {
            ConnectionAction::Deny => "deny",
            ConnectionAction::Tunnel => "tunnel",
            ConnectionAction::Intercept => "intercept",
        }
    }
}

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Deny,
    /// Send it on to the host it names.
    Forward,
    /// Answer it in this process.
    Respond(Responder),
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Deny => "deny",
            Action::Forward => "forward",
            Action::Respond(_) => "respond",
        }
    }
}

/// The outcome of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<A> {
    pub action: A,
    pub rule: RuleName,
    pub reason: Reason,
    /// In report mode: what enforce mode would have denied, and why. `None` when it would not.
    pub would_deny: Option<Reason>,
    /// What the rule that allows demands further on: an end, a budget, no secrets.
    pub terms: Option<Arc<Terms>>,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal;)*) => {
        /// Why a decision was taken. The snake_case codes are stable: log field, metric label,
        /// response header, documentation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name),* }

        impl Reason {
            pub const ALL: &'static [Reason] = &[$(Reason::$name),*];
            pub fn code(self) -> &'static str {
                match self { $(Reason::$name => $code),* }
            }
            /// HTTP status of the response that a refusal with this reason gets; 200 for allows.
            pub fn status(self) -> u16 {
                match self { $(Reason::$name => $status),* }
            }
        }
    };
}

reasons! {
    /// A rule allows it.
    RuleAllows = "rule_allows", 200;
    /// A deny rule matched.
    RuleDenies = "rule_denies", 403;
    /// No rule matched: the default.
    NoRuleMatched = "no_rule_matched", 403;
    /// A rule names the host, but not this method, path, port or client.
    HostKnownRequestNot = "host_known_request_not", 403;
    /// The host or authority is not a valid name or address.
    BadAuthority = "bad_authority", 400;
    /// URI authority, Host, CONNECT target and SNI are not one and the same.
    AuthorityMismatch = "authority_mismatch", 421;
    /// The request head is not well-formed HTTP/1.1.
    MalformedRequest = "malformed_request", 400;
    /// Content-Length and Transfer-Encoding together, or either of them ambiguous.
    AmbiguousFraming = "ambiguous_framing", 400;
    /// The front door is not known by this name: a page of a foreign site that rebinds its name.
    HostNotAllowed = "host_not_allowed", 421;
    /// A page of another origin called the front door.
    OriginNotAllowed = "origin_not_allowed", 403;
    /// A WebSocket in the clear beyond this machine.
    PlainWebsocket = "plain_websocket", 403;
    /// A file name leads out of its folder.
    GuardTraversal = "guard_traversal", 403;
    /// An uploaded file is of a kind that is not taken.
    GuardUploadTypes = "guard_upload_types", 415;
    /// An uploaded picture announces too many pixels.
    GuardImagePixels = "guard_image_pixels", 413;
    /// A workflow has too many nodes, bytes or levels.
    GuardPrompt = "guard_prompt", 413;
    /// A workflow has a node that runs what it says.
    GuardCodeNodes = "guard_code_nodes", 403;
    /// Installing is for admins.
    GuardInstallRoutes = "guard_install_routes", 403;
    /// Files of ComfyUI-Manager among the user's.
    GuardManagerFiles = "guard_manager_files", 403;
    /// A guarded body that can be read in two ways, or not at all.
    GuardUnreadable = "guard_unreadable", 415;
    /// Nobody comes in here without a login, a token or an API key.
    LoginRequired = "login_required", 401;
    /// The same on a proxy port, which browsers and libraries ask for in its own way.
    ProxyLoginRequired = "proxy_login_required", 407;
    /// Not two parts, too long, given twice, or a signature that is none.
    TokenMalformed = "token_malformed", 401;
    TokenBadSignature = "token_bad_signature", 401;
    TokenBadPayload = "token_bad_payload", 401;
    TokenExpired = "token_expired", 401;
    /// One that was made for ComfyUI and the plugin, shown where only people and programs log in.
    TokenNotHere = "token_not_here", 401;
    SessionUnknown = "session_unknown", 401;
    SessionRevoked = "session_revoked", 401;
    SessionExpired = "session_expired", 401;
    SessionMismatch = "session_mismatch", 401;
    KeyUnknown = "key_unknown", 401;
    KeyExpired = "key_expired", 401;
    KeyTooMany = "key_too_many", 429;
    KeyBusy = "key_busy", 429;
    LoginWrong = "login_wrong", 401;
    LoginThrottled = "login_throttled", 429;
    LoginBusy = "login_busy", 503;
    /// A password, over HTTP without TLS from another machine.
    LoginInTheClear = "login_in_the_clear", 403;
    /// It changes something, or opens a WebSocket, with a cookie and without saying from which page.
    PageUnknown = "page_unknown", 403;
    /// The role of who asks does not cover it.
    RoleTooLow = "role_too_low", 403;
    /// The plugin's session id belongs to another user.
    SessionIdForeign = "session_id_foreign", 403;
    SessionIdsFull = "session_ids_full", 503;
    /// A workflow checkpoint of the plugin that is not known to be this user's.
    CheckpointForeign = "checkpoint_foreign", 403;
    HeadTooLarge = "head_too_large", 431;
    HeadTimeout = "head_timeout", 408;
    BodyTooLarge = "body_too_large", 413;
    BodyTimeout = "body_timeout", 408;
    /// The request form does not belong to this entry (CONNECT on reverse, origin-form on explicit).
    WrongEntry = "wrong_entry", 400;
    /// First bytes of a tunnel are not a TLS ClientHello.
    NotTls = "not_tls", 403;
    SniMissing = "sni_missing", 403;
    SniMismatch = "sni_mismatch", 403;
    /// The ClientHello may hide another name from us, and its server could read that name.
    EchRefused = "ech_refused", 403;
    ClientHelloInvalid = "client_hello_invalid", 403;
    ClientHelloTimeout = "client_hello_timeout", 403;
    TlsHandshakeFailed = "tls_handshake_failed", 403;
    /// The name resolved to an address of a class that is closed.
    AddressClosed = "address_closed", 403;
    /// The destination is one of our own listeners.
    OwnListener = "own_listener", 403;
    ResolveFailed = "resolve_failed", 502;
    ResolveTimeout = "resolve_timeout", 504;
    ConnectFailed = "connect_failed", 502;
    ConnectTimeout = "connect_timeout", 504;
    UpstreamTlsFailed = "upstream_tls_failed", 502;
    /// The site's proxy would not connect there (`egress.upstream_proxy`).
    UpstreamProxyRefused = "upstream_proxy_refused", 502;
    UpstreamFailed = "upstream_failed", 502;
    UpstreamTimeout = "upstream_timeout", 504;
    /// Upgrade (WebSocket) without a rule that allows one.
    UpgradeNotAllowed = "upgrade_not_allowed", 403;
    /// What was open, and a newer policy would refuse it.
    PolicyChanged = "policy_changed", 403;
    /// The kill switch is on.
    LockedDown = "locked_down", 403;
    /// The rule that allowed it has ended (`until`).
    AllowExpired = "allow_expired", 403;
    /// The rule is read-only: GET and HEAD without a body.
    ReadOnly = "read_only", 403;
    /// The rule is for other users and API keys (`users`).
    NotForYou = "not_for_you", 403;
    /// The query is over the rule's bound.
    QueryTooLarge = "query_too_large", 414;
    /// The headers are over the rule's bound.
    HeadersTooLarge = "headers_too_large", 431;
    /// The rule's bytes for this hour or day are spent.
    BudgetSpent = "budget_spent", 403;
    /// A key, a token or a string of the user's own would have left.
    SecretFound = "secret_found", 403;
    /// The body is compressed or otherwise encoded, so that secrets in it cannot be seen.
    BodyEncoded = "body_encoded", 415;
    /// A bound was reached: connections, sessions, queue.
    Overloaded = "overloaded", 503;
    /// This caller has asked too often (`limits.rates`, or its API key).
    RateLimited = "rate_limited", 429;
    /// This caller has as many requests open as it may.
    TooManyOpen = "too_many_open", 429;
    /// ComfyUI could not be reached so often that it is left alone for a moment.
    CircuitOpen = "circuit_open", 503;
    /// The audit log cannot be written: what cannot be recorded is not let through.
    AuditUnavailable = "audit_unavailable", 503;
    /// Whose a chat or a saved workflow is cannot be written down, so nobody is told that it is theirs.
    StateUnavailable = "state_unavailable", 503;
    /// Deciding itself went wrong (a panic): nobody knows what the rules say, so nothing is let through.
    PolicyFault = "policy_fault", 503;
    /// The client went away before the answer was complete.
    ClientGone = "client_gone", 499;
    Internal = "internal", 500;
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.code())
    }
}
