//! A placeholder for a vendor's picture (WIRE.md 20): nothing is fetched, and the picture says so.

use async_trait::async_trait;
use http::Method;

use super::http::{method_not_allowed, note, svg};
use crate::handler::{Handler, LocalBody, LocalRequest, LocalResponse};

/// An `<img>` goes by the content type, so an SVG may stand in for a `.jpg`.
const PLACEHOLDER: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" width="320" height="180" viewBox="0 0 320 180" role="img" aria-label="kept local by Airlock"><rect width="320" height="180" rx="8" fill="#20242b"/><rect x="1" y="1" width="318" height="178" rx="7" fill="none" stroke="#4b5563" stroke-dasharray="6 4"/><text x="160" y="95" text-anchor="middle" font-family="sans-serif" font-size="16" fill="#cbd5e1">kept local by Airlock</text></svg>
"##;

/// Has no state and depends on nothing in the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImageResponder;

#[async_trait]
impl Handler for ImageResponder {
    async fn handle(&self, request: LocalRequest) -> LocalResponse {
        note(&request.exchange, "stand-in", "placeholder picture");
        let body = match request.parts.method {
            Method::GET => LocalBody::from(PLACEHOLDER.to_owned()),
            Method::HEAD => LocalBody::Empty,
            _ => return method_not_allowed("GET, HEAD"),
        };
        svg(body)
    }

    fn max_body(&self) -> usize {
        64 << 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::test_support::{body_text, header, request};

    #[tokio::test]
    async fn any_picture_is_the_placeholder() {
        for (row, method, status, has_body) in [
            ("an img element", "GET", 200, true),
            ("a look ahead", "HEAD", 200, false),
            ("an upload", "PUT", 405, true),
        ] {
            let request = request(
                "ppc-img.oss-ap-southeast-1.aliyuncs.com",
                method,
                "/AI_workflow_default.jpg?OSSAccessKeyId=x",
                &[],
                "",
            );
            let exchange = request.exchange.clone();
            let response = ImageResponder.handle(request).await;
            assert_eq!(response.status(), status, "{row}");
            assert_eq!(
                header(&response, "x-content-type-options"),
                "nosniff",
                "{row}"
            );
            if status == 200 {
                assert_eq!(header(&response, "content-type"), "image/svg+xml", "{row}");
                assert_eq!(
                    header(&response, "cache-control"),
                    "private, max-age=3600",
                    "{row}"
                );
            } else {
                assert_eq!(header(&response, "allow"), "GET, HEAD", "{row}");
            }
            assert_eq!(!body_text(response).await.is_empty(), has_body, "{row}");
            assert_eq!(
                exchange.note.read().answered_by.as_deref(),
                Some("stand-in"),
                "{row}"
            );
        }
    }
}
