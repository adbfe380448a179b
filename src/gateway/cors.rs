//! CORS for pages that call the gateway themselves (WIRE.md 10.0, 19). An answer without it is
//! "Failed to fetch" in the page, so errors carry it too.

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ORIGIN, VARY,
    },
};

use crate::handler::{LocalBody, LocalResponse};

/// Allows the asking origin to read `response`. No credentials are allowed, so cookies stay out.
pub fn allow(request: &HeaderMap, response: &mut LocalResponse) {
    if let Some(origin) = request.get(ORIGIN) {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
}

/// The answer to a preflight; [`allow`] completes it.
pub fn preflight(request: &HeaderMap) -> LocalResponse {
    let mut response = http::Response::new(LocalBody::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, OPTIONS"),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    // A `*` would not cover `authorization`.
    if let Some(asked) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        headers.append(
            VARY,
            HeaderValue::from_static("access-control-request-headers"),
        );
    }
    response
}
