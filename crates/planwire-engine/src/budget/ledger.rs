//! The sums of one tree: what each of its open plans, with all below it, has used and set aside.
//!
//! Pure and synchronous: whoever asks gets an answer or a ticket. Tickets are answered in the order in which they were
//! drawn, as far as they want the same. **Invariant:** at each plan, what is used and what is set aside are together at most
//! what may be used; only a call that used more than it had set aside can break that, and then nothing more is granted.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use planwire_event::PlanId;
use planwire_event::vocabulary::{Reserved, UsageSum};
use tokio::sync::Notify;

use super::amounts::{Amounts, Kind, Refusal, TreeLimits, Want, Warning};
use super::history::OpenPlan;
use planwire_event::Cost;

/// Share of a limit, in percent, from which on a warning is due.
pub const WARN_PERCENT: u32 = 80;

/// What there may be too little of for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Room {
    Tokens,
    Cost,
    Calls,
    Plans,
}

/// A limit that is waited for.
type Gate = (PlanId, Room);

/// What a plan asks for.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// A call that uses tokens and cost.
    Call { tokens: Want, cost: Want },
    /// A subplan.
    Plan { child: PlanId },
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A call was granted: its number, and what was set aside for it.
    Call(u64, Reserved),
    /// The subplan was granted.
    Plan(PlanId),
    /// It has to wait, with this ticket.
    Wait(u64),
    /// There will never be enough.
    Refused(Refusal),
}

/// What would come of it now.
enum Verdict {
    Grant(Reserved),
    Wait(Gate),
    Refuse(Refusal),
}

/// An open plan.
#[derive(Debug, Default)]
struct Node {
    parent: Option<PlanId>,
    limits: TreeLimits,
    used: UsageSum,
    set_aside: Amounts,
    /// Calls that run.
    calls: usize,
    /// Open subplans that have no open subplan of their own.
    leaves: usize,
    /// Open subplans right below.
    children: usize,
    warned: [bool; 3],
    /// Tickets that wait for this plan's limits.
    queues: HashMap<Room, BTreeSet<u64>>,
}

impl Node {
    fn used(&self, kind: Kind) -> u64 {
        Amounts::used(&self.used).of(kind)
    }

    /// What is neither used nor set aside, if there is a limit.
    fn left(&self, kind: Kind) -> Option<u64> {
        let max = self.limits.max(kind)?;
        Some(max.saturating_sub(self.used(kind)).saturating_sub(self.set_aside.of(kind)))
    }

    /// Whether an earlier ticket waits.
    fn is_queued(&self, room: Room, own: u64) -> bool {
        self.queues.get(&room).and_then(BTreeSet::first).is_some_and(|first| *first < own)
    }
}

/// A call that was granted and has not ended.
#[derive(Debug)]
struct Held {
    plan: PlanId,
    set_aside: Amounts,
}

#[derive(Debug)]
struct Waiting {
    plan: PlanId,
    ask: Ask,
    /// Where it waits, or what came of it.
    state: Result<Gate, Answer>,
    wake: Arc<Notify>,
}

/// The sums of one tree.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    nodes: HashMap<PlanId, Node>,
    held: HashMap<u64, Held>,
    waiting: HashMap<u64, Waiting>,
    /// Numbers of tickets and calls.
    last: u64,
}

impl Ledger {
    pub(super) fn of_root(root: PlanId) -> Self {
        Self { nodes: HashMap::from([(root, Node::default())]), ..Self::default() }
    }

    /// The sums of a tree whose open plans are these, parents first. Gives the numbers of open calls by plan and call.
    pub(super) fn taken_up(plans: Vec<OpenPlan>) -> (Self, HashMap<(PlanId, String), u64>) {
        let (mut ledger, mut claims) = (Self::default(), HashMap::new());
        for plan in plans {
            let mut node = Node { parent: plan.parent.clone(), used: plan.used, ..Node::default() };
            for kind in plan.warned.iter().filter_map(|name| Kind::named(name)) {
                node.warned[kind.at()] = true;
            }
            if let Some(parent) = plan.parent.as_ref().and_then(|parent| ledger.nodes.get_mut(parent)) {
                parent.children += 1;
            }
            ledger.nodes.insert(plan.plan_id.clone(), node);
            for (call_id, reserved) in plan.calls {
                let set_aside = Amounts::reserved(reserved.as_ref());
                let id = ledger.hold(&plan.plan_id, set_aside);
                claims.insert((plan.plan_id.clone(), call_id), id);
            }
        }
        let is_leaf = |(plan, node): (&PlanId, &Node)| (node.children == 0).then(|| plan.clone());
        let leaves: Vec<PlanId> = ledger.nodes.iter().filter_map(is_leaf).collect();
        for above in leaves.iter().flat_map(|leaf| ledger.chain(leaf).into_iter().skip(1)).collect::<Vec<_>>()
        {
            ledger.with(&above, |node| node.leaves += 1);
        }
        (ledger, claims)
    }

