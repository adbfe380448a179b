//! The control plane's HTTP: `/metrics`, `/healthz`, `/readyz`, `/status`.
//!
//! axum on a listener of its own (default `127.0.0.1:9464`). It reads state and changes nothing.
//! A request whose Host is a public-looking name is refused: that is a web page trying to read
//! this port by DNS rebinding.

mod access;
mod health;

use std::{future::Future, net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use tokio::net::TcpListener;

pub use health::{Health, LlmStatus, Status};

use crate::{listener::BindError, metrics::Metrics};

/// What the pages show.
#[derive(Clone)]
pub struct AdminState {
    pub metrics: Arc<Metrics>,
    pub health: Arc<dyn Health>,
}

/// A bound admin socket that does not serve yet.
pub struct Admin {
    pub address: SocketAddr,
    listener: TcpListener,
}

impl Admin {
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let error = |e: std::io::Error| BindError::new(address, "listeners.admin", &e);
        let listener = TcpListener::bind(address).await.map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        Ok(Self { address, listener })
    }

    /// Serves until `closing` resolves.
    pub async fn serve(
        self,
        state: AdminState,
        closing: impl Future<Output = ()> + Send + 'static,
    ) {
        let served = axum::serve(self.listener, router(state))
            .with_graceful_shutdown(closing)
            .await;
        if let Err(e) = served {
            tracing::error!(error = %e, "admin listener failed");
        }
    }
}

fn router(state: AdminState) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/status", get(health::status))
        .layer(axum::middleware::from_fn(access::only_local_names))
        .with_state(state)
}

async fn metrics(State(state): State<AdminState>) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], state.metrics.render())
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt;
    use tower_service::Service;

    use super::*;

    struct Fixed(Status);
    impl Health for Fixed {
        fn status(&self) -> Status {
            self.0.clone()
        }
    }

    async fn call(path: &str, host: &str, ready: bool) -> (u16, String) {
        let status = Status {
            ready,
            audit_healthy: true,
            ..Status::default()
        };
        let state = AdminState {
            metrics: Arc::new(Metrics::new()),
            health: Arc::new(Fixed(status)),
        };
        let request = Request::get(path)
            .header("host", host)
            .body(Body::empty())
            .unwrap();
        let response = router(state).call(request).await.unwrap();
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn pages_answer_local_names_and_refuse_public_ones() {
        for (path, host, ready, expected) in [
            ("/healthz", "127.0.0.1:9464", false, 200),
            ("/readyz", "127.0.0.1:9464", false, 503),
            ("/readyz", "[::1]:9464", true, 200),
            ("/metrics", "airlock:9464", true, 200),
            ("/metrics", "localhost", true, 200),
            ("/metrics", "rebound.evil.example:9464", true, 421),
            ("/metrics", "evil.example#@127.0.0.1", true, 421),
            ("/nothing", "127.0.0.1", true, 404),
        ] {
            let (code, body) = call(path, host, ready).await;
            assert_eq!(code, expected, "{path} as {host}: {body}");
        }
    }
}
