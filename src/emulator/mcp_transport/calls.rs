//! Running a tool: with a deadline, stoppable, and never silent about its end.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;

use super::{ToolCaller, Toolbox, session::CallPlace};
use crate::{
    mcp::{Reply, ToolCall, ToolResult},
    metrics::Metrics,
};

/// One call on its way; owns its place in the session.
pub(super) struct RunningCall {
    pub(super) toolbox: Arc<dyn Toolbox>,
    pub(super) call: ToolCall,
    pub(super) caller: ToolCaller,
    pub(super) place: CallPlace,
    pub(super) timeout: Duration,
    pub(super) metrics: Arc<Metrics>,
}

impl RunningCall {
    /// The reply, or `None` if the client cancelled: a cancelled request gets no answer.
    pub(super) async fn run(self) -> Option<(Reply, CallPlace)> {
        let Self {
            toolbox,
            call,
            caller,
            place,
            timeout,
            metrics,
        } = self;
        // A tool that panics must not leave its client waiting for five minutes.
        let work = AssertUnwindSafe(toolbox.call(&call, &caller)).catch_unwind();
        let (outcome, result) = tokio::select! {
            () = place.cancelled.cancelled() => {
                metrics.mcp_request("tools/call", "cancelled");
                return None;
            }
            done = tokio::time::timeout(timeout, work) => match done {
                Ok(Ok(result)) if result.is_error => ("tool_error", result),
                Ok(Ok(result)) => ("tool_ok", result),
                Ok(Err(_)) => ("panic", ToolResult::error("the tool failed in airlock: answer without it")),
                Err(_) => ("timeout", ToolResult::error("the tool took too long and was stopped: answer without it")),
            },
        };
        metrics.mcp_request("tools/call", outcome);
        Some((Reply::tool(&call.id, &result), place))
    }
}
