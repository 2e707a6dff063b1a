//! The engine: starts plans, ends them when it is asked to, and ends what a former process left open.
//!
//! An engine is one executor: everything that it publishes has its `executor_id` as producer, and it owns the trees
//! that it starts. Requests to end a plan and answers to questions are events that it follows, wherever they were
//! published.

mod lost;
mod recovery;
mod succession;
mod takeover;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use planwire_bus::{
    CatalogEntry, DocumentSource, EventBus, Handler, PlanStarter, PublishError, Published, StartError,
    StartRequest, Started, SubscribeError, SubscriptionId,
};
use planwire_event::vocabulary::{Object, PlanStarted};
use planwire_event::{Clock, Event, Filter, IdGenerator, PlanId, Refusal};
use planwire_store::Executors;
use serde_json::Value;
use tokio::sync::oneshot::Sender;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::budget::TreeLimits;
use crate::catalog;
use crate::document::{Diagnostic, Document, Folder, Resolved, named_like_secrets};
use crate::executor::{Plan, PlanEnd, run_plan};
use crate::moment::AtMoment;
use crate::policy::{Policy, Source};
use crate::redaction::Edges;
use crate::secrets::{Secrets, marker, name_of_input};
use crate::shared::{FOLLOWED, Patience, Shared, Tree};
use crate::stop::{StopReason, Stopper};
use crate::tool_set::ToolSet;
use succession::Beating;
use takeover::Turns;

pub use lost::{LOST_PAUSE, LOST_PAUSE_MAX, LOST_TRIES_MAX};
pub use recovery::{Recovered, RecoveryError, ResumeError};
pub use succession::{BEAT, GONE_AFTER_DEFAULT, GONE_AFTER_MIN, JoinError, Succession};
pub use takeover::TAKING_OVER_MAX;

/// Trees that run at a time when the configuration does not say.
pub const PLANS_MAX_DEFAULT: usize = 64;

/// Tool calls of one tree, each attempt counted, when the configuration does not say.
pub const TREE_CALLS_MAX_DEFAULT: u64 = 100_000;

/// Time that open plans have to end when the engine shuts down; it covers the grace of their tools.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

const _: () = assert!(SHUTDOWN_GRACE.as_secs() > crate::tool_runner::STOP_GRACE.as_secs());

/// How an engine works.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Documents that may be started by name. Default: none.
    pub documents: BTreeMap<String, Resolved>,
    /// Where relative paths of registered documents start; absolute. Default: `/`.
    pub folder: PathBuf,
    /// Holds the working folder of each tree whose document came over the network, which is made for it and removed after
    /// its end; absolute, of this user alone, and the [`work`](crate::launcher::Sandbox::work) of sandboxes. Default:
    /// none, they work in `folder`.
    pub work: Option<PathBuf>,
    /// Trees that run at a time; more are refused. Default: [`PLANS_MAX_DEFAULT`].
    pub plans_max: usize,
    /// What each tree may use, whatever its document says. Default: [`TREE_CALLS_MAX_DEFAULT`] tool calls, and no limit of
    /// anything else.
    pub limits: TreeLimits,
    /// Longest time of each tree, whatever its document says. Default: none; documents have a limit of their own.
    pub timeout_max: Option<Duration>,
    /// What documents may call. Default: [`ToolSet::standard`].
    pub tools: ToolSet,
    /// What documents may name by `secret("NAME")`, and what else is redacted. Default: no secrets, and
    /// [`Rules::standard`](crate::Rules::standard).
    pub secrets: Secrets,
    /// What documents may do. Default: the operator's everything, those that come over the network nothing.
    pub policy: Policy,
    /// The executors of the log, where other processes may run plans of it too. Default: none, there are no others.
    pub executors: Option<Arc<dyn Executors>>,
    /// Time after which an executor that was not seen may be succeeded; at least [`GONE_AFTER_MIN`]. Default:
    /// [`GONE_AFTER_DEFAULT`].
    pub gone_after: Duration,
    /// Is called around each publish, for tests of crashes. Default: none.
    pub at_moment: Option<AtMoment>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            documents: BTreeMap::new(),
            folder: PathBuf::from("/"),
            work: None,
            plans_max: PLANS_MAX_DEFAULT,
            limits: TreeLimits { tool_calls: Some(TREE_CALLS_MAX_DEFAULT), ..TreeLimits::NONE },
            timeout_max: None,
            tools: ToolSet::standard(),
            secrets: Secrets::none(),
            policy: Policy::default(),
            executors: None,
            gone_after: GONE_AFTER_DEFAULT,
            at_moment: None,
        }
    }
}

