//! The router and the operations, filled together.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::Operation;
use crate::app::App;

/// Routes with their descriptions.
#[derive(Default)]
pub(crate) struct Routes {
    pub(crate) router: Router<Arc<App>>,
    pub(crate) operations: Vec<Described>,
}

/// An operation and where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Described {
    /// In lower case.
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) operation: &'static Operation,
}

impl Routes {
    pub(crate) fn get<H, T>(self, path: &'static str, handler: H, operation: &'static Operation) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        self.on(MethodFilter::GET, "get", path, handler, operation)
    }

    pub(crate) fn post<H, T>(self, path: &'static str, handler: H, operation: &'static Operation) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        self.on(MethodFilter::POST, "post", path, handler, operation)
    }

    /// A handler that takes apart by itself what stands below a path, with all that it answers there.
    pub(crate) fn facade(
        mut self,
        paths: &[&str],
        handler: &MethodRouter<Arc<App>>,
        described: &[Described],
    ) -> Self {
        for path in paths {
            self.router = self.router.route(path, handler.clone());
        }
        self.operations.extend_from_slice(described);
        self
    }

    fn on<H, T>(
        mut self,
        filter: MethodFilter,
        method: &'static str,
        path: &'static str,
        handler: H,
        operation: &'static Operation,
    ) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        self.router = self.router.route(path, on(filter, handler));
        self.operations.push(Described { method, path, operation });
        self
    }
}
