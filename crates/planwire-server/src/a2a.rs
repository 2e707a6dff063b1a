//! The A2A facade: plans as tasks of the Agent2Agent protocol 1.0, over JSON-RPC and REST.
//!
//! A reader and publisher of the bus like any other. **Invariant:** one event of a plan is exactly one update of its
//! task, and the state in it is that of the plan after the event, so that every client sees the same.
//!
//! - [`config`]: what the facade is told, and its routes.
//! - `wire`: what goes over the wire.
//! - `fold`, `folds`: the task that the events of a plan add up to, and what is kept of that.
//! - `open_plans`: where open plans stand, for lists.
//! - `mapping`: one event as one update, made once for all readers. `stream`: a task followed live.
//! - `error`, `version`: what can go wrong, in each binding; which version and extensions a client speaks.
//! - `request`, `methods`, `routing`: what is asked for, what is done about it, and which message starts what.
//! - `jsonrpc`, `rest`, `http`: the bindings, and what both read from a request's head. `card`: the agent card.
//! - `described`: what all that takes and gives, for `/openapi.json`.

pub(crate) mod card;
pub mod config;
pub(crate) mod described;
pub(crate) mod error;
pub(crate) mod fold;
pub(crate) mod folds;
pub(crate) mod http;
pub(crate) mod jsonrpc;
pub(crate) mod mapping;
pub(crate) mod methods;
pub(crate) mod open_plans;
pub(crate) mod request;
pub(crate) mod rest;
mod routing;
pub(crate) mod stream;
pub(crate) mod version;
pub(crate) mod wire;

use planwire_event::Timestamp;

use card::CardAge;
use routing::Routes;

pub use config::{A2aConfig, Provider, Route, Then};
pub use routing::RouteError;

/// What REST answers are.
pub(crate) const MEDIA_TYPE: &str = "application/a2a+json";

/// What the facade keeps while the server runs.
#[derive(Debug)]
pub(crate) struct A2a {
    routes: Routes,
    card_age: CardAge,
}

impl A2a {
    /// Compiles the routes.
    ///
    /// # Errors
    ///
    /// [`RouteError`] names the route and what is wrong with it.
    pub(crate) fn new(config: &A2aConfig, started: Timestamp) -> Result<Self, RouteError> {
        Ok(Self { routes: Routes::compile(&config.routes)?, card_age: CardAge::new(started) })
    }
}
