//! `/airlock/login` and `/airlock/logout`: a form, its answer, and the end of a session.
//!
//! A wrong name and a wrong password get the same answer after the same time, and failures are slowed
//! down (`session::Users`). Both take a form from our own page alone.

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use crate::{
    handler::{Handler, LocalBody, LocalRequest, LocalResponse, Note},
    metrics::Metrics,
    net::{Authority, Port},
    page::{
        CookieScope, OwnNames,
        login::{self, Destination, Form, Notice},
    },
    policy::Reason,
    session::{Identity, LoginRefused, now},
    token::{Principal, Username},
};

pub struct LoginPages {
    pub identity: Arc<Identity>,
    pub names: OwnNames,
    /// Off: one person alone, who is told so.
    pub required: bool,
    pub metrics: Arc<Metrics>,
}

#[async_trait]
impl Handler for LoginPages {
    async fn handle(&self, request: LocalRequest) -> LocalResponse {
        let note = request.exchange.note.clone();
        note.set(|note| note.answered_by = Some("front door".into()));
        let posted = request.parts.method == Method::POST;
        match (request.parts.uri.path(), posted) {
            (login::LOGOUT_PATH, true) => self.log_out(request).await,
            // A link ends no session.
            (login::LOGOUT_PATH, false) => redirect(login::LOGIN_PATH),
            (_, true) => self.log_in(request).await,
            (_, false) => self.show(&request),
        }
    }

    fn max_body(&self) -> usize {
        login::MAX_FORM
    }
}

impl LoginPages {
    fn show(&self, request: &LocalRequest) -> LocalResponse {
        let query = request.parts.uri.query().unwrap_or_default();
        let to = login::destination_of(query);
        let page = match request.exchange.principal.as_deref() {
            Some(Principal { username, role, .. }) if self.required => {
                login::account(username.as_str(), role.as_str())
            }
            Some(_) | None if !self.required => login::open(),
            Some(_) | None => {
                let out = query.split('&').any(|pair| pair == "out");
                let notice = match out {
                    true => Notice::LoggedOut,
                    false => Notice::Nothing,
                };
                login::form(&to, notice)
            }
        };
        answer(StatusCode::OK, page)
    }

    async fn log_in(&self, request: LocalRequest) -> LocalResponse {
        let LocalRequest {
            parts,
            body,
            exchange,
        } = request;
        let Some(form) = Form::parse(&body) else {
            let page = login::form(&Destination::parse("/"), Notice::Problem(NO_FORM));
            return answer(StatusCode::BAD_REQUEST, page);
        };
        let called = called(&parts.headers);
        let scope = called.map(|called| CookieScope::of(&called.host, &self.names));
        let Some(scope) = scope.filter(|_| from_our_page(&parts.headers)) else {
            return refused(
                &exchange.note,
                &form.to,
                Reason::PageUnknown,
                NOT_OURS,
                None,
            );
        };
        if scope == CookieScope::Secure && in_the_clear(&parts.headers) {
            // The browser would not keep the cookie. (The password has come in the clear already.)
            return refused(
                &exchange.note,
                &form.to,
                Reason::LoginInTheClear,
                NO_TLS,
                None,
            );
        }
        let to = form.to.clone();
        let name = form.username.parse::<Username>().ok();
        let outcome = self.check(form, exchange.client).await;
        let (reason, words, wait) = match outcome {
            Ok(Ok(issued)) => {
                self.metrics.login("ok");
                let user = issued.session.username.to_string();
                let detail = format!("login of {user}");
                exchange.note.set(|note| note.detail = Some(detail));
                let seconds = issued.session.expires.since(now()).as_secs();
                let mut response = redirect(to.as_str());
                if let Some(cookie) = scope.set(&issued.token, seconds) {
                    response.headers_mut().append(header::SET_COOKIE, cookie);
                }
                return response;
            }
            Ok(Err(LoginRefused::Wrong)) => (Reason::LoginWrong, WRONG.to_owned(), None),
            Ok(Err(why @ LoginRefused::Throttled(_))) => {
                (Reason::LoginThrottled, why.to_string(), why.retry_after())
            }
            Ok(Err(why @ LoginRefused::Busy(_))) => {
                (Reason::LoginBusy, why.to_string(), why.retry_after())
            }
            Err(problem) => {
                tracing::error!(problem, "a login failed");
                (Reason::Internal, FAILED.to_owned(), None)
            }
        };
        self.metrics.login(reason.code());
        // Whose account was tried. What is nobody's name may be a password in the wrong field.
        if let Some(name) = name.filter(|name| self.identity.users.find(name).is_some()) {
            let detail = format!("tried as {name}");
            exchange.note.set(|note| note.detail = Some(detail));
        }
        refused(
            &exchange.note,
            &to,
            reason,
            &words,
            wait.map(|w| w.as_secs()),
        )
    }

