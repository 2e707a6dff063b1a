//! All that descends from this process, which is the reaper of all of it: who it is, and what it uses.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process_group, pidfd_open, pidfd_send_signal};

use super::pid;

/// One descendant. Its number may belong to a stranger later on; number and start together never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Member {
    pid: Pid,
    /// When it started, by the kernel's clock.
    start: u64,
}

impl Member {
    /// What the kernel says of it, if it lives.
    fn stat(&self) -> Option<Stat> {
        Stat::of(self.pid).filter(|stat| stat.start == self.start)
    }

    /// Memory, of which what it shares with others counts as a part.
    fn proportional_bytes(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid.as_raw_nonzero()));
        let kib = text
            .unwrap_or_default()
            .lines()
            .find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        // It was that of a stranger if this one has ended.
        kib.filter(|_| self.stat().is_some()).map_or(0, |kib| kib * 1024)
    }
}

/// What all descendants use together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Processes that live.
    pub(super) processes: u64,
    /// Bytes of memory; what several share counts once.
    pub(super) memory_bytes: u64,
    /// CPU time, of those too that have ended.
    pub(super) cpu: Duration,
}

/// Everybody who lives at this moment, parents before their children. Who is born later is missing, so that the walk
/// comes to an end however fast the family grows.
pub(super) fn members() -> Walk {
    walk(now())
}

/// Everybody, also who is born during the walk: of each one that has been taken the children are looked for when the
/// next one is, so that who was stopped meanwhile has no later ones. It has an end only if everybody is stopped.
pub(super) fn members_as_they_come() -> Walk {
    walk(None)
}

fn walk(born_until: Option<u64>) -> Walk {
    let by_parent = if lists_children() { None } else { Some(scan()) };
    let own = getpid();
    let taken = Stat::of(own).map(|stat| Member { pid: own, start: stat.start });
    Walk { by_parent, born_until, taken, found: VecDeque::new() }
}

/// This moment, as [`Member`] has it; one tick later than the clock says, which counts whole ones.
fn now() -> Option<u64> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let (seconds, hundredths) = text.split(' ').next()?.split_once('.')?;
    let ticks = clock_ticks_per_second();
    Some(seconds.parse::<u64>().ok()? * ticks + hundredths.parse::<u64>().ok()? * ticks / 100 + 1)
}

/// Whether the kernel lists the children of a process; it can be built without that.
fn lists_children() -> bool {
    fs::exists(format!("/proc/self/task/{}/children", getpid().as_raw_nonzero())).unwrap_or(false)
}

fn children(parent: Pid) -> Vec<Pid> {
    if lists_children() { children_of(parent) } else { scan().remove(&parent).unwrap_or_default() }
}

/// Goes from parents to children.
pub(super) struct Walk {
    by_parent: Option<HashMap<Pid, Vec<Pid>>>,
    /// Who started later is not looked at.
    born_until: Option<u64>,
    /// Whose children are to be looked for.
    taken: Option<Member>,
    found: VecDeque<Member>,
}

impl Walk {
    /// Finds the children of one of us. Processes end and their numbers are given to strangers while we look: a child
    /// counts if it names its parent, and the parent is the same afterwards.
    fn look_below(&mut self, parent: Member) {
        let children = match &self.by_parent {
            Some(map) => map.get(&parent.pid).cloned().unwrap_or_default(),
            None => children_of(parent.pid),
        };
        let born_until = self.born_until.unwrap_or(u64::MAX);
        let child = |pid| {
            let stat = Stat::of(pid).filter(|stat| stat.parent == Some(parent.pid))?;
            (stat.start <= born_until).then_some(Member { pid, start: stat.start })
        };
        let found: Vec<_> = children.into_iter().filter_map(child).collect();
        if parent.stat().is_some() {
            self.found.extend(found);
        }
    }
}

impl Iterator for Walk {
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        if let Some(taken) = self.taken.take() {
            self.look_below(taken);
        }
        self.taken = self.found.pop_front();
        self.taken
    }
}

/// Sends `signal` to everybody.
pub(super) fn signal(members: &[Member], signal: Signal) {
    for member in members {
        // Whoever has ended is what was wanted.
        let Ok(descriptor) = pidfd_open(member.pid, PidfdFlags::empty()) else { continue };
        // The descriptor keeps to the process that has the number now: is it still the one that was meant?
        if member.stat().is_some() {
            let _ = pidfd_send_signal(descriptor, signal);
        }
    }
}

/// Kills the groups of our own children that lead one, each in one step: nobody in it can be faster. Nobody else reaps our
/// children, so that their numbers are theirs, and those of their groups, whatever happens meanwhile. This is not so for
/// any other group, whose number may be that of a stranger's when the signal arrives.
pub(super) fn kill_groups_of_children() {
    let own = getpid();
    for child in children(own) {
        let leads = Stat::of(child).is_some_and(|stat| stat.parent == Some(own) && stat.group == Some(child));
        if leads {
            // A group of which all have ended is what was wanted.
            let _ = kill_process_group(child, Signal::KILL);
        }
    }
}

