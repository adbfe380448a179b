//! Which sockets an isolated program may make at all, kept by the kernel (seccomp).
//!
//! A network namespace holds what is sent by IP, netlink and frames. Other families know none: vsock
//! leads to the hypervisor, Bluetooth, NFC and a modem's QIPCRTR to the air. [`keep_to_the_namespace`]
//! refuses all but those that are known to end inside of it, and io_uring, by which a socket is made
//! without a system call that a filter sees.
//!
//! Called by [`super::inside`], on the thread that starts the program: what is started from there
//! inherits the filters, and nothing takes them off. The helper's other threads go without.

use std::{collections::BTreeMap, env::consts::ARCH};

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// AF_UNIX is covered by [`super::cover`]; the others belong to the network namespace. For AF_PACKET
/// the program lacks the capability, which the kernel says by itself.
const FAMILIES: [libc::c_int; 5] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
    libc::AF_PACKET,
];
/// Marks the system calls of x86-64's second ABI (x32), whose numbers the first one shares. Nowhere
/// else is there such a number.
const X32: i64 = 0x4000_0000;

/// From here on, for this thread and what it starts. Sets `no_new_privs` too.
pub fn keep_to_the_namespace() -> Result<(), Error> {
    let arch = TargetArch::try_from(ARCH)?;
    seccompiler::apply_filter(&families(arch)?)?;
    seccompiler::apply_filter(&io_uring(arch)?)
}

/// `socket` and `socketpair` of another family fail as on a kernel that does not have it.
fn families(arch: TargetArch) -> Result<BpfProgram, Error> {
    let none_of_them = FAMILIES
        .into_iter()
        .map(|family| {
            // A c_int: the upper half of the register is not looked at by the kernel either.
            let family = u64::from(family.unsigned_abs());
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let rule = SeccompRule::new(none_of_them)?;
    let calls = [libc::SYS_socket, libc::SYS_socketpair];
    filter(&calls, &[rule], libc::EAFNOSUPPORT, arch)
}

/// Programs go on without it: older kernels and containers have none.
fn io_uring(arch: TargetArch) -> Result<BpfProgram, Error> {
    let calls = [
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
    ];
    filter(&calls, &[], libc::ENOSYS, arch)
}

/// These calls fail with `errno` where a rule matches, or always without one. A call by another
/// architecture's numbers (a 32-bit program) ends the process: its numbers mean other calls.
fn filter(
    calls: &[i64],
    rules: &[SeccompRule],
    errno: libc::c_int,
    arch: TargetArch,
) -> Result<BpfProgram, Error> {
    let rules: BTreeMap<i64, Vec<SeccompRule>> = calls
        .iter()
        .flat_map(|call| [*call, *call | X32])
        .map(|call| (call, rules.to_vec()))
        .collect();
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?;
    Ok(filter.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a 32-bit word of a filter's instruction compares with or returns.
    fn constants(program: &BpfProgram) -> Vec<u32> {
        program.iter().map(|instruction| instruction.k).collect()
    }

    #[test]
    fn each_shipped_architecture_has_its_filters() {
        for arch in [TargetArch::x86_64, TargetArch::aarch64] {
            let families = constants(&families(arch).unwrap());
            for family in FAMILIES {
                assert!(families.contains(&family.unsigned_abs()), "{family}");
            }
            let call = u32::try_from(libc::SYS_socket).unwrap();
            assert!(families.contains(&call) && families.contains(&(call | 0x4000_0000)));
            assert!(!io_uring(arch).unwrap().is_empty());
        }
        assert!(TargetArch::try_from(ARCH).is_ok(), "{ARCH} is not covered");
    }

    /// On a thread of its own, which keeps the filter until it ends.
    #[test]
    fn families_that_leave_the_namespace_are_refused_and_the_others_are_not() {
        use socket2::{Domain, Socket, Type};
        let tried = std::thread::spawn(|| {
            keep_to_the_namespace().unwrap();
            let make = |family| {
                let made = Socket::new(Domain::from(family), Type::STREAM, None);
                made.map(drop).map_err(|e| e.raw_os_error())
            };
            let refused: Vec<libc::c_int> = (0..64)
                .filter(|family| make(*family) == Err(Some(libc::EAFNOSUPPORT)))
                .collect();
            let needed = [libc::AF_UNIX, libc::AF_INET].map(make);
            (refused, needed)
        });
        let (refused, needed) = tried.join().unwrap();
        assert_eq!(needed, [Ok(()), Ok(())]);
        for family in (0..64).filter(|family| !FAMILIES.contains(family)) {
            assert!(refused.contains(&family), "family {family} can be had");
        }
    }
}
