//! What can be had on this machine, found out by doing it in a process of its own.

use std::io::{self, Write as _};

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, LandlockStatus, Ruleset, RulesetAttr as _,
};
use serde::{Deserialize, Serialize};

use super::containment::{self, Containment, Place};
use super::limits::Limits;
use super::scratch;

/// What can be had here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// How descendants of tools are ended.
    pub containment: Containment,
    /// The version of Landlock's interface; none: the kernel has none.
    pub landlock: Option<i32>,
}

/// Reads what is asked for and says on standard output what there is; also removes what killed supervisors left.
pub(super) fn answer() -> io::Result<()> {
    let asked: Asked = serde_json::from_reader(io::stdin())?;
    scratch::sweep(&asked.temporary);
    containment::sweep();
    let answer = Place::make(asked.containment, &Limits::default())
        .map(|place| Found { containment: place.containment(), landlock: landlock() })
        .map_err(|error| error.to_string());
    serde_json::to_writer(io::stdout(), &answer)?;
    io::stdout().flush()
}

/// What is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) containment: Option<Containment>,
    pub(crate) temporary: std::path::PathBuf,
}

/// The version of Landlock's interface, if it can restrict this process.
fn landlock() -> Option<i32> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create);
    match ruleset.and_then(landlock::RulesetCreated::restrict_self).ok()?.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => {
            Some(kernel_abi.unwrap_or(effective_abi as i32))
        }
        _ => None,
    }
}