/// Runs plans. Cheap to clone; all clones are one engine.
///
/// Needs a multi-threaded or current-thread tokio runtime with time and I/O where plans are started.
///
/// ```
/// use std::sync::Arc;
/// use planwire_bus::{Config, DocumentSource, EventBus, Item, Log, PlanStarter as _, StartAt, StartRequest};
/// use planwire_engine::{Engine, EngineConfig};
/// use planwire_event::{Filter, IdGenerator, LogId, SystemClock, vocabulary::Origin};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let (writer, repository) = planwire_store::MemoryStore::open(LogId::from_random(1));
/// let log = Log::open(writer, repository, Arc::new(SystemClock)).unwrap();
/// let bus = EventBus::open(log, Config::default()).unwrap();
/// let ids = Arc::new(IdGenerator::system());
/// let engine = Engine::new(&bus, Arc::new(SystemClock), ids, EngineConfig::default()).unwrap();
///
/// let text = "
/// plan: hello
/// goal: Say hello
/// steps: { say: { tool: exec, with: { argv: [echo, hello] } } }
/// outputs: { said: \"${steps.say.output.stdout}\" }
/// ";
/// let document = DocumentSource::Inline { text: text.into(), name: "hello.yaml".into(), folder: None };
/// let origin = Origin { protocol: "cli".into(), principal: "me".into(), message: None };
/// let request = StartRequest { document, inputs: Default::default(), origin, context_id: None };
/// let started = engine.start(request).await.unwrap();
///
/// let mut events = bus.stream(Filter::tree(started.plan_id), StartAt::Start).await.unwrap();
/// let mut last = String::new();
/// while let Some(Item::Event(event)) = events.next().await.unwrap() {
///     last = event.event.payload().as_str().into();
/// }
/// assert!(last.contains(r#""outputs":{"said":"hello\n"}"#));
/// engine.shutdown("the example ends").await;
/// bus.shutdown().await;
/// # });
/// ```
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    bus: EventBus,
    /// Follows requests to end plans, and answers.
    commands: SubscriptionId,
    shared: Arc<Shared>,
    documents: BTreeMap<String, Resolved>,
    folder: Arc<Path>,
    plans_max: usize,
    limits: TreeLimits,
    executors: Option<Arc<dyn Executors>>,
    gone_after: Duration,
    beating: Mutex<Option<Beating>>,
    closed: AtomicBool,
    turns: Turns,
    roots: Mutex<HashMap<PlanId, Option<AbortHandle>>>,
    open_roots: watch::Sender<usize>,
}

impl Engine {
    /// Makes an engine over `bus`; its executor id is made by `ids`.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] if requests to end plans and answers cannot be followed.
    pub fn new(
        bus: &EventBus,
        clock: Arc<dyn Clock>,
        ids: Arc<IdGenerator>,
        config: EngineConfig,
    ) -> Result<Self, SubscribeError> {
        let shared = Arc::new(Shared::new(bus, clock, ids, &config));
        let followed = Arc::clone(&shared);
        let follow = Handler::future(move |event| {
            followed.follow(&event.event);
            std::future::ready(Ok(()))
        });
        let commands = bus.subscribe(follow, Filter::all().with_types(FOLLOWED))?;
        let inner = Arc::new(Inner {
            bus: bus.clone(),
            commands,
            shared,
            documents: config.documents,
            folder: config.folder.into(),
            plans_max: config.plans_max,
            limits: config.limits,
            executors: config.executors,
            gone_after: config.gone_after.max(GONE_AFTER_MIN),
            beating: Mutex::default(),
            closed: AtomicBool::new(false),
            turns: Turns::default(),
            roots: Mutex::default(),
            open_roots: watch::Sender::new(0),
        });
        Ok(Self { inner })
    }

