//! Who may read the control plane: requests that name an address or a local name, and come from no
//! page of a public site.

use axum::{
    extract::Request,
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{
    handler::cors::{Caller, OriginPolicy},
    net::{Authority, Host, Port},
};

/// Refuses a Host that DNS rebinding could produce: any name with a dot that is not `.localhost`. And
/// an `Origin` that is a public one, `null`, or none that a browser would write.
pub async fn only_local_names(request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    // Pages of this machine and the private network may be dashboards; others have no business here.
    if OriginPolicy::private_only().judge(request.headers()) == Caller::Stranger {
        let words = "a page of another site may not call this port\n";
        return (StatusCode::FORBIDDEN, words).into_response();
    }
    let local = match (first, second) {
        (Some(value), None) => value.to_str().is_ok_and(is_local),
        // HTTP/1.0 without a Host comes from no browser.
        (None, None) => true,
        (_, Some(_)) => false,
    };
    if local {
        next.run(request).await
    } else {
        let words = "this port answers to addresses and local names only\n";
        (StatusCode::MISDIRECTED_REQUEST, words).into_response()
    }
}

fn is_local(host: &str) -> bool {
    match Authority::parse(host, Some(Port::HTTP)).map(|a| a.host) {
        Ok(Host::Ip(_)) => true,
        Ok(Host::Name(name)) => !name.contains('.') || name.ends_with(".localhost"),
        Err(_) => false,
    }
}
