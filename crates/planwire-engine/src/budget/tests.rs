//! Random schedules of plans that each try to spend the whole budget of their tree.

use std::collections::HashMap;

use super::*;
use planwire_event::Cost;
use planwire_event::vocabulary::Usage;

/// Schedules of each test.
const SCHEDULES: u64 = 1_000;
const CHILDREN: usize = 10;
/// Acts of one schedule.
const ACTS: usize = 120;

/// Random numbers from a seed (xorshift64*).
struct Random(u64);

impl Random {
    fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }

    fn one_of(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap()
    }
}

fn plan(name: &str) -> PlanId {
    name.parse().unwrap()
}

fn child(at: usize) -> PlanId {
    plan(&format!("child-{at}"))
}

/// A call that runs, or has ended and is not known to be in the log.
struct Running {
    child: usize,
    call_id: String,
    hold: Hold,
    /// What it used, once it has ended.
    ended: Option<Usage>,
}

/// A tree of ten children, and beside it what its log would say.
struct Schedule {
    budgets: Arc<Budgets>,
    seats: Vec<Seat>,
    wake: Arc<Notify>,
    limits: TreeLimits,
    child_limits: TreeLimits,
    random: Random,
    tickets: HashMap<usize, Ticket>,
    running: Vec<Running>,
    /// What ended calls used, by child.
    used: Vec<UsageSum>,
    calls: u64,
    warned: Vec<String>,
    refused: usize,
}

impl Schedule {
    fn of(seed: u64) -> Self {
        let mut random = Random::of(seed);
        let mut some = |end: u64| (random.below(4) > 0).then(|| random.below(end) + 1);
        let limits = TreeLimits {
            tool_calls: some(60),
            tokens: some(10_000),
            cost: some(1_000).map(Cost::from_billionths),
            parallel_calls: some(5).map(|max| usize::try_from(max).unwrap()),
            parallel_plans: None,
        };
        let child_limits = TreeLimits { tokens: some(4_000), tool_calls: some(20), ..TreeLimits::NONE };
        let budgets = Budgets::of_root(plan("root"), TreeLimits::NONE);
        let mut schedule = Self {
            budgets,
            seats: Vec::new(),
            wake: Arc::default(),
            limits,
            child_limits,
            random,
            tickets: HashMap::new(),
            running: Vec::new(),
            used: vec![UsageSum::default(); CHILDREN],
            calls: 0,
            warned: Vec::new(),
            refused: 0,
        };
        schedule.seats = (0..CHILDREN).map(|at| schedule.seat(at)).collect();
        schedule.limit();
        schedule
    }

    fn seat(&self, at: usize) -> Seat {
        match self.budgets.plan(&plan("root"), child(at), &self.wake) {
            Answer::Plan(seat) => seat,
            other => panic!("{other:?}"),
        }
    }

    fn limit(&self) {
        self.budgets.limit(&plan("root"), self.limits);
        (0..CHILDREN).for_each(|at| self.budgets.limit(&child(at), self.child_limits));
    }

    fn act(&mut self) {
        let at = self.random.one_of(CHILDREN);
        match self.random.below(10) {
            0..=3 => self.ask(at),
            4..=5 => self.look(at),
            6..=7 => self.end_one(),
            8 => self.log_ends(),
            _ if self.random.below(8) == 0 => self.crash(),
            _ if self.random.below(4) == 0 => drop(self.tickets.remove(&at)),
            _ => {}
        }
        self.check();
    }

    fn want(&mut self, max: u64) -> Want {
        match self.random.below(4) {
            0 => Want::None,
            1 => Want::Rest,
            // All of it.
            2 => Want::Amount(max),
            _ => Want::Amount(self.random.below(max) + 1),
        }
    }

    fn ask(&mut self, at: usize) {
        if self.tickets.contains_key(&at) {
            return;
        }
        let (tokens, cost) = (self.want(5_000), self.want(500));
        let answer = self.budgets.call(&child(at), tokens, cost, &self.wake);
        self.answered(at, answer);
    }

    fn look(&mut self, at: usize) {
        if let Some(ticket) = self.tickets.remove(&at) {
            let answer = ticket.answer();
            self.answered(at, answer);
        }
    }

    fn answered(&mut self, at: usize, answer: Answer) {
        match answer {
            Answer::Call(hold) if self.random.below(10) == 0 => drop(hold),
            Answer::Call(mut hold) => {
                let warnings = hold.announce();
                self.warn(&warnings);
                self.calls += 1;
                self.used[at].add(&UsageSum::of_call());
                let call_id = self.calls.to_string();
                self.running.push(Running { child: at, call_id, hold, ended: None });
            }
            Answer::Wait(ticket) => drop(self.tickets.insert(at, ticket)),
            Answer::Refused(refusal) => {
                self.refused += 1;
                assert!(!refusal.message().is_empty());
            }
            Answer::Plan(seat) => panic!("{seat:?}"),
        }
    }

