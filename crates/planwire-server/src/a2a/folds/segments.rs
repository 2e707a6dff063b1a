//! What is known of one plan: some of its segments, each with the fold before it and its steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use planwire_event::Position;

use super::SEGMENT_EVENTS;
use crate::a2a::fold::{About, Step, TaskFold};

/// Segments of one plan by the position of the event before them. The first is always there, at least as the fold
/// before the plan began; others may be missing, and are read again when somebody asks.
#[derive(Debug)]
pub(super) struct Segments {
    about: Arc<About>,
    segments: BTreeMap<Position, Segment>,
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

/// A place in a plan, found: the fold before a segment and the steps from there.
pub(super) struct Found {
    before: Arc<TaskFold>,
    steps: Arc<Vec<Step>>,
    count: usize,
}

impl Found {
    /// The fold at the place. Not for under a lock: it walks the steps.
    pub(super) fn fold(&self) -> Arc<TaskFold> {
        if self.count == 0 {
            return Arc::clone(&self.before);
        }
        let mut fold = (*self.before).clone();
        self.steps.iter().take(self.count).for_each(|step| fold.apply(step));
        Arc::new(fold)
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
        Found { before, count: steps.len(), steps }
    }
}

impl Segments {
    /// A plan of which nothing is known but what stands in `first`: the fold before its first event.
    pub(super) fn new(first: TaskFold, bytes_max: usize) -> Self {
        let about = Arc::clone(first.about());
        let segment = Segment::new(Arc::new(first), 0);
        let bytes = segment.bytes;
        Self { segments: BTreeMap::from([(about.before, segment)]), about, clock: 0, bytes, bytes_max }
    }

    pub(super) const fn about(&self) -> &Arc<About> {
        &self.about
    }

    /// The plan as of `position`, if that is known.
    pub(super) fn find(&mut self, position: Position) -> Option<Found> {
        self.clock += 1;
        let (_, segment) = self.segments.range_mut(..=position).next_back()?;
        segment.used = self.clock;
        if segment.seen < position && segment.end() < position && !segment.has_ended() {
            return None;
        }
        let count = segment.steps.partition_point(|step| step.position <= position);
        Some(Found { count, ..segment.all() })
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

    /// Lets go of what was not asked for lately, but never of the last segment that was asked for.
    fn shrink(&mut self) {
        while self.bytes > self.bytes_max {
            let oldest = self
                .segments
                .iter()
                .filter(|(_, segment)| segment.used < self.clock && !segment.steps.is_empty())
                .min_by_key(|(_, segment)| segment.used);
            let Some((key, segment)) = oldest.map(|(key, segment)| (*key, segment)) else { return };
            let (before, bytes) = (Arc::clone(&segment.before), segment.bytes);
            self.bytes -= bytes;
            if key == self.about.before {
                let first = Segment::new(before, 0);
                self.bytes += first.bytes;
                self.segments.insert(key, first);
            } else {
                self.segments.remove(&key);
            }
        }
    }

    /// Bytes of all that is kept.
    pub(super) const fn weight_bytes(&self) -> usize {
        self.bytes
    }
}
