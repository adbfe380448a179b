//! The kill switch where sockets are: nothing is looked up, dialled or written past a shut gate.
//!
//! One per process, made by the dialer. The pipeline reads it for its decisions as well; here it
//! stands below everything, pooled connections included.

use std::{
    io,
    net::IpAddr,
    sync::atomic::{AtomicU8, Ordering},
};

use crate::{net::Host, policy::Lockdown};

#[derive(Debug, Default)]
pub struct Gate(AtomicU8);

impl Gate {
    pub fn level(&self) -> Lockdown {
        // The byte is only ever written by `set`; any other would mean the tightest.
        match self.0.load(Ordering::SeqCst) {
            0 => Lockdown::Off,
            1 => Lockdown::Egress,
            _ => Lockdown::All,
        }
    }

    pub fn set(&self, level: Lockdown) {
        let byte = match level {
            Lockdown::Off => 0,
            Lockdown::Egress => 1,
            Lockdown::All => 2,
        };
        self.0.store(byte, Ordering::SeqCst);
    }

    /// Whether this host may be dialled, and looked up first: under a lockdown only what is on this
    /// machine without asking a name server.
    pub fn open_for(&self, host: &Host) -> bool {
        match (self.level(), host) {
            (Lockdown::Off, _) => true,
            (Lockdown::Egress, Host::Ip(ip)) => ip.to_canonical().is_loopback(),
            (Lockdown::Egress, Host::Name(name)) => {
                &**name == "localhost" || name.ends_with(".localhost")
            }
            (Lockdown::All, _) => false,
        }
    }

    /// Whether an address may be dialled, or a connection to it go on.
    pub fn open_to(&self, ip: IpAddr) -> bool {
        match self.level() {
            Lockdown::Off => true,
            Lockdown::Egress => ip.to_canonical().is_loopback(),
            Lockdown::All => false,
        }
    }

    /// The error of a connection that the gate has fallen on.
    pub fn error() -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionAborted, "airlock is locked down")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shut_gate_leaves_loopback_open_and_asks_no_name_server() {
        let gate = Gate::default();
        for (level, host, open) in [
            (Lockdown::Off, "example.org", true),
            (Lockdown::Off, "192.0.2.1", true),
            (Lockdown::Egress, "example.org", false),
            (Lockdown::Egress, "sparkle", false),
            (Lockdown::Egress, "192.168.1.9", false),
            (Lockdown::Egress, "localhost", true),
            (Lockdown::Egress, "notlocalhost", false),
            (Lockdown::Egress, "127.0.0.1", true),
            (Lockdown::Egress, "[::1]", true),
            (Lockdown::All, "127.0.0.1", false),
            (Lockdown::All, "localhost", false),
        ] {
            gate.set(level);
            assert_eq!(gate.level(), level);
            let host = Host::parse(host).unwrap();
            assert_eq!(gate.open_for(&host), open, "{level} and {host}");
            if let Host::Ip(ip) = host {
                assert_eq!(gate.open_to(ip), open, "{level} and {ip}");
            }
        }
    }
}