    fn warn(&mut self, warnings: &[Warning]) {
        for warning in warnings {
            let said = format!("{} {}", warning.plan, warning.warned().limit);
            assert!(!self.warned.contains(&said), "{said} was said already");
            self.warned.push(said);
        }
    }

    /// A call ends and used no more than it had set aside.
    fn end_one(&mut self) {
        let Some(at) = (!self.running.is_empty()).then(|| self.random.one_of(self.running.len())) else {
            return;
        };
        if self.running[at].ended.is_some() {
            return;
        }
        let reserved = self.running[at].hold.reserved();
        let mut part = |most: u64| self.random.below(most + 1);
        let tokens = reserved.tokens.map(&mut part);
        let cost = reserved.cost.map(|cost| Cost::from_billionths(part(cost.billionths())));
        let usage = Usage { total_tokens: tokens, cost, ..Usage::default() };
        let warnings = self.running[at].hold.settle(&(&usage).into());
        self.running[at].ended = Some(usage);
        self.warn(&warnings);
    }

    /// The ends of calls are in the log.
    fn log_ends(&mut self) {
        for ended in self.running.extract_if(.., |call| call.ended.is_some()) {
            let usage = ended.ended.unwrap_or_default();
            self.used[ended.child].add(&(&usage).into());
        }
    }

    /// The process is gone: what was not in the log did not happen.
    fn crash(&mut self) {
        let mut root = UsageSum::default();
        self.used.iter().for_each(|used| root.add(used));
        let of = |at: usize, running: &[Running]| {
            let calls = running.iter().filter(|call| call.child == at);
            calls.map(|call| (call.call_id.clone(), Some(call.hold.reserved()))).collect()
        };
        let warned = |name: &str| {
            let said = self.warned.iter().filter_map(|said| said.split_once(' '));
            said.filter(|(plan, _)| *plan == name).map(|(_, limit)| limit.to_owned()).collect()
        };
        let open = |plan_id: PlanId, parent, used, calls| {
            let warned = warned(plan_id.as_str());
            OpenPlan { plan_id, parent, used, warned, calls }
        };
        let mut plans = vec![open(plan("root"), None, root, Vec::new())];
        for at in 0..CHILDREN {
            let used = self.used[at].clone();
            plans.push(open(child(at), Some(plan("root")), used, of(at, &self.running)));
        }
        let next = Budgets::taken_up(plans, TreeLimits::NONE);
        self.tickets.clear();
        for call in &mut self.running {
            call.hold = next.claim(&child(call.child), &call.call_id).unwrap();
            call.ended = None;
        }
        self.seats = (0..CHILDREN).map(|at| next.seat(&child(at))).collect();
        self.budgets = next;
        self.limit();
    }

    /// By the log alone, nothing exceeds what may be used.
    fn check(&self) {
        let mut sums = vec![(self.limits, (0..CHILDREN).collect::<Vec<_>>())];
        sums.extend((0..CHILDREN).map(|at| (self.child_limits, vec![at])));
        for (limits, children) in sums {
            let mut sum = UsageSum::default();
            children.iter().for_each(|at| sum.add(&self.used[*at]));
            let running: Vec<_> = self.running.iter().filter(|call| children.contains(&call.child)).collect();
            running.iter().for_each(|call| sum.add(&(&call.hold.reserved().as_usage()).into()));
            assert!(limits.tool_calls.is_none_or(|max| sum.tool_calls <= max), "{sum:?} {limits:?}");
            assert!(limits.tokens.is_none_or(|max| sum.tokens <= max), "{sum:?} {limits:?}");
            assert!(limits.cost.is_none_or(|max| sum.cost <= max), "{sum:?} {limits:?}");
            assert!(limits.parallel_calls.is_none_or(|max| running.len() <= max), "{limits:?}");
        }
    }

    /// When nothing runs any more, nobody waits.
    fn finish(&mut self) {
        for _ in 0..10 * CHILDREN {
            while self.running.iter().any(|call| call.ended.is_none()) {
                self.end_one();
            }
            self.log_ends();
            (0..CHILDREN).for_each(|at| self.look(at));
            self.check();
        }
        assert!(self.tickets.is_empty(), "{:?}", self.tickets);
    }
}

#[test]
fn ten_children_that_each_try_to_spend_all_never_exceed_it_together() {
    let (mut calls, mut refused) = (0, 0);
    for seed in 0..SCHEDULES {
        let mut schedule = Schedule::of(seed);
        (0..ACTS).for_each(|_| schedule.act());
        schedule.finish();
        calls += schedule.calls;
        refused += schedule.refused;
    }
    assert!(calls > SCHEDULES * 5 && refused > 1_000, "{calls} calls, {refused} refused");
}

/// A tree that grows at random, and who waits.
struct Growth {
    budgets: Arc<Budgets>,
    wake: Arc<Notify>,
    plans: Vec<(PlanId, Option<usize>, Option<Seat>)>,
    tickets: HashMap<usize, Ticket>,
    asked: usize,
}

