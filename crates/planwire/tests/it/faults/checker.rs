//! Holds what publishers were told and readers were given against the log.
//!
//! The log is the truth: it is read from the file by `planwire events --json` after the last server has ended. Each
//! promise is one count that must be 0.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;

/// What a publisher knows about one of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is stored here.
    Acked {
        /// Its place in the log.
        position: u64,
        /// Its place in its plan.
        seq: u64,
    },
    /// It is certainly not stored.
    Failed,
    /// Nothing: the connection broke, and the publisher asked no more.
    Unknown,
}

/// One event of a publisher.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) event_id: String,
    pub(crate) plan_id: String,
    /// Its payload, in normal form.
    pub(crate) payload: String,
    pub(crate) told: Told,
}

/// What a reader asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    /// The plan that it follows; none follows all.
    pub(crate) plan: Option<String>,
    /// The type of event that it follows; none follows all.
    pub(crate) event_type: Option<String>,
    /// The position after which it began.
    pub(crate) after: u64,
    /// The position up to which it was served; none where nothing ended it before the log's end.
    pub(crate) until: Option<u64>,
}

impl Wanted {
    /// Everything of one plan.
    pub(crate) fn plan(plan: &str) -> Self {
        Self { plan: Some(plan.to_owned()), ..Self::default() }
    }

    /// Everything of one type.
    pub(crate) fn event_type(event_type: &str) -> Self {
        Self { event_type: Some(event_type.to_owned()), ..Self::default() }
    }

    fn has(&self, line: &Line) -> bool {
        let Self { plan, event_type, after, until } = self;
        line.position > *after
            && until.is_none_or(|until| line.position <= until)
            && plan.as_ref().is_none_or(|plan| *plan == line.plan_id)
            && event_type.as_ref().is_none_or(|event_type| *event_type == line.event_type)
    }
}

/// What one reader was given, in the order in which it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) wanted: Wanted,
    /// Position, and a digest of the event's text.
    pub(crate) delivered: Vec<(u64, u64)>,
}

/// One event of the log.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) position: u64,
    pub(crate) seq: u64,
    pub(crate) event_id: String,
    pub(crate) event_type: String,
    pub(crate) plan_id: String,
    pub(crate) payload: String,
    pub(crate) digest: u64,
}

impl Line {
    /// Reads a line of `planwire events --json`.
    pub(crate) fn parse(text: &str) -> Self {
        let event: Value = serde_json::from_str(text).expect("an event in JSON");
        let text_of = |name: &str| event[name].as_str().expect("a text").to_owned();
        let number_of = |name: &str| event[name].as_u64().expect("a number");
        Self {
            position: number_of("position"),
            seq: number_of("seq"),
            event_id: text_of("event_id"),
            event_type: text_of("event_type"),
            plan_id: text_of("plan_id"),
            payload: event["payload"].to_string(),
            digest: digest(text),
        }
    }
}

/// Digest of an event's text.
pub(crate) fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// What was broken, and how much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Events of the log.
    pub(crate) stored: usize,
    /// Events that publishers were told are stored.
    pub(crate) acked: usize,
    /// Events whose publisher knows nothing.
    pub(crate) unknown: usize,
    /// Events given to readers, of all readers together.
    pub(crate) delivered: usize,
    /// What was broken.
    pub(crate) broken: Broken,
}

/// Each of these is 0, or a promise is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Acknowledged and not in the log.
    pub(crate) lost: usize,
    /// Delivered or stored, and not in the log, refused, or published by nobody.
    pub(crate) phantom: usize,
    /// Stored or delivered twice.
    pub(crate) duplicate: usize,
    /// Missing between the first and the last position, number of a plan, or event of a reader.
    pub(crate) gap: usize,
    /// Delivered after a later one.
    pub(crate) reorder: usize,
    /// Delivered or stored with other content or at another place than acknowledged.
    pub(crate) altered: usize,
    /// Delivered to a reader that asked for others.
    pub(crate) leak: usize,
    /// Refused, though nothing is wrong with it if the log is whole.
    pub(crate) refused: usize,
}

