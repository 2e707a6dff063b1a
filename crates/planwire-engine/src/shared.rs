//! What all plans of one engine share, and what all plans of one tree share.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use planwire_bus::{Attachments, EventBus, PublishError, Published, Publisher};
use planwire_event::vocabulary::{CancelRequested, InputReceived, PlanAdopted, TypedPayload};
use planwire_event::{
    Clock, Digest, Event, EventType, IdGenerator, Payload, PayloadError, PlanId, Position, Producer,
    Timestamp,
};
use planwire_store::{
    Blob, Document, EventRepository, PageLimits, PlanQuery, PlanRow, PlanScope, StoreError,
};
use tokio::sync::Semaphore;

use crate::budget::history::OpenPlan;
use crate::budget::{Budgets, TreeLimits};
use crate::document::Resolved;
use crate::document::model::Ask;
use crate::engine::EngineConfig;
use crate::keep::Keep;
use crate::moment::{AtMoment, Moment, Stage};
use crate::pause::Pauses;
use crate::policy::{Policy, Source};
use crate::question::{TREE_QUESTIONS_MAX, Waiters};
use crate::redaction::redact_payload;
use crate::secrets::{Secrets, SecretsError};
use crate::stop::{StopReason, Stopper};
use crate::tool_set::ToolSet;
use crate::work::Work;

/// Plans of one tree, the ended ones included.
pub const TREE_PLANS_MAX: usize = 50_000;

/// Plans of one tree that are open at a time. Beyond it each plan runs one subplan at a time, so that it goes on.
pub const TREE_OPEN_PLANS_MAX: usize = 2_048;

/// How often a publish that the store refused for want of space or lock is tried again, and after how long. So often
/// is a read tried again that failed.
pub const PUBLISH_TRIES_MAX: u32 = 30;
/// Pause between two tries.
pub const PUBLISH_PAUSE: Duration = Duration::from_secs(1);

/// Events and bytes of one request; a longer batch goes out in several.
const REQUEST_EVENTS: usize = 500;
const REQUEST_BYTES: usize = 2 * 1024 * 1024;

const _: () = assert!(REQUEST_EVENTS <= planwire_bus::REQUEST_EVENTS_MAX);
const _: () =
    assert!(REQUEST_BYTES + planwire_event::limits::PAYLOAD_BYTES_MAX < planwire_bus::REQUEST_BYTES_MAX);

/// What others publish about plans and their executor follows.
pub(crate) const FOLLOWED: [EventType; 5] = [
    EventType::CancelRequested,
    EventType::PauseRequested,
    EventType::ResumeRequested,
    EventType::InputReceived,
    EventType::PlanAdopted,
];

/// How long the log is asked again that does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// [`PUBLISH_TRIES_MAX`] times, and no more once nobody knows what became of a try: somebody waits.
    Caller,
    /// Until it answers: what waits is a tree of ours, which nobody else runs as long as we are there. It ends with
    /// the task that runs the tree.
    Tree,
}

/// What all plans of one engine share; a tree with secret inputs has secrets of its own, [`Shared::with_inputs`].
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) publisher: Publisher,
    pub(crate) repository: Arc<dyn EventRepository>,
    /// The producer of everything that the engine publishes, and the owner of its trees.
    pub(crate) executor_id: Arc<str>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<IdGenerator>,
    pub(crate) tools: ToolSet,
    pub(crate) secrets: Secrets,
    pub(crate) policy: Arc<Policy>,
    /// What is asked where the policy wants approval and the document does not ask.
    pub(crate) policy_ask: Arc<Ask>,
    pub(crate) calls: Arc<Semaphore>,
    pub(crate) at_moment: Option<AtMoment>,
    /// Working folders of trees whose documents came over the network, if each has its own.
    pub(crate) work: Option<Work>,
    /// Longest time of a tree.
    pub(crate) timeout_max: Option<Duration>,
    /// Whether other executors may run plans of the log.
    pub(crate) is_log_shared: bool,
    /// Who waits for answers.
    pub(crate) waiters: Arc<Waiters>,
    /// Who is paused.
    pub(crate) pauses: Arc<Pauses>,
    open: Arc<Mutex<HashMap<PlanId, Open>>>,
}

