//! The answer to who may not come in: the login page for a browser that opens a page, typed JSON for
//! everybody else, with how to log in.

use http::{HeaderMap, Method, header};
use pingora::{http::ResponseHeader, proxy::Session};

use super::Unwelcome;
use crate::{
    page::{
        CookieScope, FETCH_DEST,
        login::{self, Destination, Notice},
    },
    policy::Reason,
    proxy::{answer, arrival::Arrival, denial::Denial, services::Services},
};

pub async fn refuse(
    services: &Services,
    session: &mut Session,
    arrival: &Arrival,
    denial: &Denial,
    unwelcome: Unwelcome,
) -> pingora::Result<()> {
    let request = session.req_header();
    let as_page =
        denial.status() == 401 && is_for_a_person(arrival, &request.method, &request.headers);
    let (body, kind) = match as_page {
        true => {
            let to = Destination::parse(&arrival.target);
            let page = login::form(&to, notice(unwelcome.reason));
            (page.into(), "text/html; charset=utf-8")
        }
        false => (denial.body(), "application/json"),
    };
    let mut header = denial.header(body.len())?;
    header.insert_header(header::CONTENT_TYPE, kind)?;
    if as_page {
        for (name, value) in login::headers() {
            header.insert_header(name, value)?;
        }
    }
    challenge(&mut header, unwelcome)?;
    forget_cookie(services, arrival, denial.status(), &mut header)?;
    answer::write_refusal(session, header, body).await
}

fn challenge(header: &mut ResponseHeader, unwelcome: Unwelcome) -> pingora::Result<()> {
    match unwelcome.reason.status() {
        401 => header.insert_header(header::WWW_AUTHENTICATE, "Bearer realm=\"airlock\"")?,
        407 => header.insert_header(header::PROXY_AUTHENTICATE, "Basic realm=\"airlock\"")?,
        _ => {}
    }
    if let Some(wait) = unwelcome.retry_after {
        header.insert_header(header::RETRY_AFTER, wait.as_secs().max(1).to_string())?;
    }
    Ok(())
}

/// A cookie that was no good is not to be sent again and again.
fn forget_cookie(
    services: &Services,
    arrival: &Arrival,
    status: u16,
    header: &mut ResponseHeader,
) -> pingora::Result<()> {
    let (Some(at), Some(route)) = (&arrival.door, &services.routes.door) else {
        return Ok(());
    };
    let scope = CookieScope::of(&at.called.host, &route.names);
    match scope.clear().filter(|_| status == 401) {
        Some(cookie) => header.append_header(header::SET_COOKIE, cookie).map(drop),
        None => Ok(()),
    }
}

/// A browser that opens a page, as it says, or one from before browsers said so.
fn is_for_a_person(arrival: &Arrival, method: &Method, headers: &HeaderMap) -> bool {
    if arrival.door.is_none() || arrival.upgrade || !matches!(*method, Method::GET | Method::HEAD) {
        return false;
    }
    match headers.get(FETCH_DEST) {
        Some(dest) => dest == "document",
        None => headers
            .get_all(header::ACCEPT)
            .iter()
            .any(|v| v.to_str().is_ok_and(|text| text.contains("text/html"))),
    }
}

fn notice(reason: Reason) -> Notice<'static> {
    match reason {
        Reason::TokenExpired | Reason::SessionExpired | Reason::SessionUnknown => {
            Notice::Problem("Your session is over. Please log in again.")
        }
        Reason::SessionRevoked => Notice::Problem("You were logged out. Please log in again."),
        Reason::LoginRequired => Notice::Nothing,
        _ => Notice::Problem("Your login is not valid here. Please log in again."),
    }
}
