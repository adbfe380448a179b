//! Why something was refused and what to do if it was wanted, for a person: one table, every reason.
//!
//! docs/DENIALS.md says the same to who runs the program. What is to be written into the
//! configuration comes from `policy::explain`, which knows the host.

use crate::policy::Reason;

/// In plain words: why, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    pub why: &'static str,
    pub way_out: &'static str,
    /// A rule of the person's own could allow it: then that rule is shown.
    pub a_rule_helps: bool,
}

const fn rule(why: &'static str, way_out: &'static str) -> Words {
    Words {
        why,
        way_out,
        a_rule_helps: true,
    }
}

const fn no_rule(why: &'static str, way_out: &'static str) -> Words {
    Words {
        why,
        way_out,
        a_rule_helps: false,
    }
}

const ITS_PROGRAM: &str = "Nothing you can set: the program that sent it has to be repaired.";
const AGAIN: &str = "Try again; if it stays, ask who runs that server.";
const REPORT_IT: &str = "This is a fault of Airlock's own. Please report it.";

pub fn words(reason: Reason) -> Words {
    match reason {
        Reason::RuleAllows => no_rule("A rule allows it.", "Nothing to do."),
        Reason::RuleDenies => no_rule(
            "A rule of yours forbids it.",
            "Remove or narrow that rule, if you want it after all.",
        ),
        Reason::NoRuleMatched => rule(
            "Nobody allowed this host, and what is not allowed is refused.",
            "If you want it, allow it by this rule:",
        ),
        Reason::HostKnownRequestNot => rule(
            "The host is allowed, but not for this.",
            "If you want it, allow it by this rule:",
        ),
        Reason::BadAuthority => no_rule("The address it asked for is not valid.", ITS_PROGRAM),
        Reason::AuthorityMismatch => no_rule(
            "It named two different hosts at once, which is how firewalls are tricked.",
            ITS_PROGRAM,
        ),
        Reason::MalformedRequest => no_rule("It was not well-formed.", ITS_PROGRAM),
        Reason::AmbiguousFraming => no_rule(
            "It could be read in two ways, which is how firewalls are tricked.",
            ITS_PROGRAM,
        ),
        Reason::HostNotAllowed => no_rule(
            "ComfyUI was called by a name that is not its own, as a hostile web page does.",
            "Open ComfyUI by its address or as localhost; a name of yours goes under front_door.hosts.",
        ),
        Reason::OriginNotAllowed => no_rule(
            "Another web page in your browser tried to use your ComfyUI.",
            "Open ComfyUI by Airlock's own address.",
        ),
        Reason::PlainWebsocket => no_rule(
            "The connection would not have been encrypted on its way through the network.",
            "Put TLS in front, or name the host under front_door.plain_websockets.",
        ),
        Reason::HeadTooLarge => no_rule("Its headers were too large.", ITS_PROGRAM),
        Reason::HeadTimeout => no_rule("It came too slowly.", AGAIN),
        Reason::BodyTooLarge => no_rule(
            "It was too large for what it was meant for.",
            "Send less: a smaller picture, a shorter history.",
        ),
        Reason::BodyTimeout => no_rule("It came too slowly.", AGAIN),
        Reason::WrongEntry => no_rule(
            "It came to the wrong port of Airlock.",
            "3128 is the proxy, 8787 the base address, 8189 the page.",
        ),
        Reason::NotTls => no_rule(
            "It was meant to be an encrypted connection and was none.",
            ITS_PROGRAM,
        ),
        Reason::SniMissing => no_rule(
            "The encrypted connection did not say whom it wants.",
            ITS_PROGRAM,
        ),
        Reason::SniMismatch => no_rule(
            "The encrypted connection wanted somebody else than it said.",
            ITS_PROGRAM,
        ),
        Reason::EchRefused => no_rule(
            "The encrypted connection may hide whom it really wants.",
            "Turn Encrypted ClientHello off in the program that sent it.",
        ),
        Reason::ClientHelloInvalid => no_rule(
            "The encrypted connection did not begin as it should.",
            ITS_PROGRAM,
        ),
        Reason::ClientHelloTimeout => no_rule("The encrypted connection began too slowly.", AGAIN),
        Reason::TlsHandshakeFailed => no_rule(
            "The program does not trust Airlock's certificate.",
            "Start ComfyUI with `airlock exec`, or set SSL_CERT_FILE (`airlock env`).",
        ),
        Reason::AddressClosed => rule(
            "It leads to an address in your own network or to this machine.",
            "If it is your own server:",
        ),
        Reason::OwnListener => no_rule(
            "It leads back to Airlock itself.",
            "Put Airlock's address into NO_PROXY.",
        ),
        Reason::ResolveFailed => no_rule("The name leads nowhere.", "Check the name."),
        Reason::ResolveTimeout => no_rule("The name server did not answer.", AGAIN),
        Reason::ConnectFailed => no_rule("The server is not there.", AGAIN),
        Reason::ConnectTimeout => no_rule("The server did not answer.", AGAIN),
        Reason::UpstreamTlsFailed => no_rule(
            "The server's certificate cannot be trusted.",
            "For a server of your own with a private certificate, name its ca_file.",
        ),
        Reason::UpstreamProxyRefused => no_rule(
            "Your network's own proxy refused it.",
            "Ask who runs that proxy.",
        ),
        Reason::UpstreamFailed => no_rule("The server broke off.", AGAIN),
        Reason::UpstreamTimeout => no_rule("The server fell silent.", AGAIN),
        Reason::UpgradeNotAllowed => rule(
            "It asked for a connection that stays open, and no rule allows one there.",
            "If you want it, allow it by this rule:",
        ),
        Reason::PolicyChanged => no_rule(
            "The rules were changed while it was open.",
            "Ask again under the new rules.",
        ),
        Reason::LockedDown => no_rule(
            "The kill switch is on.",
            "`airlock lockdown off`, if you are sure.",
        ),
        Reason::AllowExpired => no_rule(
            "The rule that allowed it has ended.",
            "Give the rule a later `until`.",
        ),
        Reason::ReadOnly => no_rule(
            "The rule lets things be fetched, and this would have sent something.",
            "If you want it, write a rule for it above that one.",
        ),
        Reason::QueryTooLarge => no_rule(
            "The address carried more data than its rule lets out.",
            "Raise max_query_bytes in that rule, if it is meant to be sent.",
        ),
        Reason::HeadersTooLarge => no_rule(
            "The headers carried more data than their rule lets out.",
            "Raise max_header_bytes in that rule, if they are meant to be sent.",
        ),
        Reason::BudgetSpent => no_rule(
            "The rule's bytes for this hour or day are spent.",
            "Wait, or raise the rule's budget.",
        ),
        Reason::SecretFound => no_rule(
            "A password or key of yours would have left.",
            "If it is meant to go there: secrets: off in the rule for this host.",
        ),
        Reason::BodyEncoded => no_rule(
            "It was compressed, so nobody could see whether it holds a secret.",
            "encoded_bodies: true in the rule for this host, if you trust it.",
        ),
        Reason::Overloaded => no_rule("There was too much to do at once.", "Try again."),
        Reason::AuditUnavailable => no_rule(
            "The log cannot be written, and what cannot be written down is not let through.",
            "Make room on the disk.",
        ),
        Reason::PolicyFault => no_rule("The decision itself went wrong.", REPORT_IT),
        Reason::ClientGone => no_rule("The program that asked went away.", "Nothing to do."),
        Reason::Internal => no_rule("Airlock itself went wrong.", REPORT_IT),
    }
}
