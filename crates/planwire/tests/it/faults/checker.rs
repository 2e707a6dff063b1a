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

/// What one reader was given, in the order in which it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// The plan that it follows; none follows all.
    pub(crate) plan: Option<String>,
    /// Position, and a digest of the event's text.
    pub(crate) delivered: Vec<(u64, u64)>,
}

/// One event of the log.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) position: u64,
    pub(crate) seq: u64,
    pub(crate) event_id: String,
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
    /// Delivered or stored, and not in the log, refused, published by nobody, or of another plan than asked for.
    pub(crate) phantom: usize,
    /// Stored or delivered twice.
    pub(crate) duplicate: usize,
    /// Missing between the first and the last position, number of a plan, or event of a reader.
    pub(crate) gap: usize,
    /// Delivered after a later one.
    pub(crate) reorder: usize,
    /// Delivered or stored with other content or at another place than acknowledged.
    pub(crate) altered: usize,
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
        self.broken.refused += broken.refused;
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let Self { stored, acked, unknown, delivered, broken } = self;
        let Broken { lost, phantom, duplicate, gap, reorder, altered, refused } = broken;
        format!(
            "stored {stored}, acked {acked}, unknown {unknown}, delivered {delivered}; \
             lost {lost}, phantom {phantom}, duplicate {duplicate}, gap {gap}, reorder {reorder}, altered {altered}, refused {refused}"
        )
    }
}

/// Checks everything.
pub(crate) fn check(log: &[Line], claims: &[Claim], readings: &[Reading]) -> Counts {
    let mut counts = Counts { stored: log.len(), ..Counts::default() };
    check_log(log, &mut counts.broken);
    check_claims(log, claims, &mut counts);
    for reading in readings {
        counts.delivered += reading.delivered.len();
        check_reading(log, reading, &mut counts.broken);
    }
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

fn check_reading(log: &[Line], reading: &Reading, broken: &mut Broken) {
    let wanted = |line: &&Line| reading.plan.as_ref().is_none_or(|plan| *plan == line.plan_id);
    let expected: HashMap<u64, &Line> = log.iter().filter(wanted).map(|line| (line.position, line)).collect();
    let mut seen = HashSet::new();
    let mut last = 0;
    for (position, digest) in &reading.delivered {
        let Some(line) = expected.get(position) else {
            broken.phantom += 1;
            continue;
        };
        broken.altered += usize::from(line.digest != *digest);
        if !seen.insert(*position) {
            broken.duplicate += 1;
        } else if *position < last {
            broken.reorder += 1;
        }
        last = last.max(*position);
    }
    broken.gap += expected.len() - seen.len();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(position: u64, seq: u64, plan: &str) -> Line {
        let event_id = format!("e{position}");
        Line { position, seq, event_id, plan_id: plan.into(), payload: "{}".into(), digest: position * 7 }
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
        let delivered = positions.iter().map(|position| (*position, position * 7)).collect();
        check(log, claims, &[Reading { plan: plan.map(Into::into), delivered }]).broken
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
        check(broken(&log(), &claims(), Some("a"), &[1, 2, 3]), Broken { phantom: 1, ..zero });
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