    /// The producer of all that this engine publishes, and the owner of its trees.
    #[must_use]
    pub fn executor_id(&self) -> &str {
        &self.inner.shared.executor_id
    }

    /// The tools that documents may call and the secrets that they may name, for checking documents.
    #[must_use]
    pub fn tools(&self) -> &ToolSet {
        &self.inner.shared.tools
    }

    /// Trees of this engine that are open, with those that it is about to take over.
    #[must_use]
    pub fn open_trees(&self) -> usize {
        *self.inner.open_roots.borrow()
    }

    /// Refuses new plans, and ends the open ones with `PlanFailed{interrupted}`, leaves first.
    ///
    /// Waits for them no longer than [`SHUTDOWN_GRACE`]; what is open then ends at the next start.
    pub async fn shutdown(&self, reason: &str) {
        self.inner.closed.store(true, Ordering::Release);
        self.inner.shared.stop_all(&StopReason::Interrupted(reason.into()));
        let mut open = self.inner.open_roots.subscribe();
        let ended = tokio::time::timeout(SHUTDOWN_GRACE, open.wait_for(|open| *open == 0)).await;
        if ended.is_err() {
            tracing::error!("plans did not end in time; they end at the next start");
            self.inner.roots().values().flatten().for_each(AbortHandle::abort);
        }
        self.inner.leave().await;
    }

    /// Refuses new plans, and stops at once: tools are ended, and open plans stay open, to be gone on with at the
    /// next start.
    pub async fn suspend(&self) {
        self.inner.closed.store(true, Ordering::Release);
        self.inner.roots().values().flatten().for_each(AbortHandle::abort);
        let mut open = self.inner.open_roots.subscribe();
        // What was aborted lets go of its place as soon as it is scheduled; nothing else takes one any more.
        let _ = tokio::time::timeout(SHUTDOWN_GRACE, open.wait_for(|open| *open == 0)).await;
        self.inner.leave().await;
    }

    /// `plan_id`: the caller's own; it may have been started before.
    async fn start_plan(
        &self,
        plan_id: Option<PlanId>,
        request: StartRequest,
    ) -> Result<Started, StartError> {
        let inner = &self.inner;
        inner.check_names(&inner.shared.secrets, plan_id.as_ref(), request.context_id.as_deref())?;
        if let Some(plan_id) = &plan_id {
            inner.refuse_started(plan_id).await?;
        }
        let source = source_of(&request.document);
        let plan_id = plan_id.unwrap_or_else(|| inner.shared.ids.next_plan_id());
        let (resolved, folder) = inner.resolve(&plan_id, request.document)?;
        inner.check_secrets(&resolved)?;
        let mut inputs = resolved
            .document
            .check_inputs(&request.inputs, &folder)
            .map_err(|error| inner.inputs_refused(&error))?;
        let shared = inner.take_secret_inputs(&resolved, &mut inputs)?;
        inner.check_names(&shared.secrets, Some(&plan_id), request.context_id.as_deref())?;
        inner.check_input_names(&resolved.document, &inputs)?;
        let place = inner.take_place(&plan_id)?;
        let payload = PlanStarted {
            name: resolved.document.name.clone(),
            goal: resolved.document.goal.clone(),
            inputs,
            document_digest: Some(resolved.digest.to_string()),
            parent_plan_id: None,
            context_id: request.context_id,
            executor_id: Some(inner.shared.executor_id.to_string()),
            folder: Some(folder.to_string_lossy().into_owned()),
            document_received: source == Source::Received,
            origin: Some(request.origin),
        };
        let event = shared.event(&plan_id, &payload).map_err(|error| inner.inputs_refused(&error))?;
        // Expressions see the inputs as the event says them.
        let inputs = event.read::<PlanStarted>().map(|said| said.inputs).unwrap_or_default();
        let tree = Arc::new(Tree::new(folder, source, plan_id.clone(), inner.limits));
        let stopper = Stopper::new();
        let entry = shared.enter(plan_id.clone(), stopper.clone());
        if inner.closed.load(Ordering::Acquire) {
            // The shutdown may have looked for open plans just before this one was entered.
            return Err(StartError::Closed);
        }
        let plan = Plan {
            plan_id: plan_id.clone(),
            document: Arc::clone(&resolved.document),
            inputs,
            depth_left: resolved.document.limits.depth,
            started_at: event.timestamp(),
            stopper,
            above: Arc::default(),
            waiting_above: None,
            past: None,
        };
        let begin = Begin { event, resolved, tree, plan };
        let (answer, started) = tokio::sync::oneshot::channel();
        // A task of its own from here on: a caller that goes away does not leave a plan behind that nobody runs.
        let run = begin.run(shared, answer);
        inner.spawn_root(place, async move {
            let _entry = entry;
            run.await
        });
        let published = started.await.map_err(|_| StartError::Closed)?.map_err(|error| match error {
            PublishError::Rejected { refusal: Refusal::AlreadyStarted { plan_id }, .. } => {
                StartError::Exists { plan_id }
            }
            other => other.into(),
        })?;
        Ok(Started { plan_id, cursor: published.cursor })
    }
}

