//! The sections of the file, each over its defaults. `compile` calls them and joins the results.

use std::{collections::BTreeMap, fs, net::SocketAddr, time::Duration};

use crate::net::{BaseUrl, Host};

use super::{
    AuditConfig, EncryptedClientHello, Limits, Listeners, LlmConfig, LlmErrors, NamedUpstream,
    OnEscape, Reverse, ReverseRoute, Secret, SelftestConfig,
    error::Errors,
    places::Places,
    providers,
    rates::rates,
    reach,
    reader::{Field, Section},
    value::{listen_address, parse_duration},
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn base_url(field: Field, errors: &mut Errors) -> Option<BaseUrl> {
    field.parse(
        errors,
        "a base URL such as http://127.0.0.1:8000/v1",
        BaseUrl::parse,
    )
}

pub(super) fn listeners(field: Field, places: &Places<'_>, errors: &mut Errors) -> Listeners {
    let mut out = Listeners::default();
    let Some(mut s) = field.section(errors) else {
        return out;
    };
    let address = |f: Option<Field>, target: &mut Option<SocketAddr>, errors: &mut Errors| match f {
        None => {}
        Some(f) if f.is_off() => *target = None,
        Some(f) => *target = listen_address(f, errors),
    };
    address(s.take("explicit"), &mut out.explicit, errors);
    match s.take("reverse") {
        None => {}
        Some(f) if f.is_off() => out.reverse = None,
        Some(f) => out.reverse = reverse(f, places, errors),
    }
    address(s.take("transparent_tls"), &mut out.transparent_tls, errors);
    address(
        s.take("transparent_http"),
        &mut out.transparent_http,
        errors,
    );
    address(s.take("admin"), &mut out.admin, errors);
    if let Some(field) = s.take("trusted_networks") {
        out.trusted = reach::read(field, errors);
    }
    s.close(errors);
    out
}

fn reverse(field: Field, places: &Places<'_>, errors: &mut Errors) -> Option<Reverse> {
    let mut out = Reverse::default();
    let mut s = field.section(errors)?;
    if let Some(listen) = s.take("listen").and_then(|f| listen_address(f, errors)) {
        out.listen = listen;
    }
    let host = s
        .take("host")
        .and_then(|f| f.parse(errors, "a host name", Host::parse));
    if let Some(host) = host {
        out.host = host;
    }
    for field in s
        .take("routes")
        .and_then(|f| f.list(errors))
        .unwrap_or_default()
    {
        let (path, line) = (field.path.clone(), field.line);
        let Some(route) = reverse_route(field, places, errors) else {
            continue;
        };
        if out
            .routes
            .iter()
            .any(|r| r.path_prefix == route.path_prefix)
        {
            let message = "another route has this prefix: keep one";
            errors.add(&format!("{path}.path_prefix"), Some(line), message);
        }
        out.routes.push(route);
    }
    out.routes
        .sort_by_key(|r| std::cmp::Reverse(r.path_prefix.len()));
    s.close(errors);
    Some(out)
}

fn reverse_route(field: Field, places: &Places<'_>, errors: &mut Errors) -> Option<ReverseRoute> {
    let mut s = field.section(errors)?;
    let path_prefix = s.require("path_prefix", "/comfy", errors).and_then(|f| {
        f.parse(errors, "a path such as /comfy", |text| {
            let canonical = crate::policy::path::canonical(text).map_err(|e| e.to_string())?;
            let folder = text != "/" && text.ends_with('/');
            if text.is_empty() || text.contains('*') || folder || canonical != text {
                return Err(
                    "is no prefix: write / or a path such as /comfy, without '/*'".to_owned(),
                );
            }
            Ok(text.to_owned())
        })
    });
    let upstream = s
        .require("upstream", "http://127.0.0.1:8188", errors)
        .and_then(|f| {
            f.parse(errors, "a URL such as http://127.0.0.1:8188", |text| {
                let url = BaseUrl::parse(text).map_err(|e| e.to_string())?;
                match url.path.as_str() {
                    "" => Ok(url),
                    _ => Err(
                        "holds a path, but paths are sent on as they are: leave it out".to_owned(),
                    ),
                }
            })
        });
    let host = s.take("host").and_then(|f| {
        f.parse(errors, "a Host header such as 127.0.0.1:8188", |text| {
            crate::net::Authority::parse(text, Some(crate::net::Port::HTTP))
                .map(|_| text.to_ascii_lowercase())
        })
    });
    let upgrade = s
        .take("upgrade")
        .and_then(|f| f.boolean(errors))
        .unwrap_or_default();
    let ca_file = places.ca_file(&mut s, errors);
    s.close(errors);
    Some(ReverseRoute {
        path_prefix: path_prefix?,
        upstream: upstream?,
        host,
        upgrade,
        ca_file,
    })
}

pub(super) fn llm(field: Field, places: &Places<'_>, errors: &mut Errors) -> LlmConfig {
    let mut out = LlmConfig::default();
    let Some(mut s) = field.section(errors) else {
        return out;
    };
    out.base_url = s.take("base_url").and_then(|f| base_url(f, errors));
    out.api_key = api_key(&mut s, places, errors);
    out.model = s
        .take("model")
        .and_then(|f| f.parse(errors, "a model name", model_name));
    out.ca_file = places.ca_file(&mut s, errors);
    if let Some(field) = s.take("aliases") {
        out.aliases = field
            .named(errors)
            .into_iter()
            .filter_map(|(asked, f)| Some((asked, f.parse(errors, "a model name", model_name)?)))
            .collect::<BTreeMap<_, _>>();
    }
    s.boolean("catch_all", &mut out.catch_all, errors);
    s.boolean("discover", &mut out.discover, errors);
    if let Some(field) = s.take("discover_ports") {
        out.discover_ports = field.some_list(errors, base_url);
    }
    s.duration(
        "connect_timeout",
        &mut out.connect_timeout,
        (50 * MS, 60 * SECOND),
        errors,
    );
    s.duration(
        "first_byte_timeout",
        &mut out.first_byte_timeout,
        (SECOND, HOUR),
        errors,
    );
    s.duration(
        "idle_timeout",
        &mut out.idle_timeout,
        (SECOND, HOUR),
        errors,
    );
    s.duration(
        "models_timeout",
        &mut out.models_timeout,
        (50 * MS, 30 * SECOND),
        errors,
    );
    s.boolean("strip_think", &mut out.strip_think, errors);
    let error_form = s.take("errors").and_then(|f| {
        f.parse(errors, "auto, http or chat", |text| match text {
            "auto" => Ok(LlmErrors::Auto),
            "http" => Ok(LlmErrors::Http),
            "chat" => Ok(LlmErrors::Chat),
            other => Err(format!(
                "{other:?} is no form of error: write auto, http or chat"
            )),
        })
    });
    out.errors = error_form.unwrap_or_default();
    if let Some(field) = s.take("providers") {
        out.providers = providers::providers(field, errors);
    }
    s.close(errors);
    out
}

pub(super) fn model_name(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.len() > 256 || text.chars().any(char::is_control) {
        return Err("is no model name: write one line of at most 256 bytes");
    }
    Ok(text.to_owned())
}

/// At most one of the value itself, the name of a variable, or the name of a file.
fn api_key(s: &mut Section, places: &Places<'_>, errors: &mut Errors) -> Option<Secret<String>> {
    let direct = s.take("api_key");
    let variable = s.take("api_key_env");
    let file = s.take("api_key_file");
    if [&direct, &variable, &file].into_iter().flatten().count() > 1 {
        s.error(
            errors,
            "names the key twice: keep one of api_key, api_key_env, api_key_file",
        );
        return None;
    }
    if let Some(field) = direct {
        return field.parse(errors, "a key", key);
    }
    if let Some(field) = variable {
        return field.parse(errors, "the name of a variable", |name| {
            let value = places.var(name).ok_or_else(|| {
                format!("variable {name} is not set: set it, or leave api_key_env out")
            })?;
            key(value).map_err(str::to_owned)
        });
    }
    file?.parse(errors, "a file name", |name| {
        let path = places.resolve(name);
        let text = fs::read_to_string(&path)
            .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        key(text.trim_end_matches(['\r', '\n'])).map_err(str::to_owned)
    })
}

/// The message must not show it.
pub(super) fn key(text: &str) -> Result<Secret<String>, &'static str> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("is no key: write one line without spaces");
    }
    Ok(Secret::new(text.to_owned()))
}

