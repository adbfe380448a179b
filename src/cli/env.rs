//! `airlock env`: the variables that lead a program here.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use clap::ValueEnum;

use super::settings::{ConfigArg, environment};
use crate::{config::Config, tls::ca::CaPaths};

/// What to say where no proxy listens.
pub const EXPLICIT_IS_OFF: &str =
    "listeners.explicit is off; give it an address, for example 127.0.0.1:3128";

/// Print the environment variables that point a program at this proxy
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  eval \"$(airlock env)\" && python main.py\n  airlock env --format dotenv > .env\n  airlock env --json"
)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArg,
    #[arg(long, value_enum, default_value_t = Format::Sh)]
    format: Format,
    /// Same as --format json
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Sh,
    Fish,
    Powershell,
    Dotenv,
    Json,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = args.config.load(&environment())?;
    let variables = variables(&config)?;
    let format = if args.json { Format::Json } else { args.format };
    match format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&variables)?),
        Format::Sh => each(&variables, |k, v| {
            format!("export {k}='{}'", v.replace('\'', r"'\''"))
        }),
        Format::Fish => each(&variables, |k, v| {
            format!("set -gx {k} '{}'", v.replace('\'', r"\'"))
        }),
        Format::Powershell => each(&variables, |k, v| {
            format!("$env:{k} = '{}'", v.replace('\'', "''"))
        }),
        Format::Dotenv => each(&variables, |k, v| format!("{k}={v}")),
    }
    Ok(ExitCode::SUCCESS)
}

fn each(variables: &BTreeMap<&str, String>, line: impl Fn(&str, &str) -> String) {
    for (name, value) in variables {
        println!("{}", line(name, value));
    }
}

/// Everything a child needs (WIRE.md 0.1): both spellings of the proxy variables, because curl
/// reads only the lower-case `http_proxy`; both CA variables, because httpx reads one and requests
/// the other; loopback left alone, or a local LLM would be asked through the proxy.
pub fn variables(config: &Config) -> anyhow::Result<BTreeMap<&'static str, String>> {
    let explicit = config
        .listeners
        .explicit
        .ok_or_else(|| anyhow::anyhow!(EXPLICIT_IS_OFF))?;
    let bundle = CaPaths::below(&config.state_dir).bundle();
    Ok(variables_for(
        &dialled(explicit).to_string(),
        &bundle.display().to_string(),
    ))
}

pub fn variables_for(proxy: &str, bundle: &str) -> BTreeMap<&'static str, String> {
    let mut out = BTreeMap::new();
    let proxy = format!("http://{proxy}");
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ] {
        out.insert(name, proxy.clone());
    }
    for name in ["NO_PROXY", "no_proxy"] {
        out.insert(name, "127.0.0.1,localhost,::1".to_owned());
    }
    for name in [
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "AWS_CA_BUNDLE",
        "GIT_SSL_CAINFO",
        "PIP_CERT",
    ] {
        out.insert(name, bundle.to_owned());
    }
    out
}

/// An address a client can use: a listener on every interface is reached by loopback.
pub fn dialled(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listening_address_becomes_one_that_can_be_dialled() {
        for (listen, expected) in [
            ("127.0.0.1:3128", "127.0.0.1:3128"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
        ] {
            let dialled = dialled(listen.parse().unwrap());
            assert_eq!(dialled.to_string(), expected);
        }
    }
}
