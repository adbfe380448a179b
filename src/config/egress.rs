//! The `egress` section: the proxy that a site makes everything go through. Called by `compile`.

use std::fs;

use ipnet::IpNet;

use super::{
    EgressConfig, Exemption, Listeners, Secret, SiteProxy,
    compile::collide,
    error::Errors,
    places::Places,
    reader::{Field, Section},
};
use crate::net::{DomainPattern, Host, Scheme};

pub(super) fn egress(field: Field, places: &Places<'_>, errors: &mut Errors) -> EgressConfig {
    let mut out = EgressConfig::default();
    let Some(mut s) = field.section(errors) else {
        return out;
    };
    let url = s.take("upstream_proxy").filter(|f| !f.is_off());
    let wanted = url.is_some();
    let authority = url.and_then(|f| {
        f.parse(
            errors,
            "a URL such as http://proxy.example.com:3128",
            proxy_url,
        )
    });
    let credentials = credentials(&mut s, places, errors);
    if let Some(field) = s.take("no_proxy") {
        let items = field.list(errors).unwrap_or_default();
        let words = "a host, *.domain, address or network";
        out.no_proxy = items
            .into_iter()
            .filter_map(|f| f.parse(errors, words, exemption))
            .collect();
    }
    s.boolean("llm_through_proxy", &mut out.llm_through_proxy, errors);
    if !wanted && (credentials.is_some() || out.llm_through_proxy) {
        s.error(
            errors,
            "says how to use a proxy and names none: write upstream_proxy: http://proxy.example.com:3128",
        );
    }
    s.close(errors);
    out.upstream_proxy = authority.map(|authority| SiteProxy {
        authority,
        credentials,
    });
    out
}

fn proxy_url(text: &str) -> Result<crate::net::Authority, String> {
    let url = crate::net::BaseUrl::parse(text).map_err(|e| e.to_string())?;
    if url.scheme == Scheme::Https {
        return Err("wants TLS to the proxy itself, which is not spoken: write http://".into());
    }
    if !url.path.is_empty() {
        return Err("holds a path, and a proxy has none: leave it out".into());
    }
    Ok(url.authority)
}

/// `user:password`, from a variable or a file. The messages must not show it.
fn credentials(
    s: &mut Section,
    places: &Places<'_>,
    errors: &mut Errors,
) -> Option<Secret<String>> {
    let variable = s.take("credentials_env");
    let file = s.take("credentials_file");
    if variable.is_some() && file.is_some() {
        s.error(
            errors,
            "names the credentials twice: keep one of credentials_env, credentials_file",
        );
        return None;
    }
    if let Some(field) = variable {
        return field.parse(errors, "the name of a variable", |name| {
            let value = places.var(name).ok_or_else(|| {
                format!("variable {name} is not set: set it, or leave credentials_env out")
            })?;
            user_and_password(value).map_err(str::to_owned)
        });
    }
    file?.parse(errors, "a file name", |name| {
        let path = places.resolve(name);
        let text = fs::read_to_string(&path)
            .map_err(|e| format!("cannot read {}: {e}", path.display()))?;
        user_and_password(text.trim_end_matches(['\r', '\n'])).map_err(str::to_owned)
    })
}

fn user_and_password(text: &str) -> Result<Secret<String>, &'static str> {
    let named = text
        .split_once(':')
        .is_some_and(|(user, _)| !user.is_empty());
    if !named || text.len() > 1024 || text.chars().any(char::is_control) {
        return Err("holds no credentials: write one line, user:password");
    }
    Ok(Secret::new(text.to_owned()))
}

fn exemption(text: &str) -> Result<Exemption, String> {
    if let Ok(net) = text.parse::<IpNet>() {
        return Ok(Exemption::Net(net));
    }
    if let Ok(Host::Ip(ip)) = Host::parse(text) {
        return Ok(Exemption::Net(ip.into()));
    }
    DomainPattern::parse(text)
        .map(Exemption::Name)
        .map_err(|e| e.to_string())
}

/// A proxy that is one of our own listeners would ask itself for ever.
pub(super) fn check(egress: &EgressConfig, listeners: &Listeners, errors: &mut Errors) {
    let Some(proxy) = &egress.upstream_proxy else {
        return;
    };
    let address = match &proxy.authority.host {
        Host::Ip(ip) => *ip,
        Host::Name(name) if &**name == "localhost" => std::net::Ipv4Addr::LOCALHOST.into(),
        Host::Name(_) => return,
    };
    let address = std::net::SocketAddr::new(address, proxy.authority.port.number());
    for (name, own) in listeners.addresses() {
        if collide(own, address) {
            let message = format!("is airlock itself ({name}): name the site's own proxy");
            errors.add("egress.upstream_proxy", None, message);
        }
    }
}

/// What a start says about it.
pub(super) fn note(egress: &EgressConfig) -> Option<String> {
    let proxy = egress.upstream_proxy.as_ref()?;
    Some(format!(
        "names are looked up by the upstream proxy {}: their addresses are not checked here",
        proxy.authority
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exemption_covers_what_it_names() {
        for (text, host, covered) in [
            ("a.test", "a.test", true),
            ("a.test", "b.a.test", false),
            ("*.a.test", "b.a.test", true),
            ("*.a.test", "a.test", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.0/24", "192.0.2.9", true),
            ("192.0.2.0/24", "[::ffff:192.0.2.9]", true),
            ("192.0.2.0/24", "192.0.3.9", false),
            ("192.0.2.0/24", "a.test", false),
            ("[2001:db8::1]", "[2001:db8::1]", true),
        ] {
            let exemption = exemption(text).unwrap();
            let host = Host::parse(host).unwrap();
            assert_eq!(exemption.covers(&host), covered, "{text} and {host}");
        }
    }
}