pub(super) fn audit(field: Field, places: &Places<'_>, errors: &mut Errors) -> AuditConfig {
    let mut out = AuditConfig::default();
    let Some(mut s) = field.section(errors) else {
        return out;
    };
    s.boolean("enabled", &mut out.enabled, errors);
    out.path = s.take("path").and_then(|f| places.path(f, errors));
    s.size(
        "max_bytes",
        &mut out.max_bytes,
        (64 << 10, 16 << 30),
        errors,
    );
    count(&mut s, "keep", &mut out.keep, (1, 1000), errors);
    s.close(errors);
    out
}

pub(super) fn limits(field: Field, errors: &mut Errors) -> Limits {
    let mut out = Limits::default();
    let Some(mut s) = field.section(errors) else {
        return out;
    };
    s.size(
        "head_bytes",
        &mut out.head_bytes,
        (4 << 10, 1 << 20),
        errors,
    );
    s.duration(
        "head_timeout",
        &mut out.head_timeout,
        (100 * MS, 300 * SECOND),
        errors,
    );
    s.size(
        "body_bytes",
        &mut out.body_bytes,
        (64 << 10, 1 << 30),
        errors,
    );
    s.size(
        "held_bytes",
        &mut out.held_bytes,
        (1 << 20, 64 << 30),
        errors,
    );
    count(
        &mut s,
        "connections",
        &mut out.connections,
        (1, 1_000_000),
        errors,
    );
    count(
        &mut s,
        "leaf_cache",
        &mut out.leaf_cache,
        (1, 100_000),
        errors,
    );
    count(
        &mut s,
        "mcp_sessions",
        &mut out.mcp_sessions,
        (1, 100_000),
        errors,
    );
    let hello = &mut out.client_hello_timeout;
    s.duration(
        "client_hello_timeout",
        hello,
        (100 * MS, 60 * SECOND),
        errors,
    );
    s.duration(
        "connect_timeout",
        &mut out.connect_timeout,
        (50 * MS, 60 * SECOND),
        errors,
    );
    s.duration(
        "upstream_timeout",
        &mut out.upstream_timeout,
        (100 * MS, HOUR),
        errors,
    );
    s.duration(
        "drain_timeout",
        &mut out.drain_timeout,
        (Duration::ZERO, HOUR),
        errors,
    );
    s.duration(
        "idle_timeout",
        &mut out.idle_timeout,
        (SECOND, HOUR),
        errors,
    );
    if let Some(field) = s.take("rates") {
        out.rates = rates(field, errors);
    }
    s.close(errors);
    out
}