    /// Says what limits hold for a plan and all below it.
    pub(super) fn limit(&mut self, plan: &PlanId, limits: TreeLimits) {
        self.with(plan, |node| node.limits = limits);
    }

    pub(super) fn is_root(&self, plan: &PlanId) -> bool {
        self.nodes.get(plan).is_none_or(|node| node.parent.is_none())
    }

    /// What a plan and all below it have used.
    pub(super) fn used(&self, plan: &PlanId) -> UsageSum {
        self.nodes.get(plan).map(|node| node.used.clone()).unwrap_or_default()
    }

    /// Asks for something; whoever has to wait is woken when there is an answer.
    pub(super) fn ask(&mut self, plan: &PlanId, ask: Ask, wake: &Arc<Notify>) -> Answer {
        self.last += 1;
        let ticket = self.last;
        match self.verdict(plan, &ask, ticket) {
            Verdict::Grant(reserved) => self.grant(plan, &ask, reserved),
            Verdict::Refuse(refusal) => Answer::Refused(refusal),
            Verdict::Wait(gate) => {
                self.enqueue(&gate, ticket);
                let (plan, wake) = (plan.clone(), Arc::clone(wake));
                self.waiting.insert(ticket, Waiting { plan, ask, state: Ok(gate), wake });
                Answer::Wait(ticket)
            }
        }
    }

    /// What came of a ticket; it is used up by any answer but [`Answer::Wait`].
    pub(super) fn answer(&mut self, ticket: u64) -> Answer {
        match self.waiting.remove(&ticket) {
            Some(Waiting { state: Err(answer), .. }) => answer,
            Some(waiting) => {
                self.waiting.insert(ticket, waiting);
                Answer::Wait(ticket)
            }
            None => Answer::Wait(ticket),
        }
    }

    /// A ticket is not wanted any more; what it was granted meanwhile is given back.
    pub(super) fn withdraw(&mut self, ticket: u64) {
        match self.waiting.remove(&ticket).map(|waiting| waiting.state) {
            Some(Ok(gate)) => {
                self.dequeue(&gate, ticket);
                self.pump(vec![gate]);
            }
            Some(Err(Answer::Call(id, _))) => self.give_back(id),
            Some(Err(Answer::Plan(child))) => self.leave(&child),
            Some(Err(_)) | None => {}
        }
    }

    /// A granted call goes into the log. Gives what is to be warned of with it.
    pub(super) fn announce(&mut self, id: u64) -> Vec<Warning> {
        let chain = self.chain_of_call(id);
        self.warnings(&chain, &[Kind::Calls])
    }

    /// A granted call does not go into the log.
    pub(super) fn give_back(&mut self, id: u64) {
        for plan in self.chain_of_call(id) {
            self.with(&plan, |node| node.used.tool_calls = node.used.tool_calls.saturating_sub(1));
        }
        self.release(id);
    }

    /// A call has ended and used so much. What it had set aside beyond that stays so until the end is in the log. Gives what is
    /// to be warned of with it.
    pub(super) fn settle(&mut self, id: u64, used: &UsageSum) -> Vec<Warning> {
        let chain = self.chain_of_call(id);
        let Some(held) = self.held.get_mut(&id) else { return Vec::new() };
        let left = held.set_aside.beyond(Amounts::used(used));
        let spent = held.set_aside.beyond(left);
        held.set_aside = left;
        for plan in &chain {
            self.with(plan, |node| {
                node.used.add(used);
                node.set_aside.take(spent);
            });
        }
        self.warnings(&chain, &[Kind::Tokens, Kind::Cost])
    }

