//! The control plane's HTTP: `/metrics`, `/healthz`, `/readyz`, `/status`; and [`control`], for the
//! owner alone: `POST /reload`, `POST /lockdown`, `POST /identity`, `POST /receipt`,
//! `POST /models`.
//!
//! axum on a listener of its own (default `127.0.0.1:9464`).
//! A request whose Host is a public-looking name is refused: that is a web page trying to read
//! this port by DNS rebinding.

mod access;
mod control;
mod health;
mod visit;

use std::{future::Future, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::header,
    response::IntoResponse,
    routing::{get, post},
};
use tokio::net::TcpListener;

use visit::{Peer, Visits};

pub use control::{Control, LockdownReport, LockdownWish, ModelsWish, ReloadReport};
pub use health::{Health, LlmStatus, ReloadStatus, SelftestStatus, Status};

use crate::{listener::BindError, metrics::Metrics, store::token::AdminToken};

/// A wish is a few words.
const MAX_BODY: usize = 4096;

/// What the pages show.
#[derive(Clone)]
pub struct AdminState {
    pub metrics: Arc<Metrics>,
    pub health: Arc<dyn Health>,
    pub control: Arc<dyn Control>,
    /// Who shows it may change things.
    pub token: AdminToken,
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
        let served = axum::serve(
            Visits::at(self.listener),
            router(state).into_make_service_with_connect_info::<Peer>(),
        )
        .with_graceful_shutdown(closing)
        .await;
        if let Err(e) = served {
            tracing::error!(error = %e, "admin listener failed");
        }
    }
}

