//! The page in place of ComfyUI's while that does not answer, or while the caller has to wait; it
//! comes back by itself.

use http::{HeaderValue, Response, StatusCode, header};

use crate::handler::LocalResponse;

const PAGE: &str = include_str!("down.html");
const BUSY: &str = include_str!("busy.html");
/// Seconds; the page says the same.
const AGAIN: HeaderValue = HeaderValue::from_static("3");

/// Nothing of what failed is said here but which kind: the record has the rest.
pub fn page(status: StatusCode, problem: &'static str) -> LocalResponse {
    let mut response = Response::new(PAGE.replace("{problem}", problem).into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::RETRY_AFTER, AGAIN);
    response
}

/// For a person whose requests were too many. `why` is of our own words.
pub fn busy(seconds: u64, why: &str) -> String {
    BUSY.replace("{problem}", why)
        .replace("{seconds}", &seconds.to_string())
}

/// For scripts: text that no browser runs.
pub fn script(status: StatusCode, problem: &'static str) -> LocalResponse {
    let mut response = Response::new(format!("airlock: {problem}\n").into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::RETRY_AFTER, AGAIN);
    response
}