/// What everybody uses; `memory_bytes_max` says from which sum on it is worth to look closely.
pub(super) fn usage(members: &[Member], memory_bytes_max: u64) -> Usage {
    let mut usage = Usage::default();
    let mut ticks = 0_u64;
    for stat in members.iter().filter_map(Member::stat) {
        usage.processes += 1;
        let bytes = stat.resident_pages.saturating_mul(page_size() as u64);
        usage.memory_bytes = usage.memory_bytes.saturating_add(bytes);
        ticks = stat.ticks.saturating_add(ticks);
    }
    if usage.memory_bytes > memory_bytes_max {
        usage.memory_bytes = members.iter().map(Member::proportional_bytes).sum();
    }
    usage.cpu = Duration::from_millis(ticks.saturating_mul(1_000) / clock_ticks_per_second()) + ended_cpu();
    usage
}

/// CPU time of those who have ended and whose end was noticed.
fn ended_cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Duration::ZERO };
    let micros = [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec().unsigned_abs() * 1_000_000 + time.tv_usec().unsigned_abs());
    Duration::from_micros(micros.into_iter().sum())
}

/// Bytes of memory that the largest of those had at its peak who have ended and whose end was noticed.
pub(super) fn peak_bytes() -> u64 {
    let kib = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| usage.max_rss());
    kib.unsigned_abs() * 1024
}

fn children_of(parent: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", parent.as_raw_nonzero()));
    let lists = tasks.into_iter().flatten().flatten();
    let texts = lists.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    texts.flat_map(|text| text.split_whitespace().filter_map(pid).collect::<Vec<_>>()).collect()
}

/// The children of every process.
fn scan() -> HashMap<Pid, Vec<Pid>> {
    let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
    let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    for pid in names.filter_map(|name| pid(name.to_str()?)) {
        if let Some(parent) = Stat::of(pid).and_then(|stat| stat.parent) {
            children.entry(parent).or_default().push(pid);
        }
    }
    children
}

/// Parts of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: Option<Pid>,
    /// None, as `parent`, of one that is just ending: the kernel shows -1 then.
    group: Option<Pid>,
    /// When it started, in ticks since the machine did.
    start: u64,
    /// CPU time, of those too that it has waited for.
    ticks: u64,
    resident_pages: u64,
}

impl Stat {
    fn of(pid: Pid) -> Option<Self> {
        fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?.parse().ok()
    }
}

impl FromStr for Stat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // The name before it may hold anything, also `)`. What follows begins with field 3 of proc(5).
        let fields: Vec<&str> = text.rsplit_once(") ").ok_or(())?.1.split(' ').collect();
        let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok()).ok_or(());
        Ok(Self {
            parent: fields.get(1).and_then(|text| pid(text)),
            group: fields.get(2).and_then(|text| pid(text)),
            start: number(22)?,
            ticks: [14, 15, 16, 17]
                .into_iter()
                .try_fold(0, |sum: u64, field| Ok(sum.saturating_add(number(field)?)))?,
            resident_pages: number(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_a_process_is_read_whatever_its_name_is() {
        let rest =
            "S 7 12 12 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 100 1000000 55 18446744073709551615 1 1";
        for name in ["(sh)", "(a) b (c)", "() S 9 (x)"] {
            let stat: Stat = format!("12 {name} {rest}").parse().expect("a line");
            let (parent, group) = (Pid::from_raw(7), Pid::from_raw(12));
            let expected = Stat { parent, group, start: 100, ticks: 100, resident_pages: 55 };
            assert_eq!(stat, expected);
        }
        assert_eq!("12 (sh) S 7".parse::<Stat>(), Err(()));
    }

    #[test]
    fn process_that_is_just_ending_has_no_parent_and_no_group() {
        let line =
            "12 (sh) R 0 -1 -1 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 100 0 0 18446744073709551615 0 0";
        let stat: Stat = line.parse().expect("a line");
        assert_eq!((stat.parent, stat.group, stat.start), (None, None, 100));
    }

    #[test]
    fn both_ways_to_find_children_find_the_same() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep starts");
        let own = getpid();
        let spawned = Pid::from_child(&child);
        assert!(children_of(own).contains(&spawned));
        assert!(scan().get(&own).is_some_and(|children| children.contains(&spawned)));
        let start = Stat::of(spawned).expect("it lives").start;
        let member = Member { pid: spawned, start };
        assert!(members().collect::<Vec<_>>().contains(&member));
        assert!(members_as_they_come().collect::<Vec<_>>().contains(&member));
        let late = Walk { born_until: Some(start - 1), ..members() };
        assert!(!late.collect::<Vec<_>>().contains(&member), "who is born later is missing");
        signal(&[Member { start: start + 1, ..member }], Signal::KILL);
        assert_eq!(
            child.try_wait().expect("it can be waited for"),
            None,
            "a stranger of its number lives on"
        );
        signal(&[member], Signal::KILL);
        assert!(!child.wait().expect("it ends").success());
    }
}