impl Shared {
    pub(crate) fn new(
        bus: &EventBus,
        clock: Arc<dyn Clock>,
        ids: Arc<IdGenerator>,
        config: &EngineConfig,
    ) -> Self {
        let executor_id: Arc<str> = ids.next_id().to_string().into();
        Self {
            publisher: bus.publisher(Producer::new(Arc::clone(&executor_id))),
            repository: Arc::clone(bus.repository()),
            executor_id,
            clock,
            ids,
            tools: config.tools.clone().with_secrets(config.secrets.clone()),
            secrets: config.secrets.clone(),
            policy: Arc::new(config.policy.clone()),
            policy_ask: Arc::new(Ask::by_policy()),
            calls: Arc::new(Semaphore::new(crate::tool_runner::CALLS_MAX)),
            at_moment: config.at_moment.clone(),
            work: config.work.as_deref().map(|parent| Work::new(parent, bus)),
            timeout_max: config.timeout_max,
            is_log_shared: config.executors.is_some(),
            waiters: Arc::default(),
            pauses: Arc::default(),
            open: Arc::default(),
        }
    }

    /// The same for one tree, whose plan has these secret inputs: see [`Secrets::with_inputs`].
    pub(crate) fn with_inputs<'a>(
        self: &Arc<Self>,
        inputs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Arc<Self>, SecretsError> {
        let mut inputs = inputs.into_iter().peekable();
        if inputs.peek().is_none() {
            return Ok(Arc::clone(self));
        }
        let secrets = self.secrets.with_inputs(inputs)?;
        Ok(Arc::new(Self { secrets, ..Self::clone(self) }))
    }

    /// Makes an event of a payload, now. No value of a secret is in it.
    pub(crate) fn event<T: TypedPayload>(
        &self,
        plan_id: &PlanId,
        payload: &T,
    ) -> Result<Event, PayloadError> {
        self.event_at(plan_id, payload, self.clock.now())
    }

    /// Makes an event of a payload, at a time that the payload counts with. No value of a secret is in it.
    ///
    /// Every event of the engine is made here.
    pub(crate) fn event_at<T: TypedPayload>(
        &self,
        plan_id: &PlanId,
        payload: &T,
        at: Timestamp,
    ) -> Result<Event, PayloadError> {
        let payload = self.payload(payload)?;
        let redacted = self.secrets.redactor().marked(&payload);
        let event = Event::new(self.ids.next_id(), T::EVENT_TYPE, plan_id.clone(), at, payload)?;
        Ok(event.with_redacted(redacted))
    }

    fn payload<T: TypedPayload>(&self, payload: &T) -> Result<Payload, PayloadError> {
        let written = Payload::of(payload)?;
        let redactor = self.secrets.redactor();
        if redactor.is_idle() {
            return Ok(written);
        }
        let mut value = written.to_value();
        if !redact_payload(redactor, &mut value) {
            return Ok(written);
        }
        Ok(Payload::of(&value)?)
    }

    /// Makes what is kept beside the log of bytes. No value of a secret is in it.
    pub(crate) fn blob(&self, bytes: &[u8]) -> Blob {
        let body = self.secrets.redactor().bytes(bytes);
        Blob { digest: Digest::of(&body), body: Arc::from(&*body) }
    }

    /// Publishes events of a tree of ours in order and returns when all are durable.
    pub(crate) async fn publish(
        &self,
        events: Vec<Event>,
        attachments: Attachments,
    ) -> Result<Vec<Published>, PublishError> {
        self.publish_within(events, attachments, Patience::Tree).await
    }

    /// Publishes events in order and returns when all are durable; then says so to the hook of crash tests.
    pub(crate) async fn publish_within(
        &self,
        events: Vec<Event>,
        attachments: Attachments,
        patience: Patience,
    ) -> Result<Vec<Published>, PublishError> {
        let hook = self.at_moment.as_ref();
        let durable = hook.map(|_| Moment::all(Stage::Durable, &events)).unwrap_or_default();
        if let Some(hook) = hook {
            hook.call(&Moment::all(Stage::Before, &events));
        }
        let mut published = Vec::with_capacity(events.len());
        let mut attachments = Some(attachments);
        for request in requests(events) {
            // What is attached belongs to the last events or is needed by none before; the first request takes it.
            let attached = attachments.take().unwrap_or_default();
            published.extend(self.publish_request(request, attached, patience).await?);
        }
        if let Some(hook) = hook {
            hook.call(&durable);
        }
        Ok(published)
    }

