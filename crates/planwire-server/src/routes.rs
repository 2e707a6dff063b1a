//! Which path leads where, and what holds for every answer.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use crate::app::App;
use crate::openapi::Routes;
use crate::problem::{Kind, Problem};
use crate::{a2a, answer, ask, blobs, events, guard, health, openapi, page, plans, publish, redact, start};

/// Every route with its description.
pub(crate) fn all() -> Routes {
    Routes::default()
        .get("/", page::index, &page::INDEX_PAGE)
        .get("/healthz", health::live, &health::LIVE)
        .get("/readyz", health::ready, &health::READY)
        .get("/openapi.json", openapi::serve, &openapi::DOCUMENT)
        .get("/v1/events", events::of_log, &events::OF_LOG)
        .post("/v1/events", publish::events, &publish::EVENTS)
        .get("/v1/events/{event_id}", events::one, &events::ONE)
        .post("/v1/events/{event_id}/redact", redact::event, &redact::EVENT)
        .get("/v1/plans", plans::list, &plans::LIST)
        .post("/v1/plans", start::plan, &start::PLAN)
        .get("/v1/plans/{plan_id}", plans::get, &plans::GET)
        .get("/v1/plans/{plan_id}/events", events::of_plan, &events::OF_PLAN)
        .get("/v1/plans/{plan_id}/document", plans::document, &plans::DOCUMENT)
        .get("/v1/plans/{plan_id}/blobs/{digest}", blobs::blob, &blobs::BLOB)
        .post("/v1/plans/{plan_id}/cancel", ask::cancel, &ask::CANCEL)
        .post("/v1/plans/{plan_id}/pause", ask::pause, &ask::PAUSE)
        .post("/v1/plans/{plan_id}/resume", ask::resume, &ask::RESUME)
        .post("/v1/plans/{plan_id}/answer", answer::plan, &answer::PLAN)
        .get(a2a::card::PATH, a2a::card::card, &a2a::described::CARD)
        .get("/a2a/extensions/plan-events", a2a::card::extension, &a2a::described::EXTENSION)
        .facade(&["/a2a", "/a2a/"], &any(a2a::jsonrpc::call), a2a::described::OF_JSON_RPC)
        .facade(&["/a2a/{*path}"], &any(a2a::rest::call), a2a::described::OF_REST)
}

/// Answers requests: first the guard, then the routes.
#[derive(Clone)]
pub(crate) struct Service {
    app: Arc<App>,
    routes: TowerToHyperService<Router>,
}

impl Service {
    pub(crate) fn new(app: Arc<App>) -> Self {
        let routes = all()
            .router
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
            Err(problem) => refused(problem, &request),
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

/// Why a request is not let in, in the words of what it asks.
fn refused(problem: Problem, request: &Request<Body>) -> Response {
    match request.uri().path() {
        path if guard::is_of_a2a(path) => a2a::http::refusal(problem, path, request.headers()),
        _ => problem.into_response(),
    }
}

async fn route_unknown(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(100).collect();
    Problem::new(Kind::RouteUnknown, format!("there is nothing at {path}"))
}

async fn method_not_allowed(method: Method) -> Problem {
    Problem::new(Kind::MethodNotAllowed, format!("the path does not take {method}; see the header Allow"))
}
