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
const LOG_IN_AGAIN: &str = "Log in again.";
const WAIT_OR_RAISE: &str = "Wait, or raise the limit.";
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
        Reason::GuardTraversal => no_rule(
            "A file name led out of its folder, as attacks on ComfyUI do.",
            "Use a name inside of the folder.",
        ),
        Reason::GuardUploadTypes => no_rule(
            "The uploaded file is of a kind that is not taken, or is not what it is named.",
            "Give it the ending that it is.",
        ),
        Reason::GuardImagePixels => no_rule(
            "The uploaded picture claims to be too large.",
            "Make it smaller, or raise the bound.",
        ),
        Reason::GuardPrompt => no_rule(
            "The workflow is too large.",
            "Raise the bound under front_door.guards, if it is meant to be.",
        ),
        Reason::GuardCodeNodes => no_rule(
            "The workflow holds a node that runs any program it names.",
            "Ask an admin to run it, or remove the node.",
        ),
        Reason::GuardInstallRoutes => no_rule(
            "Installing nodes and models is for admins.",
            "Ask an admin.",
        ),
        Reason::GuardManagerFiles => no_rule(
            "ComfyUI-Manager's own files were asked for, its security level among them.",
            "Use its own page.",
        ),
        Reason::GuardUnreadable => no_rule(
            "It could be read in two ways, or not at all, so nobody could look into it.",
            ITS_PROGRAM,
        ),
        Reason::LoginRequired => no_rule("Nobody was logged in.", "Log in at /airlock/login."),
        Reason::ProxyLoginRequired => no_rule(
            "The program showed no key to the proxy.",
            "Give it one: `airlock key add`.",
        ),
        Reason::TokenMalformed
        | Reason::TokenBadSignature
        | Reason::TokenBadPayload
        | Reason::SessionMismatch => no_rule(
            "What it showed to come in was not made by this Airlock.",
            LOG_IN_AGAIN,
        ),
        Reason::TokenNotHere => no_rule(
            "It showed a token that is for ComfyUI and the plugin alone.",
            "Use a token of your own.",
        ),
        Reason::TokenExpired | Reason::SessionExpired => {
            no_rule("The login was over.", LOG_IN_AGAIN)
        }
        Reason::SessionUnknown | Reason::SessionRevoked => {
            no_rule("The login was ended.", LOG_IN_AGAIN)
        }
        Reason::KeyUnknown => no_rule("There is no such API key.", "Make one: `airlock key add`."),
        Reason::KeyExpired => no_rule(
            "The API key has ended.",
            "Make a new one: `airlock key add`.",
        ),
        Reason::KeyTooMany | Reason::RateLimited => no_rule("It asked too often.", WAIT_OR_RAISE),
        Reason::KeyBusy | Reason::TooManyOpen => {
            no_rule("It had as many requests open as it may.", WAIT_OR_RAISE)
        }
        Reason::LoginWrong => no_rule("The name or the password was wrong.", "Try again."),
        Reason::LoginThrottled => no_rule("There were too many failed logins.", "Wait a while."),
        Reason::LoginBusy => no_rule("There were too many logins at once.", "Try again."),
        Reason::LoginInTheClear => no_rule(
            "The password would have gone through the network unencrypted.",
            "Put TLS in front, or name the host under front_door.plain_websockets.",
        ),
        Reason::PageUnknown => no_rule(
            "A program used a browser's login without saying for which page.",
            "Give the program a token or a key of its own.",
        ),
        Reason::RoleTooLow => no_rule(
            "Who asked may look, and change nothing.",
            "Ask an admin for another role.",
        ),
        Reason::SessionIdForeign => {
            no_rule("The chat belongs to somebody else.", "Begin a new chat.")
        }
        Reason::CheckpointForeign => no_rule(
            "The saved workflow belongs to somebody else, or to nobody who is known.",
            "Go on from a workflow of your own.",
        ),
        Reason::SessionIdsFull => no_rule("There are too many chats.", "Old ones are forgotten."),
        Reason::CircuitOpen => no_rule(
            "ComfyUI did not answer several times in a row and is left alone for a moment.",
            "Start ComfyUI; it is asked again by itself.",
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
        Reason::NotForYou => no_rule(
            "The rule for it is for other people and keys.",
            "Name this one under users in the rule, if it may.",
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
        Reason::StateUnavailable => no_rule(
            "It could not be written down whose chat or workflow this is.",
            "Make room on the disk.",
        ),
        Reason::PolicyFault => no_rule("The decision itself went wrong.", REPORT_IT),
        Reason::ClientGone => no_rule("The program that asked went away.", "Nothing to do."),
        Reason::Internal => no_rule("Airlock itself went wrong.", REPORT_IT),
    }
}
