//! The section `front_door`: Airlock before ComfyUI.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use crate::{
    guard::Guards,
    net::{Authority, BaseUrl, DomainPattern, Entry, Host, Port, Scheme},
    page,
    policy::{
        PathPattern, Ports, Responder, Rule, RuleAction, RuleName, Terms, secrets::SecretMode,
    },
};

use super::{
    BreakerConfig,
    error::Errors,
    guards,
    places::Places,
    rates,
    reader::{Field, Section},
    value::listen_address,
};

/// The door before ComfyUI, for the browser and for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontDoor {
    pub listen: SocketAddr,
    /// No path of its own.
    pub comfyui: BaseUrl,
    /// PEM file of the CA that signed it, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Names that browsers may call it by, beside `localhost` and addresses.
    pub hosts: Vec<Host>,
    /// Of these, the ones that WebSockets may use without TLS.
    pub plain_websockets: Vec<Host>,
    /// Tell browsers to reach nothing outside, links included.
    pub connection_allowlist: bool,
    /// Largest body that is sent on to ComfyUI. `None`: its own bound is the only one.
    pub upload_bytes: Option<u64>,
    /// `None`: ComfyUI is asked every time.
    pub breaker: Option<BreakerConfig>,
    /// What may be asked of ComfyUI.
    pub guards: Guards,
}

/// Videos have gigabytes; ComfyUI itself takes 100 MB unless it is told otherwise.
const UPLOAD: u64 = 16 << 30;

impl Default for FrontDoor {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8189)),
            comfyui: BaseUrl {
                scheme: Scheme::Http,
                authority: Authority::new(
                    Host::Ip(Ipv4Addr::LOCALHOST.into()),
                    Port::new(8188).unwrap_or(Port::HTTP),
                ),
                path: String::new(),
            },
            ca_file: None,
            hosts: Vec::new(),
            plain_websockets: Vec::new(),
            connection_allowlist: true,
            upload_bytes: Some(UPLOAD),
            breaker: Some(BreakerConfig::default()),
            guards: Guards::default(),
        }
    }
}

/// `AIRLOCK_FRONT_DOOR`, which `airlock run --front-door` sets: `on` where the file has no section.
pub const FRONT_DOOR_SWITCH: &str = "AIRLOCK_FRONT_DOOR";

/// Off unless the section is there or the switch is on; `off` in the file stands above the switch.
pub(super) fn front_door(
    field: Option<Field>,
    places: &Places<'_>,
    errors: &mut Errors,
) -> Option<FrontDoor> {
    let switched_on = match places.var(FRONT_DOOR_SWITCH) {
        None | Some("off") => false,
        Some("on") => true,
        Some(other) => {
            errors.env(
                FRONT_DOOR_SWITCH,
                format!("{other:?} is neither on nor off"),
            );
            false
        }
    };
    match field {
        None => switched_on.then(FrontDoor::default),
        Some(field) if field.is_off() => None,
        Some(field) => read(field.section(errors)?, places, errors),
    }
}

fn read(mut s: Section, places: &Places<'_>, errors: &mut Errors) -> Option<FrontDoor> {
    let mut out = FrontDoor::default();
    if let Some(listen) = s.take("listen").and_then(|f| listen_address(f, errors)) {
        out.listen = listen;
    }
    let comfyui = s.take("comfyui").and_then(|f| {
        f.parse(errors, "a URL such as http://127.0.0.1:8188", |text| {
            let url = BaseUrl::parse(text).map_err(|e| e.to_string())?;
            match url.path.as_str() {
                "" => Ok(url),
                _ => {
                    Err("holds a path, but paths are sent on as they are: leave it out".to_owned())
                }
            }
        })
    });
    if let Some(url) = comfyui {
        out.comfyui = url;
    }
    out.ca_file = places.ca_file(&mut s, errors);
    out.hosts = hosts(s.take("hosts"), errors);
    out.plain_websockets = hosts(s.take("plain_websockets"), errors);
    s.boolean(
        "connection_allowlist",
        &mut out.connection_allowlist,
        errors,
    );
    if s.take_off("upload_bytes") {
        out.upload_bytes = None;
    } else {
        let mut most = UPLOAD;
        s.size("upload_bytes", &mut most, (1 << 20, 1 << 40), errors);
        out.upload_bytes = Some(most);
    }
    out.breaker = rates::breaker(&mut s, errors);
    out.guards = guards::guards(&mut s, errors);
    for host in out
        .plain_websockets
        .iter()
        .filter(|h| !out.hosts.contains(h))
    {
        if matches!(host, Host::Name(_)) {
            s.error(
                errors,
                format!("{host} is under plain_websockets alone: name it under hosts too"),
            );
        }
    }
    s.close(errors);
    Some(out)
}

fn hosts(field: Option<Field>, errors: &mut Errors) -> Vec<Host> {
    let fields = field.and_then(|f| f.list(errors)).unwrap_or_default();
    let host = |f: Field| f.parse(errors, "a host name such as studio.lan", Host::parse);
    fields.into_iter().filter_map(host).collect()
}

/// What the front door itself lets through: ComfyUI, and its own paths.
pub(super) fn rules(door: &FrontDoor) -> Vec<Rule> {
    let (hosts, ips) = match &door.comfyui.authority.host {
        Host::Name(name) => (vec![DomainPattern::Exact(name.clone())], vec![]),
        Host::Ip(ip) => (vec![], vec![*ip]),
    };
    let comfyui = Rule {
        name: RuleName::new(format!("{}comfyui", page::OWN_RULES)),
        hosts,
        ips,
        ports: Ports::List(vec![door.comfyui.authority.port]),
        methods: vec![],
        paths: vec![],
        clients: vec![],
        entries: vec![Entry::FrontDoor],
        action: RuleAction::Forward,
        upgrade: true,
        mode: None,
        reason: Some("your own ComfyUI".into()),
        terms: Some(Arc::new(Terms {
            // Keys of the user's own go to the user's own server.
            secrets: Some(SecretMode::Off),
            encoded_bodies: true,
            ..Terms::default()
        })),
    };
    let own = Rule {
        name: RuleName::new(format!("{}own", page::OWN_RULES)),
        hosts: vec![DomainPattern::Exact(page::OWN_HOST.into())],
        ips: vec![],
        ports: Ports::List(vec![Port::HTTP]),
        methods: vec!["POST".into()],
        paths: vec![PathPattern::Exact(page::REPORT_PATH.into())],
        clients: vec![],
        entries: vec![Entry::FrontDoor],
        action: RuleAction::Respond(Responder::FrontDoor),
        upgrade: false,
        mode: None,
        reason: None,
        terms: None,
    };
    let login = Rule {
        name: RuleName::new(format!("{}login", page::OWN_RULES)),
        methods: vec!["GET".into(), "HEAD".into(), "POST".into()],
        paths: [page::login::LOGIN_PATH, page::login::LOGOUT_PATH]
            .map(|path| PathPattern::Exact(path.into()))
            .into(),
        ..own.clone()
    };
    let below = format!("{}/", page::RECEIPT_PATH);
    let receipt = Rule {
        name: RuleName::new(format!("{}receipt", page::OWN_RULES)),
        methods: vec!["GET".into(), "HEAD".into()],
        paths: vec![
            PathPattern::Exact(page::RECEIPT_PATH.into()),
            PathPattern::Exact(format!("{}.json", page::RECEIPT_PATH).into()),
            PathPattern::Below(below.into()),
        ],
        ..own.clone()
    };
    vec![comfyui, own, login, receipt]
}
