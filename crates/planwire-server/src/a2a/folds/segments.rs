//! What is known of one plan: some of its segments, each with the fold before it and its steps.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use planwire_event::Position;

use super::SEGMENT_EVENTS;
use crate::a2a::fold::{About, Step, TaskFold};

/// Segments of one plan by the position of the event before them. The first is always there, at least as the fold
/// before the plan began; others may be missing, and are read again when somebody asks.
#[derive(Debug)]
pub(super) struct Segments {
    about: Arc<About>,
    segments: BTreeMap<Position, Segment>,
    /// The place that was asked for last: others ask for the same, or for one not far behind it.
    last: Option<Last>,
    /// Counts what was asked for, to know what was not asked for lately.
    clock: u64,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Segment {
    before: Arc<TaskFold>,
    steps: Arc<Vec<Step>>,
    /// Up to here the plan has no events after the steps.
    seen: Position,
    used: u64,
    bytes: usize,
}

/// A place that was asked for, with its fold as soon as somebody has made it.
#[derive(Clone, Debug)]
struct Last {
    /// The segment.
    key: Position,
    /// Steps up to the place.
    count: usize,
    fold: Arc<OnceLock<Arc<TaskFold>>>,
}

/// A place in a plan, found: a fold before it and the steps from there.
pub(super) struct Found {
    before: Arc<TaskFold>,
    steps: Arc<Vec<Step>>,
    /// Steps that `before` has taken in.
    from: usize,
    /// Steps up to the place.
    count: usize,
    fold: Arc<OnceLock<Arc<TaskFold>>>,
}

impl Found {
    /// The fold at the place, the same for all who ask at a time. Not for under a lock: it walks the steps.
    pub(super) fn fold(&self) -> Arc<TaskFold> {
        let made = self.fold.get_or_init(|| {
            if self.from == self.count {
                return Arc::clone(&self.before);
            }
            let mut fold = (*self.before).clone();
            self.steps.iter().take(self.count).skip(self.from).for_each(|step| fold.apply(step));
            Arc::new(fold)
        });
        Arc::clone(made)
    }
}

impl Segment {
    fn new(before: Arc<TaskFold>, used: u64) -> Self {
        let (seen, bytes) = (before.cursor().position, before.weight_bytes());
        Self { before, steps: Arc::default(), seen, used, bytes }
    }

    fn end(&self) -> Position {
        self.steps.last().map_or(self.before.cursor().position, |step| step.position)
    }

    fn has_ended(&self) -> bool {
        self.steps.last().is_some_and(Step::is_end)
    }

    fn is_full(&self) -> bool {
        self.steps.len() >= SEGMENT_EVENTS
    }

    fn all(&self) -> Found {
        let (before, steps) = (Arc::clone(&self.before), Arc::clone(&self.steps));
        Found { before, from: 0, count: steps.len(), steps, fold: Arc::default() }
    }
}

impl Segments {
    /// A plan of which nothing is known but what stands in `first`: the fold before its first event.
    pub(super) fn new(first: TaskFold, bytes_max: usize) -> Self {
        let about = Arc::clone(first.about());
        let segment = Segment::new(Arc::new(first), 0);
        let bytes = segment.bytes;
        let segments = BTreeMap::from([(about.before, segment)]);
        Self { about, segments, last: None, clock: 0, bytes, bytes_max }
    }

    pub(super) const fn about(&self) -> &Arc<About> {
        &self.about
    }

    /// The plan as of `position`, if that is known.
    pub(super) fn find(&mut self, position: Position) -> Option<Found> {
        self.clock += 1;
        let (key, segment) = self.segments.range_mut(..=position).next_back()?;
        segment.used = self.clock;
        if segment.seen < position && segment.end() < position && !segment.has_ended() {
            return None;
        }
        let count = segment.steps.partition_point(|step| step.position <= position);
        let mut found = Found { count, ..segment.all() };
        match self.last.as_ref().filter(|last| last.key == *key && last.count <= count) {
            Some(last) if last.count == count => found.fold = Arc::clone(&last.fold),
            last => {
                if let Some((last, fold)) = last.and_then(|last| Some((last, last.fold.get()?))) {
                    (found.before, found.from) = (Arc::clone(fold), last.count);
                }
                self.last = Some(Last { key: *key, count, fold: Arc::clone(&found.fold) });
            }
        }
        Some(found)
    }

    /// After which position the events have to be read that are missing for `position`.
    pub(super) fn missing_after(&self, position: Position) -> Position {
        let found = self.segments.range(..=position).next_back();
        found.map_or(self.about.before, |(_, segment)| segment.end().max(segment.seen))
    }

    /// Takes in the events after `after`, up to `seen`.
    pub(super) fn add(&mut self, after: Position, steps: Vec<Step>, seen: Position) {
        let Some(mut key) = self.segments.range(..=after).next_back().map(|(key, _)| *key) else { return };
        for step in steps {
            let full = self.segments.get(&key).filter(|segment| segment.is_full());
            if let Some((end, fold)) = full.map(|segment| (segment.end(), segment.all().fold())) {
                if self.segments.contains_key(&end) {
                    // What follows is known already.
                    return;
                }
                key = end;
                let next = Segment::new(fold, self.clock);
                self.bytes += next.bytes;
                self.segments.insert(key, next);
            }
            let Some(segment) = self.segments.get_mut(&key) else { return };
            let bytes = step.weight_bytes();
            segment.seen = step.position;
            segment.bytes += bytes;
            self.bytes += bytes;
            Arc::make_mut(&mut segment.steps).push(step);
        }
        if let Some(segment) = self.segments.get_mut(&key) {
            segment.seen = segment.seen.max(seen);
        }
        self.shrink();
    }

    /// Lets go of what was not asked for lately, but never of the last segment that was asked for: first of steps,
    /// which are read again from the fold before them, then of such folds.
    fn shrink(&mut self) {
        while self.bytes > self.bytes_max {
            let Some((key, segment)) = self.oldest(true).or_else(|| self.oldest(false)) else { return };
            let emptied = Segment::new(Arc::clone(&segment.before), segment.used);
            let has_steps = !segment.steps.is_empty();
            self.bytes -= segment.bytes;
            self.last = self.last.take().filter(|last| last.key != key);
            if has_steps {
                self.bytes += emptied.bytes;
                self.segments.insert(key, emptied);
            } else {
                self.segments.remove(&key);
            }
        }
    }

    /// The segment that was not asked for for the longest time, of those with steps or of those without. The fold
    /// before the plan's first event stays.
    fn oldest(&self, has_steps: bool) -> Option<(Position, &Segment)> {
        let may_go = |key: Position, segment: &Segment| {
            segment.used < self.clock
                && segment.steps.is_empty() != has_steps
                && (has_steps || key != self.about.before)
        };
        let candidates = self.segments.iter().map(|(key, segment)| (*key, segment));
        candidates.filter(|(key, segment)| may_go(*key, segment)).min_by_key(|(_, segment)| segment.used)
    }

    /// Bytes of all that is kept.
    pub(super) fn weight_bytes(&self) -> usize {
        // The fold of the last place takes in at most what its segment has.
        let last = self.last.as_ref().and_then(|last| self.segments.get(&last.key));
        self.bytes + last.map_or(0, |segment| segment.bytes)
    }
}
