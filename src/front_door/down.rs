//! The page in place of ComfyUI's while that does not answer, or while the caller has to wait; it
//! comes back by itself.

use http::{HeaderValue, Response, StatusCode, header};

use crate::handler::LocalResponse;

const WAIT: &str = include_str!("wait.html");
/// Seconds; the page says the same.
const AGAIN: u64 = 3;

/// Nothing of what failed is said here but which kind: the record has the rest.
pub fn page(status: StatusCode, problem: &'static str) -> LocalResponse {
    let page = wait(
        "ComfyUI is not there yet",
        AGAIN,
        "This page looks again every three seconds, and ComfyUI comes up by itself.",
        &format!("Airlock is running; ComfyUI behind it is not: {problem}."),
    );
    answer(status, "text/html; charset=utf-8", page)
}

/// For a person whose requests were too many. `why` is of our own words.
pub fn busy(seconds: u64, why: &str) -> String {
    wait(
        "One moment",
        seconds,
        &format!("This page asks again by itself in {seconds} s."),
        &format!("Too many requests came from here, so Airlock let this one wait ({why})."),
    )
}

/// For scripts: text that no browser runs.
pub fn script(status: StatusCode, problem: &'static str) -> LocalResponse {
    let text = format!("airlock: {problem}\n");
    answer(status, "text/plain; charset=utf-8", text)
}

fn wait(title: &str, seconds: u64, again: &str, told: &str) -> String {
    WAIT.replace("{title}", title)
        .replace("{seconds}", &seconds.to_string())
        .replace("{again}", again)
        .replace("{told}", told)
}

fn answer(status: StatusCode, kind: &'static str, text: String) -> LocalResponse {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::RETRY_AFTER, HeaderValue::from(AGAIN));
    response
}
