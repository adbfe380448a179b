//! What the front door answers below `/airlock/` of its own, by path: one handler for each.

use async_trait::async_trait;

use super::{receipts::ReceiptPages, reports::ReportResponder};
use crate::{
    handler::{Handler, LocalRequest, LocalResponse},
    page::RECEIPT_PATH,
};

pub struct OwnPages {
    pub reports: ReportResponder,
    pub receipts: ReceiptPages,
}

#[async_trait]
impl Handler for OwnPages {
    async fn handle(&self, request: LocalRequest) -> LocalResponse {
        match request.parts.uri.path().starts_with(RECEIPT_PATH) {
            true => self.receipts.handle(request).await,
            false => self.reports.handle(request).await,
        }
    }

    fn max_body(&self) -> usize {
        self.reports.max_body()
    }
}
