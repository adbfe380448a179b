//! `POST /airlock/csp`: what a browser refused (or would have), into the audit log and the metrics.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderValue, Response, StatusCode, header};

use crate::{
    handler::{Handler, LocalBody, LocalRequest, LocalResponse},
    metrics::Metrics,
    page::{Violation, report::MAX_REPORT},
};

pub struct ReportResponder {
    metrics: Arc<Metrics>,
}

impl ReportResponder {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics }
    }
}

#[async_trait]
impl Handler for ReportResponder {
    async fn handle(&self, request: LocalRequest) -> LocalResponse {
        let note = &request.exchange.note;
        note.set(|note| note.answered_by = Some("front door".into()));
        match Violation::parse(&request.body) {
            Ok(violation) => {
                let Violation {
                    page,
                    directive,
                    blocked,
                    enforced,
                } = &violation;
                let (did, outcome) = match enforced {
                    true => ("refused", "refused"),
                    false => ("would refuse", "reported"),
                };
                self.metrics.page_violation(directive.as_str(), outcome);
                let page = page.as_deref().unwrap_or("another page");
                let directive = directive.as_str();
                let words = format!("the browser {did} {blocked} on {page} ({directive})");
                note.set(|note| note.detail = Some(words));
                answer(StatusCode::NO_CONTENT, LocalBody::Empty)
            }
            Err(e) => {
                self.metrics.page_violation("other", "malformed");
                note.set(|note| note.detail = Some("no report".into()));
                answer(StatusCode::BAD_REQUEST, e.to_string().into())
            }
        }
    }

    fn max_body(&self) -> usize {
        MAX_REPORT
    }
}

fn answer(status: StatusCode, body: LocalBody) -> LocalResponse {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
    }
    response
}