    /// Asks again with the same events, so that they are stored once, whatever became of the tries before.
    async fn publish_request(
        &self,
        events: Vec<Event>,
        attachments: Attachments,
        patience: Patience,
    ) -> Result<Vec<Published>, PublishError> {
        let mut tries = 1;
        // Whether nobody knows what became of a try: the answer of a later one tells.
        let mut is_open = false;
        loop {
            let error = match self.publisher.publish_with(events.clone(), attachments.clone()).await {
                Err(error @ (PublishError::Refused(_) | PublishError::Unknown(_))) => error,
                other => return other,
            };
            is_open |= matches!(error, PublishError::Unknown(_));
            let is_away = matches!(&error, PublishError::Refused(why) if is_away(why));
            let goes_on = match patience {
                Patience::Tree => is_open || is_away || tries < PUBLISH_TRIES_MAX,
                Patience::Caller => !is_open && tries < PUBLISH_TRIES_MAX,
            };
            if !goes_on {
                return Err(error);
            }
            tracing::warn!(%error, "the log did not take events of a plan; trying again");
            tokio::time::sleep(PUBLISH_PAUSE).await;
            tries = tries.saturating_add(1);
        }
    }

    /// Makes a plan known to those who may ask for its end or its pause, until the entry is dropped.
    pub(crate) fn enter(self: &Arc<Self>, plan_id: PlanId, stopper: Stopper) -> Entry {
        self.pauses.announce(&plan_id);
        self.plans().insert(plan_id.clone(), Open { stopper, secrets: self.secrets.clone() });
        Entry { shared: Arc::clone(self), plan_id }
    }

    /// Asks for the end of an open plan; says whether it is one of ours.
    pub(crate) fn stop(&self, plan_id: &PlanId, reason: StopReason) -> bool {
        let stopper = self.plans().get(plan_id).map(|open| open.stopper.clone());
        stopper.is_some_and(|stopper| {
            stopper.stop(reason);
            true
        })
    }

    /// Follows what anybody published about a plan: a request to end it, an answer.
    pub(crate) fn follow(&self, event: &Event) {
        let plan = event.plan_id();
        match event.event_type() {
            EventType::CancelRequested => {
                let Some(request) = event.read::<CancelRequested>() else { return };
                let reason = StopReason::Cancelled { by: request.requested_by, reason: request.reason };
                self.stop(plan, reason);
            }
            EventType::PauseRequested => self.pauses.pause(plan),
            EventType::ResumeRequested => self.pauses.resume(plan),
            EventType::InputReceived => {
                if let Some(answer) = event.read::<InputReceived>() {
                    self.waiters.answered(plan, answer);
                }
            }
            EventType::PlanAdopted => self.adopted(plan, event.read()),
            _ => {}
        }
    }

    /// A tree has an owner: if that is not us, nothing of it can be published here any more, and its tools end as soon
    /// as they can.
    fn adopted(&self, root: &PlanId, adopted: Option<PlanAdopted>) {
        let other = adopted.filter(|adopted| *adopted.executor_id != *self.executor_id);
        if let Some(other) = other {
            let why = format!("executor {} took its tree over", other.executor_id);
            self.stop(root, StopReason::Interrupted(why));
        }
    }