    /// The end of a call is in the log: others may use what it had set aside and did not use.
    pub(super) fn release(&mut self, id: u64) {
        let chain = self.chain_of_call(id);
        let Some(held) = self.held.remove(&id) else { return };
        for plan in &chain {
            self.with(plan, |node| {
                node.calls = node.calls.saturating_sub(1);
                node.set_aside.take(held.set_aside);
            });
        }
        let gates = |plan: PlanId| [Room::Tokens, Room::Cost, Room::Calls].map(|room| (plan.clone(), room));
        self.pump(chain.into_iter().flat_map(gates).collect());
    }

    /// What a call has set aside and not used.
    pub(super) fn set_aside(&self, id: u64) -> Reserved {
        let amounts = self.held.get(&id).map(|held| held.set_aside).unwrap_or_default();
        let given = |kind| Some(amounts.of(kind)).filter(|amount| *amount > 0);
        Reserved { tokens: given(Kind::Tokens), cost: given(Kind::Cost).map(Cost::from_billionths) }
    }

    /// A subplan has ended.
    pub(super) fn leave(&mut self, child: &PlanId) {
        let Some(node) = self.nodes.remove(child) else { return };
        let Some(parent) = node.parent else { return };
        self.with(&parent, |parent| parent.children = parent.children.saturating_sub(1));
        let chain = self.chain(&parent);
        for plan in &chain {
            let fewer = self.leaves_of_child(plan, &parent);
            self.with(plan, |node| node.leaves = node.leaves.saturating_sub(fewer));
        }
        self.pump(chain.into_iter().map(|plan| (plan, Room::Plans)).collect());
    }

    fn with(&mut self, plan: &PlanId, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(plan) {
            change(node);
        }
    }

    /// A plan and those above it.
    fn chain(&self, plan: &PlanId) -> Vec<PlanId> {
        let (mut chain, mut next) = (Vec::new(), Some(plan));
        while let Some((plan, node)) = next.and_then(|plan| self.nodes.get_key_value(plan)) {
            chain.push(plan.clone());
            next = node.parent.as_ref();
        }
        chain
    }

    fn chain_of_call(&self, id: u64) -> Vec<PlanId> {
        self.held.get(&id).map(|held| self.chain(&held.plan)).unwrap_or_default()
    }

    fn verdict(&self, plan: &PlanId, ask: &Ask, ticket: u64) -> Verdict {
        let chain = self.chain(plan);
        let nodes: Vec<(&PlanId, &Node)> =
            chain.iter().filter_map(|plan| self.nodes.get_key_value(plan)).collect();
        match ask {
            Ask::Call { tokens, cost } => call_verdict(&nodes, *tokens, *cost, ticket),
            Ask::Plan { .. } => {
                for (above, node) in nodes {
                    let more = self.leaves_of_child(above, plan);
                    let is_full = node.limits.parallel_plans.is_some_and(|max| node.leaves + more > max);
                    if more > 0 && (is_full || node.is_queued(Room::Plans, ticket)) {
                        return Verdict::Wait((above.clone(), Room::Plans));
                    }
                }
                Verdict::Grant(Reserved::default())
            }
        }
    }

    /// By how much the leaves below `above` change with one child of `parent`: the first child takes its place as a leaf.
    fn leaves_of_child(&self, above: &PlanId, parent: &PlanId) -> usize {
        let has_others = self.nodes.get(parent).is_some_and(|parent| parent.children > 0);
        usize::from(above == parent || has_others)
    }

    fn grant(&mut self, plan: &PlanId, ask: &Ask, reserved: Reserved) -> Answer {
        match ask {
            Ask::Call { .. } => {
                let id = self.hold(plan, Amounts::reserved(Some(&reserved)));
                for plan in self.chain(plan) {
                    self.with(&plan, |node| node.used.add(&UsageSum::of_call()));
                }
                Answer::Call(id, reserved)
            }
            Ask::Plan { child } => {
                for above in self.chain(plan) {
                    let more = self.leaves_of_child(&above, plan);
                    self.with(&above, |node| node.leaves += more);
                }
                self.with(plan, |parent| parent.children += 1);
                self.nodes.insert(child.clone(), Node { parent: Some(plan.clone()), ..Node::default() });
                Answer::Plan(child.clone())
            }
        }
    }

    fn hold(&mut self, plan: &PlanId, set_aside: Amounts) -> u64 {
        self.last += 1;
        self.held.insert(self.last, Held { plan: plan.clone(), set_aside });
        for plan in self.chain(plan) {
            self.with(&plan, |node| {
                node.calls += 1;
                node.set_aside.add(set_aside);
            });
        }
        self.last
    }