pub(super) fn selftest(field: Field, errors: &mut Errors) -> SelftestConfig {
    let mut out = SelftestConfig::default();
    let Some(mut s) = field.section(errors) else {
        return out;
    };
    s.boolean("at_start", &mut out.at_start, errors);
    if let Some(field) = s.take("every").filter(|f| !f.is_off()) {
        out.every = field.parse(errors, "a duration such as 1h, or off", |text| {
            let every = parse_duration(text).filter(|d| (60 * SECOND..=24 * HOUR).contains(d));
            every.ok_or("is no duration from 1m to 24h: write one, such as 1h, or off")
        });
    }
    if let Some(field) = s.take("on_escape") {
        let wish = field.parse(errors, "report or lockdown", |text| match text {
            "report" => Ok(OnEscape::Report),
            "lockdown" => Ok(OnEscape::Lockdown),
            other => Err(format!("{other:?} is not known: write report or lockdown")),
        });
        out.on_escape = wish.unwrap_or_default();
    }
    s.close(errors);
    out
}

pub(super) fn count(
    s: &mut Section,
    key: &'static str,
    target: &mut usize,
    range: (u64, u64),
    errors: &mut Errors,
) {
    let mut wide = *target as u64;
    s.integer(key, &mut wide, range, errors);
    // The ranges above fit every usize.
    *target = usize::try_from(wide).unwrap_or(*target);
}

pub(super) fn tls(field: Field, errors: &mut Errors) -> EncryptedClientHello {
    let Some(mut s) = field.section(errors) else {
        return EncryptedClientHello::default();
    };
    let found = s.take("encrypted_client_hello").and_then(|f| {
        f.parse(errors, "refuse or allow_grease", |text| match text {
            "refuse" => Ok(EncryptedClientHello::Refuse),
            "allow_grease" => Ok(EncryptedClientHello::AllowGrease),
            other => Err(format!(
                "{other:?} is not known: write refuse or allow_grease"
            )),
        })
    });
    s.close(errors);
    found.unwrap_or_default()
}

pub(super) fn upstreams(
    field: Field,
    places: &Places<'_>,
    errors: &mut Errors,
) -> Vec<NamedUpstream> {
    let mut out: Vec<NamedUpstream> = Vec::new();
    for field in field.list(errors).unwrap_or_default() {
        let Some(mut s) = field.section(errors) else {
            continue;
        };
        let name = s
            .require("name", "comfyui", errors)
            .and_then(|f| f.text(errors));
        let url = s.require("url", "http://192.168.1.9:8188", errors);
        let url = url.and_then(|f| base_url(f, errors));
        let ca_file = places.ca_file(&mut s, errors);
        if out.iter().any(|u| Some(&u.name) == name.as_ref()) {
            s.error(errors, "another upstream has this name: give each its own");
        }
        s.close(errors);
        out.extend(
            name.zip(url)
                .map(|(name, url)| NamedUpstream { name, url, ca_file }),
        );
    }
    out
}