impl Counts {
    /// Adds what another check counted.
    pub(crate) const fn add(&mut self, other: Self) {
        self.stored += other.stored;
        self.acked += other.acked;
        self.unknown += other.unknown;
        self.delivered += other.delivered;
        let broken = other.broken;
        self.broken.lost += broken.lost;
        self.broken.phantom += broken.phantom;
        self.broken.duplicate += broken.duplicate;
        self.broken.gap += broken.gap;
        self.broken.reorder += broken.reorder;
        self.broken.altered += broken.altered;
        self.broken.leak += broken.leak;
        self.broken.refused += broken.refused;
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let Self { stored, acked, unknown, delivered, broken } = self;
        let Broken { lost, phantom, duplicate, gap, reorder, altered, leak, refused } = broken;
        format!(
            "stored {stored}, acked {acked}, unknown {unknown}, delivered {delivered}; \
             lost {lost}, phantom {phantom}, duplicate {duplicate}, gap {gap}, reorder {reorder}, altered {altered}, \
             leak {leak}, refused {refused}"
        )
    }
}

/// Checks everything.
pub(crate) fn check(log: &[Line], claims: &[Claim], readings: &[Reading]) -> Counts {
    let mut counts = Counts { stored: log.len(), ..Counts::default() };
    check_log(log, &mut counts.broken);
    check_claims(log, claims, &mut counts);
    check_readings(log, readings, &mut counts);
    counts
}

fn check_log(log: &[Line], broken: &mut Broken) {
    let mut ids = HashSet::new();
    let mut seqs: HashMap<&str, u64> = HashMap::new();
    for (line, position) in log.iter().zip(1..) {
        broken.gap += usize::from(line.position != position);
        broken.duplicate += usize::from(!ids.insert(line.event_id.as_str()));
        let seq = seqs.entry(&line.plan_id).or_default();
        *seq += 1;
        broken.gap += usize::from(line.seq != *seq);
    }
}

fn check_claims(log: &[Line], claims: &[Claim], counts: &mut Counts) {
    let lines: HashMap<&str, &Line> = log.iter().map(|line| (line.event_id.as_str(), line)).collect();
    let mut claimed = HashSet::new();
    for claim in claims {
        claimed.insert(claim.event_id.as_str());
        let line = lines.get(claim.event_id.as_str());
        let same = line.is_none_or(|line| line.payload == claim.payload && line.plan_id == claim.plan_id);
        counts.broken.altered += usize::from(!same);
        match (claim.told, line) {
            (Told::Acked { position, seq }, Some(line)) => {
                counts.acked += 1;
                counts.broken.altered += usize::from((line.position, line.seq) != (position, seq));
            }
            (Told::Acked { .. }, None) => {
                counts.acked += 1;
                counts.broken.lost += 1;
            }
            (Told::Failed, Some(_)) => counts.broken.phantom += 1,
            (Told::Failed, None) => counts.broken.refused += 1,
            (Told::Unknown, _) => counts.unknown += 1,
        }
    }
    let strangers = log.iter().filter(|line| !claimed.contains(line.event_id.as_str()));
    counts.broken.phantom += strangers.count();
}

fn check_readings(log: &[Line], readings: &[Reading], counts: &mut Counts) {
    let places: HashMap<u64, &Line> = log.iter().map(|line| (line.position, line)).collect();
    // Many readers ask for the same, and a log is long.
    let mut wanted: HashMap<&Wanted, usize> = HashMap::new();
    for reading in readings {
        counts.delivered += reading.delivered.len();
        let given = check_reading(&places, reading, &mut counts.broken);
        let all = *wanted
            .entry(&reading.wanted)
            .or_insert_with(|| log.iter().filter(|line| reading.wanted.has(line)).count());
        counts.broken.gap += all - given;
    }
}