    fn warnings(&mut self, chain: &[PlanId], kinds: &[Kind]) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for plan in chain {
            let Some(node) = self.nodes.get_mut(plan) else { continue };
            for kind in kinds.iter().copied() {
                let (used, Some(max)) = (node.used(kind), node.limits.max(kind)) else { continue };
                let is_due = u128::from(used) * 100 >= u128::from(max) * u128::from(WARN_PERCENT);
                if is_due && !std::mem::replace(&mut node.warned[kind.at()], true) {
                    warnings.push(Warning { plan: plan.clone(), kind, used, max });
                }
            }
        }
        warnings
    }

    fn enqueue(&mut self, (plan, room): &Gate, ticket: u64) {
        self.with(plan, |node| {
            node.queues.entry(*room).or_default().insert(ticket);
        });
    }

    fn dequeue(&mut self, (plan, room): &Gate, ticket: u64) {
        self.with(plan, |node| {
            node.queues.entry(*room).or_default().remove(&ticket);
        });
    }

    /// Answers those who wait for these limits, first come first served.
    fn pump(&mut self, gates: Vec<Gate>) {
        for gate in gates {
            while let Some(ticket) = self.first_at(&gate) {
                self.dequeue(&gate, ticket);
                let Some(waiting) = self.waiting.get(&ticket) else { continue };
                let (plan, ask, wake) =
                    (waiting.plan.clone(), waiting.ask.clone(), Arc::clone(&waiting.wake));
                let state = match self.verdict(&plan, &ask, ticket) {
                    Verdict::Grant(reserved) => Err(self.grant(&plan, &ask, reserved)),
                    Verdict::Refuse(refusal) => Err(Answer::Refused(refusal)),
                    Verdict::Wait(next) => Ok(next),
                };
                let (waits_here, next) = (state.as_ref().is_ok_and(|next| *next == gate), state.clone().ok());
                if let Some(waiting) = self.waiting.get_mut(&ticket) {
                    waiting.state = state;
                }
                match next {
                    Some(next) => self.enqueue(&next, ticket),
                    None => wake.notify_one(),
                }
                if waits_here {
                    break;
                }
            }
        }
    }

    fn first_at(&self, (plan, room): &Gate) -> Option<u64> {
        self.nodes.get(plan)?.queues.get(room)?.first().copied()
    }
}

/// What comes of a call of the first of these plans, which stand below each other.
fn call_verdict(nodes: &[(&PlanId, &Node)], tokens: Want, cost: Want, ticket: u64) -> Verdict {
    let wants = [(Kind::Calls, Want::Amount(1)), (Kind::Tokens, tokens), (Kind::Cost, cost)];
    for (plan, node) in nodes {
        for (kind, want) in wants {
            let wanted = match want {
                Want::None => continue,
                Want::Amount(amount) => amount,
                Want::Rest => 1,
            };
            let (used, Some(max)) = (node.used(kind), node.limits.max(kind)) else { continue };
            if used.saturating_add(wanted) > max {
                return Verdict::Refuse(Refusal { plan: (*plan).clone(), kind, wanted, used, max });
            }
        }
    }
    for (plan, node) in nodes {
        let is_full = node.limits.parallel_calls.is_some_and(|max| node.calls >= max);
        let mut lacks = [
            (Room::Calls, node.limits.parallel_calls.is_some(), is_full),
            (Room::Tokens, false, false),
            (Room::Cost, false, false),
        ];
        for (at, kind, want) in [(1, Kind::Tokens, tokens), (2, Kind::Cost, cost)] {
            let room = if kind == Kind::Tokens { Room::Tokens } else { Room::Cost };
            let Some(left) = node.left(kind) else { continue };
            lacks[at] = match want {
                Want::None => (room, false, false),
                Want::Amount(amount) => (room, true, amount > left),
                Want::Rest => (room, true, left == 0),
            };
        }
        for (room, is_wanted, is_lacking) in lacks {
            if is_wanted && (is_lacking || node.is_queued(room, ticket)) {
                return Verdict::Wait(((*plan).clone(), room));
            }
        }
    }
    let given = |kind, want| match want {
        Want::None => None,
        Want::Amount(amount) => Some(amount),
        Want::Rest => nodes.iter().filter_map(|(_, node)| node.left(kind)).min(),
    };
    let cost = given(Kind::Cost, cost).map(Cost::from_billionths);
    Verdict::Grant(Reserved { tokens: given(Kind::Tokens, tokens), cost })
}
