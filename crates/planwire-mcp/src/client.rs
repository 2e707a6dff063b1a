//! What a server says while calls run: progress to the call that it belongs to, and that its tools have changed.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use planwire_engine::progress::Progress;
use rmcp::model::{
    ClientCapabilities, ClientConfig, Implementation, ProgressNotificationParam, ProgressToken,
};
use rmcp::service::NotificationContext;
use rmcp::{ClientHandler, RoleClient};

/// Progress that came before anybody knew the call that it belongs to.
const EARLY_MAX: usize = 32;

/// Our side of a session. It offers a server nothing: no sampling, no questions to people, no folders.
#[derive(Clone, Default)]
pub(crate) struct Client(Arc<Inner>);

#[derive(Default)]
struct Inner {
    routes: Mutex<Routes>,
    tools_changed: AtomicBool,
}

#[derive(Default)]
struct Routes {
    open: HashMap<ProgressToken, Route>,
    early: VecDeque<ProgressNotificationParam>,
}

struct Route {
    progress: Progress,
    /// How far it was: what is said may come in another order.
    reached: f64,
}

impl Route {
    fn say(&mut self, said: &ProgressNotificationParam) {
        if said.progress >= self.reached {
            self.reached = said.progress;
            self.progress.say(text_of(said));
        }
    }
}

fn text_of(said: &ProgressNotificationParam) -> String {
    let count = match said.total {
        Some(total) => format!("{} of {total}", said.progress),
        None => said.progress.to_string(),
    };
    match said.message.as_deref().map(str::trim).filter(|message| !message.is_empty()) {
        Some(message) => format!("{count}: {message}"),
        None => count,
    }
}

impl Client {
    /// Passes progress of a call on, until what is given back is dropped.
    pub(crate) fn route(&self, token: ProgressToken, progress: Progress) -> RouteGuard {
        let mut routes = self.routes();
        let mut route = Route { progress, reached: f64::NEG_INFINITY };
        let (own, others) = routes.early.drain(..).partition(|said| said.progress_token == token);
        routes.early = others;
        VecDeque::iter(&own).for_each(|said| route.say(said));
        routes.open.insert(token.clone(), route);
        RouteGuard { client: self.clone(), token }
    }

    /// Whether the server said that its tools have changed since this was asked last.
    pub(crate) fn take_tools_changed(&self) -> bool {
        self.0.tools_changed.swap(false, Ordering::Relaxed)
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.0.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the route of a call.
pub(crate) struct RouteGuard {
    client: Client,
    token: ProgressToken,
}

impl Drop for RouteGuard {
    fn drop(&mut self) {
        self.client.routes().open.remove(&self.token);
    }
}

impl ClientHandler for Client {
    fn get_info(&self) -> ClientConfig {
        let own = Implementation::new("planwire", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), own)
    }

    async fn on_progress(&self, said: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let mut routes = self.routes();
        if let Some(route) = routes.open.get_mut(&said.progress_token) {
            route.say(&said);
        } else {
            routes.early.push_back(said);
            if routes.early.len() > EARLY_MAX {
                routes.early.pop_front();
            }
        }
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.0.tools_changed.store(true, Ordering::Relaxed);
    }
}
