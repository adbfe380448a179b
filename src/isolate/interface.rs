//! Brings the namespace's `lo` up: one netlink message, so that no `ip` program is needed.

use std::io::{self, Read};

use socket2::{Domain, Protocol, Socket, Type};

const AF_NETLINK: i32 = 16;
const NETLINK_ROUTE: i32 = 0;
const RTM_NEWLINK: u16 = 16;
const NLMSG_ERROR: u16 = 2;
/// NLM_F_REQUEST and NLM_F_ACK.
const REQUEST_AND_ACKNOWLEDGE: u16 = 1 | 4;
/// `lo` is the first interface of every namespace.
const LO: i32 = 1;
const IFF_UP: u32 = 1;

/// `ip link set lo up`, for the namespace of this process. Needs CAP_NET_ADMIN in it.
pub fn bring_up_loopback() -> io::Result<()> {
    let mut socket = Socket::new(
        Domain::from(AF_NETLINK),
        Type::RAW,
        Some(Protocol::from(NETLINK_ROUTE)),
    )?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    socket.send(&up_message())?;
    let mut answer = [0; 1024];
    let length = socket.read(&mut answer)?;
    acknowledged(answer.get(..length).unwrap_or_default())
}

/// rtnetlink(7): a netlink header and an `ifinfomsg`, in the machine's byte order.
fn up_message() -> Vec<u8> {
    let mut message = Vec::with_capacity(32);
    message.extend(32_u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(REQUEST_AND_ACKNOWLEDGE.to_ne_bytes());
    // Sequence number; port 0 lets the kernel fill in ours.
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    // Any family, padding, any type.
    message.extend([0; 4]);
    message.extend(LO.to_ne_bytes());
    // The flags, and which of them to change.
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message
}

/// An acknowledgement is an error message with the code 0; others carry `-errno`.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let short = || io::Error::new(io::ErrorKind::InvalidData, "netlink: short answer");
    let kind = answer.get(4..6).and_then(|b| b.try_into().ok());
    let code = answer.get(16..20).and_then(|b| b.try_into().ok());
    let (kind, code) = kind.zip(code).ok_or_else(short)?;
    match (u16::from_ne_bytes(kind), i32::from_ne_bytes(code)) {
        (NLMSG_ERROR, 0) => Ok(()),
        (NLMSG_ERROR, code) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        (kind, _) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("netlink: message {kind} in place of an acknowledgement"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_as_long_as_it_says() {
        let message = up_message();
        assert_eq!(message.len(), 32);
        assert_eq!(message[..4], 32_u32.to_ne_bytes());
    }

    #[test]
    fn the_kernels_answer_is_read() {
        let answer = |kind: u16, code: i32| {
            let mut bytes = vec![0; 4];
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(code.to_ne_bytes());
            bytes
        };
        assert!(acknowledged(&answer(NLMSG_ERROR, 0)).is_ok());
        let refused = acknowledged(&answer(NLMSG_ERROR, -1)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        assert!(acknowledged(&answer(3, 0)).is_err());
        assert!(acknowledged(b"").is_err());
    }
}