impl Growth {
    fn is_leaf(&self, at: usize) -> bool {
        !self.plans.iter().any(|(_, parent, seat)| *parent == Some(at) && seat.is_some())
    }

    fn leaves(&self) -> usize {
        (1..self.plans.len()).filter(|at| self.plans[*at].2.is_some() && self.is_leaf(*at)).count()
    }

    fn grow(&mut self, parent: usize) {
        let answer = match self.tickets.remove(&parent) {
            Some(ticket) => ticket.answer(),
            None => {
                self.asked += 1;
                let child = plan(&format!("plan-{}", self.asked));
                self.budgets.plan(&self.plans[parent].0, child, &self.wake)
            }
        };
        match answer {
            Answer::Plan(seat) => self.plans.push((seat.child().clone(), Some(parent), Some(seat))),
            Answer::Wait(ticket) => drop(self.tickets.insert(parent, ticket)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn subplans_side_by_side_never_exceed_their_limit_and_a_leaf_always_gets_on() {
    for seed in 0..SCHEDULES {
        let mut random = Random::of(seed);
        let budgets = Budgets::of_root(plan("root"), TreeLimits::NONE);
        let max = random.one_of(6) + 1;
        budgets.limit(&plan("root"), TreeLimits { parallel_plans: Some(max), ..TreeLimits::NONE });
        let plans = vec![(plan("root"), None, None)];
        let mut growth = Growth { budgets, wake: Arc::default(), plans, tickets: HashMap::new(), asked: 0 };
        for _ in 0..60 {
            let at = random.one_of(growth.plans.len());
            let is_open = at == 0 || growth.plans[at].2.is_some();
            let is_leaf = growth.is_leaf(at);
            match random.below(3) {
                0 if is_leaf && at > 0 => {
                    growth.tickets.remove(&at);
                    growth.plans[at].2 = None;
                }
                _ if is_open => {
                    let (is_first, waited) = (is_leaf && at > 0, growth.tickets.contains_key(&at));
                    growth.grow(at);
                    assert!(waited || !is_first || !growth.tickets.contains_key(&at), "a leaf has to wait");
                }
                _ => {}
            }
            assert!(growth.leaves() <= max, "{} of {max}", growth.leaves());
        }
        while let Some(at) = (1..growth.plans.len()).rev().find(|at| growth.plans[*at].2.is_some()) {
            growth.tickets.remove(&at);
            growth.plans[at].2 = None;
        }
        (0..growth.plans.len()).for_each(|at| {
            if growth.tickets.contains_key(&at) {
                growth.grow(at);
            }
        });
        assert!(growth.tickets.is_empty(), "nobody is left behind");
    }
}

#[test]
fn who_came_first_is_served_first() {
    let budgets = Budgets::of_root(plan("root"), TreeLimits::NONE);
    budgets.limit(&plan("root"), TreeLimits { parallel_calls: Some(1), ..TreeLimits::NONE });
    let wake = Arc::default();
    let ask = || budgets.call(&plan("root"), Want::None, Want::None, &wake);
    let Answer::Call(first) = ask() else { panic!("there is room") };
    let (Answer::Wait(second), Answer::Wait(third)) = (ask(), ask()) else { panic!("there is none") };
    drop(first);
    let Answer::Wait(third) = third.answer() else { panic!("the second was first") };
    let Answer::Call(second) = second.answer() else { panic!("it was its turn") };
    assert!(matches!(ask(), Answer::Wait(_)));
    drop(second);
    assert!(matches!(third.answer(), Answer::Call(_)));
}

#[test]
fn call_that_reserves_nothing_takes_what_is_left_and_others_wait_for_it() {
    let budgets = Budgets::of_root(plan("root"), TreeLimits::NONE);
    budgets.limit(&plan("root"), TreeLimits { tokens: Some(100), ..TreeLimits::NONE });
    let wake = Arc::default();
    let ask = |want| budgets.call(&plan("root"), want, Want::Rest, &wake);
    let Answer::Call(mut all) = ask(Want::Rest) else { panic!("there is room") };
    assert_eq!(all.reserved(), Reserved { tokens: Some(100), cost: None });
    assert!(matches!(ask(Want::Amount(101)), Answer::Refused(_)));
    let Answer::Wait(next) = ask(Want::Amount(40)) else { panic!("all is taken") };
    assert!(matches!(budgets.call(&plan("root"), Want::None, Want::None, &wake), Answer::Call(_)));
    let usage = Usage { input_tokens: Some(50), output_tokens: Some(20), ..Usage::default() };
    assert!(all.settle(&(&usage).into()).is_empty());
    let Answer::Wait(next) = next.answer() else { panic!("its end is not in the log") };
    drop(all);
    let Answer::Refused(refusal) = next.answer() else { panic!("30 are left") };
    assert_eq!(refusal.hit().used, 70.into());
}
