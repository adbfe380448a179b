//! Classes of IP addresses: what may be dialled at all.

use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    Public,
    Loopback,
}

pub fn classify(ip: IpAddr) -> AddressClass {
    if ip.is_loopback() {
        AddressClass::Loopback
    } else {
        AddressClass::Public
    }
}
