//! At the front door: a cookie, a token or an API key, and, for one person alone, none of them.

use http::{HeaderMap, HeaderValue, Method, header};
use pingora::http::RequestHeader;

use super::{
    Doorkeeper, Handed, Identified, Unwelcome, elsewhere,
    shown::{Shown, chat_id, shown},
};
use crate::{
    net::Entry,
    page::{Brought, CookieScope, FETCH_DEST, FETCH_SITE, REPORT_PATH, login},
    policy::Reason,
    proxy::{
        arrival::{Arrival, AtDoor},
        carries::Carries,
        services::{DoorRoute, Services},
    },
    session::{Active, Deed},
    token::{Role, UnixTime, Via},
};

/// One request at the front door.
pub struct Visit<'v> {
    pub keeper: &'v Doorkeeper,
    pub route: &'v DoorRoute,
    pub at: &'v AtDoor,
    pub arrival: &'v Arrival,
    pub request: &'v RequestHeader,
}

impl Visit<'_> {
    pub fn judge(&self, now: UnixTime) -> Result<Identified, Unwelcome> {
        if self.is_own() && [login::LOGIN_PATH, login::LOGOUT_PATH].contains(&self.arrival.path()) {
            // Open to everybody: they are how one comes in. They judge the form's page themselves.
            let known = self.by_cookie(now).and_then(Result::ok);
            return Ok(Identified {
                at_the_login: true,
                ..known.unwrap_or_default()
            });
        }
        let mut known = self.known(now)?;
        self.may(&known)?;
        let deed = self.bind(&known, now)?;
        known.deed = known.deed.max(deed);
        Ok(known)
    }

    fn headers(&self) -> &HeaderMap {
        &self.request.headers
    }

    /// For the front door itself, and neither ComfyUI nor a stand-in.
    fn is_own(&self) -> bool {
        !self.at.for_comfyui && self.arrival.authority == self.route.own
    }

    fn scope(&self) -> CookieScope {
        CookieScope::of(&self.at.called.host, &self.route.names)
    }

    /// `None`: it brings none.
    fn by_cookie(&self, now: UnixTime) -> Option<Result<Identified, Unwelcome>> {
        if !self.arrival.carries.any(Carries::COOKIE) {
            return None;
        }
        let token = match self.scope().find(self.headers()) {
            Brought::Nothing => return None,
            Brought::Unclear => return Some(Err(Reason::TokenMalformed.into())),
            Brought::Token(token) => token,
        };
        let active = match self.keeper.identity.sessions.verify(token, now) {
            // A token that ComfyUI got to see is no login.
            Ok(active) if !active.is_whole() => return Some(Err(Reason::TokenNotHere.into())),
            Ok(active) => active,
            Err(refused) => return Some(Err(refused.into())),
        };
        let cookie = active.fresh_token().and_then(|fresh| {
            let seconds = active.expires().since(now).as_secs();
            self.scope().set(fresh, seconds).map(Handed::Cookie)
        });
        Some(Ok(Identified {
            handed: cookie,
            ..Identified::session(active, Via::Cookie)
        }))
    }

    fn known(&self, now: UnixTime) -> Result<Identified, Unwelcome> {
        let by_cookie = self.by_cookie(now);
        if let Some(Ok(known)) = by_cookie {
            self.says_its_page()?;
            return Ok(known);
        }
        let for_stand_ins = !self.at.for_comfyui && !self.is_own();
        let bearer = match self.arrival.carries.any(Carries::AUTHORIZATION) {
            true => shown(self.headers()),
            false => Shown::Nothing,
        };
        match &bearer {
            Shown::Token(token) => {
                let active = self.keeper.identity.sessions.verify(token, now)?;
                match active.is_whole() {
                    true => return Ok(Identified::bearer(active)),
                    // The plugin may have the front door as its LLM's address.
                    false if for_stand_ins => {}
                    false => return Err(Reason::TokenNotHere.into()),
                }
            }
            Shown::Key(key) => {
                let grant = self.keeper.identity.keys.admit(key, now)?;
                return Ok(Identified::key(grant));
            }
            Shown::Unclear => return Err(Reason::TokenMalformed.into()),
            Shown::Nothing | Shown::Other | Shown::Foreign => {}
        }
        if for_stand_ins && (chat_id(self.headers()).is_some() || bearer_is_token(&bearer)) {
            let asks = self.keeper.asks(Entry::FrontDoor);
            let found = elsewhere::of_the_plugin(self.keeper, self.headers(), asks, now)?;
            if found.principal.is_some() {
                return Ok(found);
            }
        }
        match (self.keeper.users_required, by_cookie) {
            (false, _) => Ok(Identified {
                newcomer: self.is_newcomer().then(|| self.scope()),
                ..Identified::owner()
            }),
            (true, Some(Err(why))) => Err(why),
            (true, _) if bearer == Shown::Foreign => Err(Reason::TokenMalformed.into()),
            (true, _) => Err(Reason::LoginRequired.into()),
        }
    }

    /// A browser that opens a page of ComfyUI by itself, and not from another site: there it has kept back
    /// a cookie that it may have.
    fn is_newcomer(&self) -> bool {
        let fetch = self.arrival.carries.among(Carries::FETCH, self.headers());
        let said = |name| fetch.get(name).map(HeaderValue::as_bytes);
        self.at.for_comfyui
            && self.request.method == Method::GET
            && said(FETCH_DEST) == Some(b"document")
            && matches!(said(FETCH_SITE), Some(b"none" | b"same-origin"))
    }

    /// A cookie goes with whatever a browser sends here. `page::access` has refused other origins; here
    /// it must be said that it is ours, where something is changed or a WebSocket is opened.
    fn says_its_page(&self) -> Result<(), Unwelcome> {
        let changes = !matches!(
            self.request.method,
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        let has_origin = self.headers().contains_key(header::ORIGIN);
        let site = self.headers().get(FETCH_SITE);
        let ours = site.is_some_and(|site| site.as_bytes() == b"same-origin");
        let said = match (self.arrival.upgrade, changes) {
            (true, _) => has_origin,
            (false, true) => has_origin || ours,
            (false, false) => true,
        };
        match said {
            true => Ok(()),
            false => Err(Reason::PageUnknown.into()),
        }
    }

    /// Who looks may open and read everything, and change nothing.
    fn may(&self, known: &Identified) -> Result<(), Unwelcome> {
        let reads = matches!(
            self.request.method,
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        let needed = match reads || (self.is_own() && self.arrival.path() == REPORT_PATH) {
            true => Role::Viewer,
            false => Role::User,
        };
        match &known.principal {
            Some(principal) if !principal.role.covers(needed) => Err(Reason::RoleTooLow.into()),
            Some(_) | None => Ok(()),
        }
    }

    /// Ties the id of a chat to the session, wherever the page names it in a header.
    fn bind(&self, known: &Identified, now: UnixTime) -> Result<Option<Deed>, Unwelcome> {
        if !self.arrival.carries.any(Carries::CHAT) {
            return Ok(None);
        }
        let Some(id) = chat_id(self.headers()) else {
            return Ok(None);
        };
        let sessions = &self.keeper.identity.sessions;
        match (&known.active, &known.principal) {
            (Some(active), _) => Ok(sessions.bind(active, &id, now)?),
            (None, Some(principal)) => match sessions.owner_of(&id) {
                Some(owner) if owner != principal.username => Err(Reason::SessionIdForeign.into()),
                Some(_) | None => Ok(None),
            },
            (None, None) => Ok(None),
        }
    }
}

fn bearer_is_token(bearer: &Shown<'_>) -> bool {
    matches!(bearer, Shown::Token(_))
}

/// A session for a browser where nobody has to log in. Without one it is let in all the same.
pub async fn welcome(services: &Services, scope: CookieScope) -> Option<Identified> {
    let identity = services.doorkeeper.identity.clone();
    let made = tokio::task::spawn_blocking(move || {
        let now = crate::session::now();
        let issued = identity.local_session(now).map_err(|e| e.to_string())?;
        let active = identity.sessions.verify(&issued.token, now);
        let active = active.map_err(|e| e.to_string())?;
        Ok::<(Active, String, u64), String>((
            active,
            issued.token,
            issued.session.expires.since(now).as_secs(),
        ))
    });
    let made = made.await.map_err(|e| e.to_string()).and_then(|made| made);
    match made {
        Ok((active, token, seconds)) => Some(Identified {
            handed: scope.set(&token, seconds).map(Handed::Cookie),
            ..Identified::session(active, Via::Cookie)
        }),
        Err(e) => {
            tracing::warn!(error = e, "no session for a browser");
            None
        }
    }
}
