//! From Pingora's error about a forwarded request to our refusal: whose fault, and in which words.
//!
//! Called by `pipeline::fail_to_proxy`. Nothing that a peer sent is ever repeated here: the words
//! reach the client and the audit log.

use pingora::{Error, ErrorSource, ErrorType};

use super::{arrival::Arrival, denial::Denial, respond};
use crate::{
    policy::{Reason, RuleName},
    upstream::{
        connector::{NO_DESCRIPTOR, PROXY_REFUSED},
        site_proxy::SiteProxyError,
    },
};

/// `None` when there is nobody left to tell.
pub fn failure(e: &Error, rule: Option<&RuleName>, arrival: Option<&Arrival>) -> Option<Denial> {
    let (reason, detail) = match e.esource() {
        ErrorSource::Downstream => {
            let (reason, words) = clients_fault(e)?;
            (reason, words.to_owned())
        }
        ErrorSource::Upstream | ErrorSource::Internal | ErrorSource::Unset => {
            let reason = upstreams_fault(e);
            (reason, what_failed(reason, e))
        }
    };
    Some(Denial {
        reason,
        rule: rule.cloned().unwrap_or_else(RuleName::none),
        authority: arrival.map(|a| a.authority.clone()),
        detail: Some(detail),
        method: String::new(),
        path: String::new(),
    })
}

fn clients_fault(e: &Error) -> Option<(Reason, &'static str)> {
    match e.etype() {
        // Found by Pingora when it makes the upstream's head.
        ErrorType::InvalidHTTPHeader => Some((
            Reason::MalformedRequest,
            "Connection may not name Host or what frames the body",
        )),
        _ => respond::body_fault(e),
    }
}

fn upstreams_fault(e: &Error) -> Reason {
    match (e.esource(), e.etype()) {
        (_, etype) if *etype == NO_DESCRIPTOR => Reason::Overloaded,
        (_, ErrorType::ConnectTimedout) => Reason::ConnectTimeout,
        (_, ErrorType::ConnectRefused | ErrorType::ConnectError | ErrorType::ConnectNoRoute) => {
            Reason::ConnectFailed
        }
        (
            _,
            ErrorType::TLSHandshakeFailure
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::InvalidCert
            | ErrorType::TLSWantX509Lookup,
        ) => Reason::UpstreamTlsFailed,
        (_, ErrorType::CustomCode(PROXY_REFUSED, _)) => Reason::UpstreamProxyRefused,
        (_, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => Reason::UpstreamTimeout,
        (ErrorSource::Upstream, _) => Reason::UpstreamFailed,
        _ => Reason::Internal,
    }
}

/// What an upstream did wrong, in our words or the system's: Pingora's own repeat what it was sent.
fn what_failed(reason: Reason, e: &Error) -> String {
    match (reason, e.etype()) {
        (Reason::ConnectFailed | Reason::UpstreamTlsFailed, _) => {
            let words = innermost(e);
            let end = words.find(" (os error").unwrap_or(words.len());
            words.get(..end).unwrap_or_default().to_lowercase()
        }
        (_, ErrorType::CustomCode(PROXY_REFUSED, status)) => {
            SiteProxyError::Refused(*status).to_string()
        }
        (Reason::Overloaded, _) => {
            "no file descriptor is left; raise the limit of open files".into()
        }
        (_, ErrorType::ConnectionClosed) => "it closed the connection too early".into(),
        (_, ErrorType::InvalidHTTPHeader) => "its answer is not well-formed HTTP".into(),
        (_, other) => other.as_str().to_owned(),
    }
}

/// The words of the innermost cause; the layers above it repeat the peer.
fn innermost(e: &Error) -> String {
    let Some(cause) = &e.cause else {
        return e.etype().as_str().to_owned();
    };
    let ours = cause.downcast_ref::<Error>();
    match ours.or_else(|| cause.downcast_ref::<Box<Error>>().map(|boxed| &**boxed)) {
        Some(inner) => innermost(inner),
        None => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_it_was_and_in_which_words() {
        let sent = "buf: secret bytes of the upstream";
        let upstream = |etype| Error::explain(etype, sent).into_up();
        let refused = std::io::Error::from_raw_os_error(111);
        let rows: Vec<(&str, Box<Error>, Reason, &str)> = vec![
            (
                "a refused connection, in the system's words",
                Error::because(ErrorType::ConnectError, "connecting", refused).into_up(),
                Reason::ConnectFailed,
                "connection refused",
            ),
            (
                "an answer that is not HTTP",
                upstream(ErrorType::InvalidHTTPHeader),
                Reason::UpstreamFailed,
                "its answer is not well-formed HTTP",
            ),
            (
                "the same under a layer of context",
                upstream(ErrorType::InvalidHTTPHeader).more_context("Peer: x"),
                Reason::UpstreamFailed,
                "its answer is not well-formed HTTP",
            ),
            (
                "a connection that ends early",
                upstream(ErrorType::ConnectionClosed),
                Reason::UpstreamFailed,
                "it closed the connection too early",
            ),
            (
                "silence",
                upstream(ErrorType::ReadTimedout),
                Reason::UpstreamTimeout,
                "ReadTimedout",
            ),
            (
                "a descriptor that is missing here",
                Error::explain(NO_DESCRIPTOR, sent),
                Reason::Overloaded,
                "no file descriptor is left; raise the limit of open files",
            ),
            (
                "a fault of ours",
                Error::explain(ErrorType::InternalError, sent),
                Reason::Internal,
                "InternalError",
            ),
        ];
        for (name, error, reason, words) in rows {
            let denial = failure(&error, None, None).unwrap();
            assert_eq!(
                (denial.reason, denial.detail.as_deref()),
                (reason, Some(words)),
                "{name}"
            );
        }
        let gone = Error::explain(ErrorType::ConnectionClosed, sent).into_down();
        assert!(
            failure(&gone, None, None).is_none(),
            "nobody is left to tell"
        );
    }
}