    /// Follows what was published about a plan after a position. A read that fails is tried again: for ever while the
    /// store is away, else [`PUBLISH_TRIES_MAX`] times.
    pub(crate) async fn hear(&self, plan: &PlanId, mut after: Position) -> Result<(), StoreError> {
        let mut tries = 0;
        loop {
            let types = FOLLOWED.into_iter().collect();
            let page = match self.repository.list_by_plan(plan, types, after, PageLimits::default()).await {
                Ok(page) => page,
                Err(error) if is_away(&error) || tries < PUBLISH_TRIES_MAX => {
                    tracing::warn!(%plan, %error, "the events of a plan cannot be read; trying again");
                    tokio::time::sleep(PUBLISH_PAUSE).await;
                    tries += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            page.events.iter().for_each(|stored| self.follow(&stored.event));
            if page.at_head {
                return Ok(());
            }
            (after, tries) = (page.scanned_to, 0);
        }
    }

    /// The row of a plan, if the log knows it.
    pub(crate) async fn row(&self, plan: &PlanId) -> Result<Option<PlanRow>, StoreError> {
        let scope = PlanScope::These(vec![plan.clone()]);
        let page = self.repository.plans(&PlanQuery { scope, ..PlanQuery::default() }).await?;
        Ok(page.plans.into_iter().next())
    }

    /// Whether the log says that the plan is ours. Asked where others may own plans of the log, until it answers: that
    /// it does not says nothing of the owner. What waits for it ends with its plan.
    pub(crate) async fn owns(&self, plan: &PlanId) -> bool {
        if !self.is_log_shared {
            return true;
        }
        loop {
            match self.row(plan).await {
                Ok(row) => return row.is_some_and(|row| row.owner.as_deref() == Some(&*self.executor_id)),
                Err(error) => {
                    tracing::warn!(%plan, %error, "it cannot be found out who owns the plan; trying again");
                    tokio::time::sleep(PUBLISH_PAUSE).await;
                }
            }
        }
    }

    /// Asks for the end of all open plans.
    pub(crate) fn stop_all(&self, reason: &StopReason) {
        let stoppers: Vec<_> = self.plans().values().map(|open| open.stopper.clone()).collect();
        stoppers.iter().for_each(|stopper| stopper.stop(reason.clone()));
    }

    /// The secrets of an open plan's tree; of any other plan, those of all.
    pub(crate) fn secrets_of(&self, plan: Option<&PlanId>) -> Secrets {
        let open = plan.and_then(|plan| self.plans().get(plan).map(|open| open.secrets.clone()));
        open.unwrap_or_else(|| self.secrets.clone())
    }

    fn plans(&self) -> MutexGuard<'_, HashMap<PlanId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a store failed because it does not answer now: it does again by itself.
pub(crate) const fn is_away(error: &StoreError) -> bool {
    matches!(error, StoreError::Unreachable(_) | StoreError::Exhausted { .. })
}

/// Cuts a batch into requests that the log takes.
pub(crate) fn requests(events: Vec<Event>) -> Vec<Vec<Event>> {
    let mut requests: Vec<Vec<Event>> = Vec::new();
    let mut bytes = 0;
    for event in events {
        let fits = bytes + event.weight_bytes() <= REQUEST_BYTES;
        match requests.last_mut().filter(|request| fits && request.len() < REQUEST_EVENTS) {
            Some(request) => {
                bytes += event.weight_bytes();
                request.push(event);
            }
            None => {
                bytes = event.weight_bytes();
                requests.push(vec![event]);
            }
        }
    }
    requests
}

/// What an open plan is known by.
struct Open {
    stopper: Stopper,
    /// Those of its tree.
    secrets: Secrets,
}

/// An open plan in the list of those that may be asked to end.
pub(crate) struct Entry {
    shared: Arc<Shared>,
    plan_id: PlanId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.plans().remove(&self.plan_id);
        self.shared.pauses.leave(&self.plan_id);
    }
}

/// What all plans of one tree share.
pub(crate) struct Tree {
    /// Relative paths start here. Absolute.
    pub(crate) folder: Arc<Path>,
    /// What its plans may use together.
    pub(crate) budgets: Arc<Budgets>,
    /// Whose document its root is.
    pub(crate) source: Source,
    /// What its tools keep while it runs.
    pub(crate) keep: Keep,
    plans: AtomicUsize,
    open: AtomicUsize,
    questions: AtomicUsize,
    stored: Mutex<HashSet<Digest>>,
    /// Documents that were made at run time, of the plans that were open when the tree was taken up.
    made: MadeDocuments,
}

/// Documents by their digest, as events write it.
pub(crate) type MadeDocuments = HashMap<String, Resolved>;

impl Tree {
    /// `most`: what holds for the tree, whatever its document says.
    pub(crate) fn new(folder: Arc<Path>, source: Source, root: PlanId, most: TreeLimits) -> Self {
        Self::over(folder, source, Budgets::of_root(root, most))
    }

    fn over(folder: Arc<Path>, source: Source, budgets: Arc<Budgets>) -> Self {
        let (plans, open, questions) = (AtomicUsize::new(1), AtomicUsize::new(1), AtomicUsize::new(0));
        Self {
            folder,
            source,
            budgets,
            keep: Keep::default(),
            plans,
            open,
            questions,
            stored: Mutex::default(),
            made: MadeDocuments::new(),
        }
    }

    /// A tree of which there are `plans` already, and of these `open` are open, parents first.
    pub(crate) fn taken_up(
        folder: Arc<Path>,
        source: Source,
        plans: usize,
        open: Vec<OpenPlan>,
        made: MadeDocuments,
        most: TreeLimits,
    ) -> Self {
        let (plans, count) = (AtomicUsize::new(plans), AtomicUsize::new(open.len()));
        let stored = Mutex::new(made.values().map(|document| document.digest).collect());
        let budgets = Budgets::taken_up(open, most);
        Self { plans, open: count, stored, made, ..Self::over(folder, source, budgets) }
    }

    /// The document that was made at run time for a plan that is taken up.
    pub(crate) fn made(&self, digest: &str) -> Option<&Resolved> {
        self.made.get(digest)
    }

    /// Counts one plan more, if there may be.
    pub(crate) fn add_plan(&self) -> bool {
        let added = self.plans.fetch_add(1, Ordering::Relaxed) < TREE_PLANS_MAX;
        if added {
            self.open.fetch_add(1, Ordering::Relaxed);
        } else {
            self.plans.fetch_sub(1, Ordering::Relaxed);
        }
        added
    }

    /// A plan that was added has ended.
    pub(crate) fn plan_ended(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a plan that runs a subplan already should wait with the next one.
    pub(crate) fn is_crowded(&self) -> bool {
        self.open.load(Ordering::Relaxed) >= TREE_OPEN_PLANS_MAX
    }

    /// Counts one open question more, if there may be.
    pub(crate) fn add_question(&self) -> bool {
        let added = self.questions.fetch_add(1, Ordering::Relaxed) < TREE_QUESTIONS_MAX;
        if !added {
            self.question_closed();
        }
        added
    }

    /// A question that was added is not open any more.
    pub(crate) fn question_closed(&self) {
        self.questions.fetch_sub(1, Ordering::Relaxed);
    }

    /// What to attach so that the document of a plan is stored; nothing, once [`Tree::is_stored`] was told.
    pub(crate) fn attach(&self, document: &Resolved) -> Attachments {
        let documents = self.documents_of(std::slice::from_ref(document));
        Attachments { documents, ..Attachments::default() }
    }

    /// Those of some documents that are not stored yet, each once.
    pub(crate) fn documents_of(&self, documents: &[Resolved]) -> Vec<Document> {
        let (stored, mut taken) = (self.stored(), HashSet::new());
        let new = documents
            .iter()
            .filter(|document| !stored.contains(&document.digest) && taken.insert(document.digest));
        new.map(|new| Document { digest: new.digest, body: Arc::clone(&new.body) }).collect()
    }

    /// The document of a plan of this tree is in the log.
    pub(crate) fn is_stored(&self, digest: Digest) {
        self.stored().insert(digest);
    }

    fn stored(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_is_bounded_and_says_when_it_is_crowded() {
        let tree = Tree::new(Path::new("/").into(), Source::Own, "root".parse().unwrap(), TreeLimits::NONE);
        assert!((1..TREE_OPEN_PLANS_MAX).all(|_| !tree.is_crowded() && tree.add_plan()));
        assert!(tree.is_crowded());
        tree.plan_ended();
        assert!(!tree.is_crowded());
        assert!((TREE_OPEN_PLANS_MAX..TREE_PLANS_MAX).all(|_| tree.add_plan()));
        assert!(!tree.add_plan());
    }
}