/// Gives how many events of the log the reader has of those that it asked for.
fn check_reading(places: &HashMap<u64, &Line>, reading: &Reading, broken: &mut Broken) -> usize {
    let mut seen = HashSet::new();
    let mut last = 0;
    for (position, digest) in &reading.delivered {
        let Some(line) = places.get(position) else {
            broken.phantom += 1;
            continue;
        };
        if !reading.wanted.has(line) {
            broken.leak += 1;
            continue;
        }
        broken.altered += usize::from(line.digest != *digest);
        if !seen.insert(*position) {
            broken.duplicate += 1;
        } else if *position < last {
            broken.reorder += 1;
        }
        last = last.max(*position);
    }
    seen.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(position: u64, seq: u64, plan: &str) -> Line {
        let event_id = format!("e{position}");
        let event_type = if seq == 1 { "PlanStarted" } else { "acme.note" };
        Line {
            position,
            seq,
            event_id,
            event_type: event_type.into(),
            plan_id: plan.into(),
            payload: "{}".into(),
            digest: position * 7,
        }
    }

    fn log() -> Vec<Line> {
        vec![line(1, 1, "a"), line(2, 1, "b"), line(3, 2, "a")]
    }

    fn claims() -> Vec<Claim> {
        let claim = |line: &Line| Claim {
            event_id: line.event_id.clone(),
            plan_id: line.plan_id.clone(),
            payload: "{}".into(),
            told: Told::Acked { position: line.position, seq: line.seq },
        };
        log().iter().map(claim).collect()
    }

    fn broken(log: &[Line], claims: &[Claim], plan: Option<&str>, positions: &[u64]) -> Broken {
        given(log, claims, Wanted { plan: plan.map(Into::into), ..Wanted::default() }, positions)
    }

    fn given(log: &[Line], claims: &[Claim], wanted: Wanted, positions: &[u64]) -> Broken {
        let delivered = positions.iter().map(|position| (*position, position * 7)).collect();
        check(log, claims, &[Reading { wanted, delivered }]).broken
    }

    #[test]
    fn nothing_is_broken_where_all_is_well() {
        assert_eq!(broken(&log(), &claims(), None, &[1, 2, 3]), Broken::default());
        assert_eq!(broken(&log(), &claims(), Some("a"), &[1, 3]), Broken::default());
        let unsure: Vec<_> =
            claims().into_iter().map(|claim| Claim { told: Told::Unknown, ..claim }).collect();
        assert_eq!(broken(&log(), &unsure, None, &[1, 2, 3]), Broken::default());
    }

    #[test]
    fn every_fault_is_found() {
        let zero = Broken::default();
        let check = |found: Broken, expected: Broken| assert_eq!(found, expected);
        check(broken(&log(), &claims(), None, &[1, 3]), Broken { gap: 1, ..zero });
        check(broken(&log(), &claims(), None, &[1, 2, 2, 3]), Broken { duplicate: 1, ..zero });
        check(broken(&log(), &claims(), None, &[2, 1, 3]), Broken { reorder: 1, ..zero });
        check(broken(&log(), &claims(), None, &[1, 2, 3, 4]), Broken { phantom: 1, ..zero });
        check(broken(&log(), &claims(), Some("a"), &[1, 2, 3]), Broken { leak: 1, ..zero });
        check(broken(&log(), &claims(), Some("a"), &[3]), Broken { gap: 1, ..zero });
        let notes = Wanted::event_type("acme.note");
        check(given(&log(), &claims(), notes.clone(), &[3]), zero);
        check(given(&log(), &claims(), notes.clone(), &[2, 3]), Broken { leak: 1, ..zero });
        check(given(&log(), &claims(), notes, &[]), Broken { gap: 1, ..zero });
        let late = Wanted { after: 1, ..Wanted::default() };
        check(given(&log(), &claims(), late.clone(), &[2, 3]), zero);
        check(given(&log(), &claims(), late.clone(), &[1, 2, 3]), Broken { leak: 1, ..zero });
        check(given(&log(), &claims(), late, &[3]), Broken { gap: 1, ..zero });
        let cut_off = Wanted { until: Some(2), ..Wanted::default() };
        check(given(&log(), &claims(), cut_off.clone(), &[1, 2]), zero);
        check(given(&log(), &claims(), cut_off, &[1]), Broken { gap: 1, ..zero });
        check(broken(&log()[..2], &claims(), None, &[1, 2]), Broken { lost: 1, ..zero });
        check(broken(&log(), &claims()[..2], None, &[1, 2, 3]), Broken { phantom: 1, ..zero });
        let mut refused = claims();
        refused[0].told = Told::Failed;
        check(broken(&log(), &refused, None, &[1, 2, 3]), Broken { phantom: 1, ..zero });
        check(
            broken(
                &log()[..2],
                &[
                    claims()[0].clone(),
                    claims()[1].clone(),
                    Claim { told: Told::Failed, ..claims()[2].clone() },
                ],
                None,
                &[1, 2],
            ),
            Broken { refused: 1, ..zero },
        );
        let mut moved = claims();
        moved[0].told = Told::Acked { position: 2, seq: 1 };
        check(broken(&log(), &moved, None, &[1, 2, 3]), Broken { altered: 1, ..zero });
        let mut other = claims();
        other[0].payload = "{\"n\":1}".into();
        check(broken(&log(), &other, None, &[1, 2, 3]), Broken { altered: 1, ..zero });
        let mut torn = log();
        torn[1].digest = 0;
        check(broken(&torn, &claims(), None, &[1, 2, 3]), Broken { altered: 1, ..zero });
        let mut skipping = log();
        skipping[2].seq = 3;
        let mut told = claims();
        told[2].told = Told::Acked { position: 3, seq: 3 };
        check(broken(&skipping, &told, None, &[1, 2, 3]), Broken { gap: 1, ..zero });
    }
}