/// Whose a document is. A registered one is the operator's, whoever starts it.
const fn source_of(document: &DocumentSource) -> Source {
    match document {
        DocumentSource::Registered(_) | DocumentSource::Inline { .. } => Source::Own,
        DocumentSource::Received { .. } => Source::Received,
    }
}

/// A root that is about to start.
struct Begin {
    event: Event,
    resolved: Resolved,
    tree: Arc<Tree>,
    plan: Plan,
}

impl Begin {
    /// Publishes the start, answers, and runs the plan to its end; none if it did not start.
    async fn run(
        self,
        shared: Arc<Shared>,
        answer: Sender<Result<Published, PublishError>>,
    ) -> Option<PlanEnd> {
        let Self { event, resolved, tree, plan } = self;
        let (events, document) = (vec![event], tree.attach(&resolved));
        let published = shared.publish_within(events.clone(), document.clone(), Patience::Caller).await;
        let is_unknown = matches!(published, Err(PublishError::Unknown(_)));
        let published =
            published.and_then(|published| published.into_iter().next().ok_or(PublishError::Closed));
        let has_started = published.is_ok();
        let _ = answer.send(published);
        // Whoever asked knows that it may be stored. If it is, the tree is ours, and nobody else would run it.
        let runs = has_started || is_unknown && shared.publish(events, document).await.is_ok();
        if !runs {
            return None;
        }
        tree.is_stored(resolved.digest);
        Some(run_root(shared, tree, plan).await)
    }
}

/// Runs the root of a tree to its end.
async fn run_root(shared: Arc<Shared>, tree: Arc<Tree>, plan: Plan) -> PlanEnd {
    if let Some(work) = &shared.work {
        work.make(&tree.folder).await;
    }
    run_plan(shared, tree, plan).await
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A bus that was shut down has ended the subscription already.
        let _ = self.bus.unsubscribe(self.commands);
    }
}