fn router(state: AdminState) -> Router {
    let owner = axum::middleware::from_fn_with_state(state.clone(), control::only_the_owner);
    let changes = Router::new()
        .route("/reload", post(control::reload))
        .route("/lockdown", post(control::lockdown))
        .route("/identity", post(control::identity))
        .route("/receipt", post(control::receipt))
        .route("/models", post(control::models))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        // The routes alone: what is not there stays a 404.
        .route_layer(owner);
    Router::new()
        .merge(changes)
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt;
    use tower_service::Service;

    use super::*;
    use crate::{policy::Lockdown, weights::Query};

    struct Fixed(Status);
    impl Health for Fixed {
        fn status(&self) -> Status {
            self.0.clone()
        }
    }

    /// Counts what it is asked to do.
    #[derive(Default)]
    struct Asked(AtomicUsize);

    #[async_trait::async_trait]
    impl Control for Asked {
        async fn reload(&self) -> ReloadReport {
            let before = self.0.fetch_add(1, Ordering::SeqCst);
            ReloadReport {
                ok: before == 0,
                ..ReloadReport::default()
            }
        }
        async fn lockdown(&self, lockdown: Lockdown) -> LockdownReport {
            self.0.fetch_add(1, Ordering::SeqCst);
            LockdownReport {
                lockdown,
                ..LockdownReport::default()
            }
        }
        async fn identity(&self, _: crate::session::Request) -> Result<serde_json::Value, String> {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0 => Ok(serde_json::json!({"users": []})),
                _ => Err("no".to_owned()),
            }
        }
        async fn receipt(&self, _: Option<String>) -> Result<serde_json::Value, String> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(serde_json::json!({"receipt": {}}))
        }
        async fn models(&self, _: Query, _: usize) -> serde_json::Value {
            self.0.fetch_add(1, Ordering::SeqCst);
            serde_json::json!({"models": []})
        }
    }

    fn state(status: Status, token: AdminToken) -> AdminState {
        AdminState {
            metrics: Arc::new(Metrics::new()),
            health: Arc::new(Fixed(status)),
            control: Arc::new(Asked::default()),
            token,
        }
    }

    #[tokio::test]
    async fn changes_are_taken_from_the_owner_on_this_machine_alone() {
        let token = AdminToken::random();
        let bearer = format!("Bearer {}", token.expose());
        let (here, away) = ("127.0.0.1:5", "192.0.2.1:5");
        let json = "{\"lockdown\": \"egress\"}";
        type Row<'a> = (
            &'a str,
            &'a str,
            &'a str,
            &'a [(&'a str, &'a str)],
            &'a str,
            u16,
        );
        let rows: &[Row<'_>] = &[
            (
                "the owner reloads",
                "/reload",
                here,
                &[("authorization", &bearer)],
                "",
                200,
            ),
            (
                "the owner locks down",
                "/lockdown",
                here,
                &[("authorization", &bearer)],
                json,
                200,
            ),
            (
                "by IPv6",
                "/reload",
                "[::1]:5",
                &[("authorization", &bearer)],
                "",
                200,
            ),
            (
                "by IPv4 in IPv6",
                "/reload",
                "[::ffff:127.0.0.1]:5",
                &[("authorization", &bearer)],
                "",
                200,
            ),
            (
                "the owner asks for users",
                "/identity",
                here,
                &[("authorization", &bearer)],
                "{\"do\": \"user_list\"}",
                200,
            ),
            (
                "users without the token",
                "/identity",
                here,
                &[],
                "{\"do\": \"user_list\"}",
                401,
            ),
            (
                "users from the network",
                "/identity",
                away,
                &[("authorization", &bearer)],
                "{\"do\": \"user_list\"}",
                403,
            ),
            (
                "what nobody can do",
                "/identity",
                here,
                &[("authorization", &bearer)],
                "{\"do\": \"everything\"}",
                400,
            ),
            (
                "the owner asks for a receipt",
                "/receipt",
                here,
                &[("authorization", &bearer)],
                "{\"session\": null}",
                200,
            ),
            (
                "a receipt without the token",
                "/receipt",
                here,
                &[],
                "{\"session\": null}",
                401,
            ),
            (
                "a receipt of something else",
                "/receipt",
                here,
                &[("authorization", &bearer)],
                "{\"chat\": 1}",
                400,
            ),
            ("no token", "/reload", here, &[], "", 401),
            (
                "another token",
                "/lockdown",
                here,
                &[("authorization", "Bearer x")],
                json,
                401,
            ),
            (
                "not a bearer",
                "/reload",
                here,
                &[("authorization", token.expose())],
                "",
                401,
            ),
            (
                "from the network",
                "/reload",
                away,
                &[("authorization", &bearer)],
                "",
                403,
            ),
            (
                "a page with the token",
                "/lockdown",
                here,
                &[
                    ("authorization", &bearer),
                    ("origin", "http://127.0.0.1:8188"),
                ],
                json,
                403,
            ),
            (
                "a page that hides",
                "/lockdown",
                here,
                &[("authorization", &bearer), ("origin", "null")],
                json,
                403,
            ),
            (
                "a browser without Origin",
                "/reload",
                here,
                &[("authorization", &bearer), ("sec-fetch-site", "none")],
                "",
                403,
            ),
            (
                "a rebound name",
                "/reload",
                here,
                &[("authorization", &bearer), ("host", "evil.example")],
                "",
                421,
            ),
            (
                "a wish that is none",
                "/lockdown",
                here,
                &[("authorization", &bearer)],
                "{\"lockdown\": \"maybe\"}",
                400,
            ),
            (
                "too long a wish",
                "/lockdown",
                here,
                &[("authorization", &bearer)],
                &" ".repeat(5000),
                400,
            ),
        ];
        for (name, path, peer, headers, body, expected) in rows {
            let asked = Arc::new(Asked::default());
            let state = AdminState {
                control: asked.clone(),
                ..state(Status::default(), token.clone())
            };
            let mut request = Request::post(*path)
                .header("content-type", "application/json")
                .extension(axum::extract::ConnectInfo(Peer(peer.parse().unwrap())));
            if !headers.iter().any(|(n, _)| *n == "host") {
                request = request.header("host", "localhost");
            }
            for (name, value) in *headers {
                request = request.header(*name, *value);
            }
            let request = request.body(Body::from((*body).to_owned())).unwrap();
            let response = router(state).call(request).await.unwrap();
            assert_eq!(response.status().as_u16(), *expected, "{name}");
            let done = asked.0.load(Ordering::SeqCst) > 0;
            assert_eq!(done, *expected == 200, "{name}");
        }
        // A GET changes nothing, whoever asks.
        assert!(call("/reload", "localhost", true).await.0 >= 400);
    }

    #[test]
    fn a_refused_reload_and_a_lockdown_are_told_and_stay_ready() {
        let status = Status {
            lockdown: Lockdown::Egress,
            reload: Some(ReloadStatus::default()),
            ..Status::default()
        };
        let words = health::ready_words(&status);
        assert!(
            words.contains("locked down") && words.contains("refused"),
            "{words}"
        );
        assert_eq!(health::ready_words(&Status::default()), "ready\n");
    }

    async fn call(path: &str, host: &str, ready: bool) -> (u16, String) {
        let status = Status {
            ready,
            audit_healthy: true,
            ..Status::default()
        };
        shown(path, host, status).await
    }

    #[tokio::test]
    async fn an_escape_is_bad_health_and_a_round_without_one_is_not() {
        for (escapes, expected) in [(0, 200), (2, 503)] {
            let status = Status {
                ready: true,
                audit_healthy: true,
                selftest: Some(SelftestStatus {
                    escapes,
                    ..SelftestStatus::default()
                }),
                ..Status::default()
            };
            for path in ["/healthz", "/readyz"] {
                let (code, words) = shown(path, "localhost", status.clone()).await;
                assert_eq!(code, expected, "{path}: {words}");
                assert_eq!(
                    words.contains("2 ways through"),
                    escapes > 0,
                    "{path}: {words}"
                );
            }
        }
    }

    async fn shown(path: &str, host: &str, status: Status) -> (u16, String) {
        let state = state(status, AdminToken::random());
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
