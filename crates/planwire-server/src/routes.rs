//! Which path leads where, and what holds for every answer.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use crate::app::App;
use crate::problem::{Kind, Problem};
use crate::{blobs, events, health, page, plans, publish, start};

/// Answers requests: first the guard, then the routes.
#[derive(Clone)]
pub(crate) struct Service {
    app: Arc<App>,
    routes: TowerToHyperService<Router>,
}

impl Service {
    pub(crate) fn new(app: Arc<App>) -> Self {
        let routes = Router::new()
            .route("/", get(page::index))
            .route("/healthz", get(health::live))
            .route("/readyz", get(health::ready))
            .route("/v1/events", get(events::of_log).post(publish::events))
            .route("/v1/events/{event_id}", get(events::one))
            .route("/v1/plans", get(plans::list).post(start::plan))
            .route("/v1/plans/{plan_id}", get(plans::get))
            .route("/v1/plans/{plan_id}/events", get(events::of_plan))
            .route("/v1/plans/{plan_id}/document", get(plans::document))
            .route("/v1/plans/{plan_id}/blobs/{digest}", get(blobs::blob))
            .route("/v1/plans/{plan_id}/cancel", post(plans::cancel))
            .fallback(route_unknown)
            .method_not_allowed_fallback(method_not_allowed)
            .with_state(Arc::clone(&app));
        Self { app, routes: TowerToHyperService::new(routes) }
    }

    pub(crate) async fn answer(&self, mut request: Request<Body>) -> Response {
        // RFC 9112, 6.1: a head with both lengths is read by the second, and nothing after it may be believed. hyper
        // has then removed the first, so every chunked body is treated so.
        let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        let mut response = match self.app.guard.check(&request) {
            Err(problem) => problem.into_response(),
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                self.routes.call(request).await.unwrap_or_else(|never| match never {})
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if chunked {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response
    }
}

async fn route_unknown(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(100).collect();
    Problem::new(Kind::RouteUnknown, format!("there is nothing at {path}"))
}

async fn method_not_allowed(method: Method) -> Problem {
    Problem::new(Kind::MethodNotAllowed, format!("the path does not take {method}; see the header Allow"))
}