impl Inner {
    fn resolve(&self, root: &PlanId, source: DocumentSource) -> Result<(Resolved, Arc<Path>), StartError> {
        match source {
            DocumentSource::Registered(name) => match self.documents.get(&name) {
                Some(resolved) => Ok((resolved.clone(), Arc::clone(&self.folder))),
                None => Err(StartError::UnknownDocument { name }),
            },
            DocumentSource::Inline { text, name, folder } => {
                let files = folder.as_deref().map_or(Folder::None, Folder::Path);
                let resolved = Document::parse_with(&text, &name, files, &self.shared.tools)
                    .map_err(|found| self.invalid(&found.to_string(), found.list()))?;
                let folder =
                    folder.map_or_else(|| Arc::clone(&self.folder), |folder| self.folder.join(folder).into());
                Ok((resolved, folder))
            }
            DocumentSource::Received { text, name } => {
                let resolved = Document::parse_with(&text, &name, Folder::None, &self.shared.tools)
                    .map_err(|found| self.invalid(&found.to_string(), found.list()))?;
                let own = self.shared.work.as_ref().and_then(|work| work.of_new(root));
                Ok((resolved, own.map_or_else(|| Arc::clone(&self.folder), Arc::from)))
            }
        }
    }

    /// Refuses a document that names a secret which there is not, or holds the value of one.
    fn check_secrets(&self, resolved: &Resolved) -> Result<(), StartError> {
        let (document, secrets) = (&resolved.document, &self.shared.secrets);
        let unknown = document.secrets().into_iter().find(|name| !secrets.contains(name));
        let message = if let Some(name) = unknown {
            format!("there is no secret named '{name}'; it has to be configured before the plan can run")
        } else if let Cow::Owned(_) = secrets.redactor().text(&resolved.body) {
            "the document holds the value of a secret, or a token; write ${secret('NAME')} in its place"
                .to_owned()
        } else {
            return Ok(());
        };
        let diagnostic = Diagnostic::of_file(&document.name, message);
        Err(self.invalid(&diagnostic.to_string(), &[diagnostic]))
    }

    /// Refuses a plan that the caller names or groups by the value of a secret: ids are in each event as they are.
    fn check_names(
        &self,
        secrets: &Secrets,
        plan_id: Option<&PlanId>,
        context_id: Option<&str>,
    ) -> Result<(), StartError> {
        let named = plan_id.map(PlanId::as_str).into_iter().chain(context_id);
        for name in named {
            if let Cow::Owned(_) = secrets.redactor().text(name) {
                let message = "the id of the plan or of its context holds the value of a secret".to_owned();
                return Err(StartError::Inputs { message });
            }
        }
        Ok(())
    }

    /// Takes the values of secret inputs out of `inputs`, where markers stay, and makes them secrets of the tree.
    fn take_secret_inputs(
        &self,
        resolved: &Resolved,
        inputs: &mut Object,
    ) -> Result<Arc<Shared>, StartError> {
        let given = |input| (input, inputs.get(input).and_then(Value::as_str));
        let shared = self.shared.with_inputs(resolved.document.secret_inputs().map(given));
        let shared = shared.map_err(|error| self.inputs_refused(&error))?;
        for input in resolved.document.secret_inputs() {
            inputs.insert(input.to_owned(), marker(&name_of_input(input)).into());
        }
        // Without values of configured ones: that was checked.
        if let Cow::Owned(_) = shared.secrets.redactor().text(&resolved.body) {
            return Err(self
                .inputs_refused(&"the value of a secret input is a part of the document, which is stored"));
        }
        Ok(shared)
    }

    /// Refuses an input that no event may have by its name: the plan would run with a marker.
    fn check_input_names(&self, document: &Document, inputs: &Object) -> Result<(), StartError> {
        let refused = named_like_secrets(self.shared.secrets.redactor(), document, inputs);
        refused.map_or(Ok(()), |error| Err(self.inputs_refused(&error)))
    }

    fn inputs_refused(&self, error: &impl std::fmt::Display) -> StartError {
        StartError::Inputs { message: self.shared.secrets.redactor().text(&error.to_string()).into_owned() }
    }

    /// A refused document. What is said of it may quote it.
    fn invalid(&self, message: &str, diagnostics: &[Diagnostic]) -> StartError {
        let redactor = self.shared.secrets.redactor();
        let mut diagnostics = serde_json::to_value(diagnostics).unwrap_or_default();
        redactor.value(&mut diagnostics, Edges::Whole);
        StartError::Invalid { message: redactor.text(message).into_owned(), diagnostics }
    }

