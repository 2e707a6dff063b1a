//! A library that is loaded before libc into a real server, so that the n-th system call fails or is its last.
//!
//! It is compiled at test time by the C compiler that building SQLite needs anyway. The program under test is the one
//! that users get: no build of it has a seam for this.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::harness::Place;

/// What happens at the n-th call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) act: &'static str,
    pub(crate) call: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) nth: u64,
}

impl Rule {
    /// Syncs of the WAL are put off as `synchronous=NORMAL` puts them off.
    pub(crate) const SYNCHRONOUS_NORMAL: Self = Self { act: "defer", call: "sync", kind: "wal", nth: 1 };
}

/// From when on calls are counted, and whether the one that counts came.
#[derive(Debug)]
pub(crate) struct Trigger {
    arm: PathBuf,
}

impl Trigger {
    /// Calls are counted from now on.
    pub(crate) fn arm(&self) {
        std::fs::write(&self.arm, "").expect("a file");
    }

    /// When the n-th call came, if it did.
    pub(crate) fn hit_at(&self) -> Option<SystemTime> {
        std::fs::metadata(self.arm.with_extension("arm.hit")).and_then(|hit| hit.modified()).ok()
    }

    /// Whether the n-th call came.
    pub(crate) fn was_hit(&self) -> bool {
        self.arm.with_extension("arm.hit").exists()
    }
}

/// Lets every command of `place` from now on run into `rule`, until [`disarm`].
pub(crate) fn load(place: &mut Place, rule: Rule) -> Trigger {
    let arm = place.folder("shim").join("now.arm");
    // Of the rule before.
    let _ = std::fs::remove_file(&arm);
    let _ = std::fs::remove_file(arm.with_extension("arm.hit"));
    let Rule { act, call, kind, nth } = rule;
    place.set_variable("LD_PRELOAD", library());
    place.set_variable("PLANWIRE_SHIM", format!("{act} {call} {kind} {nth}"));
    place.set_variable("PLANWIRE_SHIM_ARM", &arm);
    Trigger { arm }
}

/// Commands of `place` run as they are again.
pub(crate) fn unload(place: &mut Place) {
    place.clear_variables();
}

/// Compiled once for each process.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/shim.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shim-{}.so", std::process::id()));
        let mut compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(&source);
        let status = compiler.arg("-ldl").status().expect("there is a C compiler");
        assert!(status.success(), "{compiler:?}");
        library
    })
}
