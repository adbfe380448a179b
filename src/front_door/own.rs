//! What the front door answers below `/airlock/` itself: one handler per path.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderValue, Response, StatusCode, header};

use super::{LoginPages, ReceiptPages, ReportResponder};
use crate::{
    handler::{Handler, LocalRequest, LocalResponse},
    page::{RECEIPT_PATH, REPORT_PATH, login, report::MAX_REPORT},
};

/// The rules let nothing through to it but these paths.
pub struct OwnPages {
    pub reports: Arc<ReportResponder>,
    pub login: Arc<LoginPages>,
    pub receipts: Arc<ReceiptPages>,
}

#[async_trait]
impl Handler for OwnPages {
    async fn handle(&self, request: LocalRequest) -> LocalResponse {
        match request.parts.uri.path() {
            REPORT_PATH => self.reports.handle(request).await,
            login::LOGIN_PATH | login::LOGOUT_PATH => self.login.handle(request).await,
            path if path.starts_with(RECEIPT_PATH) => self.receipts.handle(request).await,
            _ => {
                let mut response = Response::new("no such page\n".to_owned().into());
                *response.status_mut() = StatusCode::NOT_FOUND;
                let plain = HeaderValue::from_static("text/plain; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, plain);
                response
            }
        }
    }

    fn max_body(&self) -> usize {
        MAX_REPORT.max(login::MAX_FORM)
    }
}