    /// `Err`: it is not the person's fault.
    async fn check(
        &self,
        form: Form,
        client: IpAddr,
    ) -> Result<Result<crate::session::Issued, LoginRefused>, String> {
        let identity = self.identity.clone();
        // Hashes, and writes the session.
        let checking = tokio::task::spawn_blocking(move || {
            identity.login(&form.username, &form.password, client, now())
        });
        match checking.await {
            Ok(done) => done.map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        }
    }

    async fn log_out(&self, request: LocalRequest) -> LocalResponse {
        let headers = &request.parts.headers;
        if !from_our_page(headers) {
            let note = &request.exchange.note;
            return refused(
                note,
                &Destination::parse("/"),
                Reason::PageUnknown,
                NOT_OURS,
                None,
            );
        }
        let session = request.exchange.principal.as_ref().and_then(|p| p.session);
        if let Some(id) = session {
            let identity = self.identity.clone();
            let revoking =
                tokio::task::spawn_blocking(move || identity.sessions.revoke(id, now()).map(drop));
            // Revoked in memory whatever the disk says.
            match revoking.await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => tracing::error!(error = %e, "a logout was not written"),
                Err(e) => tracing::error!(error = %e, "a logout failed"),
            }
            self.metrics.login("logout");
        }
        let mut response = redirect(&format!("{}?out", login::LOGIN_PATH));
        let scope = called(headers).map(|called| CookieScope::of(&called.host, &self.names));
        if let Some(cookie) = scope.and_then(CookieScope::clear) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }
}

const WRONG: &str = "The name or the password is wrong.";
const FAILED: &str =
    "That did not work. Please try again, and look into the log if it does not help.";
const NO_FORM: &str = "This was no login form. Please try again.";
const NOT_OURS: &str = "This form came from another page. Please try again.";
const NO_TLS: &str = "This connection is not encrypted, so you cannot log in here. Open the page by https, \
                      or list this name under front_door.plain_websockets.";

fn called(headers: &HeaderMap) -> Option<Authority> {
    let text = headers.get(header::HOST)?.to_str().ok()?;
    Authority::parse(text, Some(Port::HTTP)).ok()
}

/// The pipeline has refused every other origin; here one has to be named, or to be said to be ours.
fn from_our_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    headers.contains_key(ORIGIN_SEEN) || site == Some(b"same-origin")
}

/// A form's page names its scheme.
fn in_the_clear(headers: &HeaderMap) -> bool {
    let origin = headers.get(ORIGIN_SEEN).map(HeaderValue::as_bytes);
    origin.is_some_and(|origin| origin.starts_with(b"http://"))
}

/// The page's `Origin` as `proxy` hands it to the front door's own pages, after it has compared it.
pub const ORIGIN_SEEN: HeaderName = HeaderName::from_static("x-airlock-origin");

fn answer(status: StatusCode, page: String) -> LocalResponse {
    let mut response = Response::new(LocalBody::from(page));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, html);
    for (name, value) in login::headers() {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn redirect(to: &str) -> LocalResponse {
    let mut response = answer(StatusCode::SEE_OTHER, String::new());
    // A destination is visible ASCII.
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, to);
    response
}

fn refused(
    note: &Note,
    to: &Destination,
    reason: Reason,
    words: &str,
    retry_after: Option<u64>,
) -> LocalResponse {
    note.set(|note| note.failed = Some(reason));
    let status = StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::FORBIDDEN);
    let mut response = answer(status, login::form(to, Notice::Problem(words)));
    if let Some(seconds) = retry_after {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    let code = HeaderValue::from_static(reason.code());
    response.headers_mut().insert("x-airlock-reason", code);
    response
}
