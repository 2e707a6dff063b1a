//! What a call would touch outside of the log: programs, hosts, folders, as the tool itself will find them.
//!
//! A tool says it by [`Tool::reach`](crate::Tool::reach). A rule about a kind of thing that a tool does not name
//! neither gives nor takes anything there.

use std::path::{Path, PathBuf};

use super::places::way;

/// What a call would touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Programs that it starts.
    pub programs: Vec<Program>,
    /// Servers that it connects to.
    pub hosts: Vec<Host>,
    /// Files and folders that it reads, writes or works in.
    pub places: Vec<Place>,
    /// Names of variables that it adds to the environment of its programs.
    pub variables: Vec<String>,
    /// Arguments that steer its programs as much as `argv` does. A rule that says which programs or arguments it gives
    /// gives these only if it names them.
    pub steering: Vec<&'static str>,
}

/// A program by all its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Absolute; each link on the way to it is followed by where it leads, and the file itself stands last.
    pub(super) names: Vec<PathBuf>,
}

impl Program {
    /// The program at an absolute path, which may lead through links.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { names: way(path) }
    }
}

/// A file or folder by all its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) names: Vec<PathBuf>,
    /// Whether what lies below it is touched too.
    pub(super) with_all_below: Below,
}

/// How far a call goes from a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Below {
    /// Not beyond it.
    Nothing,
    /// Into all folders below it.
    Everything,
}

impl Place {
    /// The file or folder at an absolute path, which may lead through links and need not be there yet.
    #[must_use]
    pub fn at(path: &Path, with_all_below: Below) -> Self {
        Self { names: way(path), with_all_below }
    }
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Name in lower case without a dot at its end, or address without brackets.
    pub(super) name: String,
    pub(super) port: u16,
}

impl Host {
    /// The server of a name or address, however it is written.
    #[must_use]
    pub fn new(name: &str, port: u16) -> Self {
        Self { name: super::pattern::host_name(name), port }
    }
}

impl Reach {
    /// One server and nothing else.
    #[must_use]
    pub fn host(name: &str, port: u16) -> Self {
        Self { hosts: vec![Host::new(name, port)], ..Self::default() }
    }
}