    fn beating(&self) -> MutexGuard<'_, Option<Beating>> {
        self.beating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn roots(&self) -> MutexGuard<'_, HashMap<PlanId, Option<AbortHandle>>> {
        self.roots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a plan that the log has already.
    async fn refuse_started(&self, plan_id: &PlanId) -> Result<(), StartError> {
        let row = self.shared.row(plan_id).await.map_err(|error| PublishError::Refused(Arc::new(error)))?;
        match row {
            None => Ok(()),
            Some(_) => Err(StartError::Exists { plan_id: plan_id.clone() }),
        }
    }

    /// Takes one of the places for trees, until it is dropped.
    fn take_place(self: &Arc<Self>, plan_id: &PlanId) -> Result<Place, StartError> {
        let mut roots = self.roots();
        if self.closed.load(Ordering::Acquire) {
            return Err(StartError::Closed);
        }
        if roots.contains_key(plan_id) {
            return Err(StartError::Exists { plan_id: plan_id.clone() });
        }
        if roots.len() >= self.plans_max {
            return Err(StartError::TooMany { max: self.plans_max });
        }
        Ok(self.place_in(&mut roots, plan_id))
    }

    /// Takes a place for a tree that was started before, whether there is one or not; none while the engine ends.
    fn keep_place(self: &Arc<Self>, plan_id: &PlanId) -> Option<Place> {
        let mut roots = self.roots();
        let closed = self.closed.load(Ordering::Acquire) || roots.contains_key(plan_id);
        (!closed).then(|| self.place_in(&mut roots, plan_id))
    }

    fn place_in(
        self: &Arc<Self>,
        roots: &mut HashMap<PlanId, Option<AbortHandle>>,
        plan_id: &PlanId,
    ) -> Place {
        roots.insert(plan_id.clone(), None);
        self.open_roots.send_replace(roots.len());
        Place { inner: Arc::clone(self), plan_id: plan_id.clone() }
    }

    /// Runs a root to its end, as a task that keeps its place.
    fn spawn_root(
        self: &Arc<Self>,
        place: Place,
        run: impl Future<Output = Option<PlanEnd>> + Send + 'static,
    ) {
        let plan_id = place.plan_id.clone();
        let inner = Arc::clone(self);
        let task = tokio::spawn(async move {
            match AssertUnwindSafe(run).catch_unwind().await {
                Ok(Some(PlanEnd::Completed(..) | PlanEnd::Failed(..)) | None) => {}
                Ok(Some(PlanEnd::Lost)) | Err(_) => inner.end_lost(&place.plan_id).await,
            }
            // In its place, so that no more trees are cleared at a time than may run.
            if let Some(work) = &inner.shared.work {
                work.clear(&inner.shared, &place.plan_id).await;
            }
        });
        if let Some(place) = self.roots().get_mut(&plan_id) {
            *place = Some(task.abort_handle());
        }
    }
}

/// One of the places for trees.
struct Place {
    inner: Arc<Inner>,
    plan_id: PlanId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut roots = self.inner.roots();
        roots.remove(&self.plan_id);
        self.inner.open_roots.send_replace(roots.len());
    }
}

impl PlanStarter for Engine {
    fn catalog(&self) -> Vec<CatalogEntry> {
        self.inner.documents.iter().map(|(name, resolved)| catalog::entry(name, &resolved.document)).collect()
    }

    fn redact(&self, plan: Option<&PlanId>, value: &mut Value) -> bool {
        let before = value.clone();
        self.inner.shared.secrets_of(plan).redactor().value(value, Edges::Whole);
        *value != before
    }

    fn start(&self, request: StartRequest) -> BoxFuture<'_, Result<Started, StartError>> {
        Box::pin(self.start_plan(None, request))
    }

    fn start_as(&self, plan_id: PlanId, request: StartRequest) -> BoxFuture<'_, Result<Started, StartError>> {
        Box::pin(self.start_plan(Some(plan_id), request))
    }
}
