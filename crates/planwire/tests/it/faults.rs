//! Faults of disks, clocks, memory and networks, one after the other; each is a row of `cargo xtask faults`.
//!
//! - [`chance`]: random numbers from a seed, counts of the tier that runs
//! - [`raw`]: HTTP that may break at any byte, and what was received until then
//! - [`checker`]: what publishers were told and readers were given, held against the log
//! - [`crowd`], [`author`]: publishers and readers that go on over every fault; one that waits for each answer
//! - [`reader`]: a reader that resumes over as many streams as it takes
//! - [`link`]: a network between clients and server that is slow, or a hole
//! - [`row`]: what a test of one fault has to tell
//! - [`mount`], [`shim`], [`cgroup`]: file systems and control groups of our own, and system calls that fail or are the
//!   last
//! - [`power`], [`points`], [`failing`], [`space`], [`locked`]: the power is cut; `kill -9` at chosen calls; a disk that
//!   fails, is full, is locked by another program
//! - [`flips`], [`older`]: damaged files, and files that are not those which a client knows
//! - [`replacing`]: a log that takes the place of another one, and is interrupted
//! - [`paused`], [`clock`], [`limits`], [`descriptors`], [`shutdown`]: SIGSTOP, clocks that jump, no memory, processes
//!   or file descriptors left, servers that are asked to end
//! - [`postgres`]: what happens to PostgreSQL below servers that share a log in it
//! - [`cut`], [`curl`], [`page`]: a client cut at any byte, `curl -N`, the page in a browser
//! - [`storm`], [`slow`], [`hole`]: clients that all come back at once, over a slow network, over one that loses all
//! - [`browser`]: what drives that browser
//! - [`second`], [`copies`]: a second server on a file, backups of one that is written
//! - [`panics`], [`callbacks`]: the writer panics; handlers that are slow, fail and panic
//! - [`huge`]: very long plans, and very deep ones
//! - [`tools`]: tools whose processes want to go on, and look where they should not
//! - `servers`: MCP servers whose processes want to go on, in a build that has them
//! - [`input`]: requests and documents that are none

pub(crate) mod author;
pub(crate) mod browser;
mod callbacks;
mod cgroup;
pub(crate) mod chance;
pub(crate) mod checker;
mod clock;
mod copies;
pub(crate) mod crowd;
mod curl;
mod cut;
mod descriptors;
mod failing;
mod flips;
mod hole;
mod huge;
mod input;
mod limits;
mod link;
mod locked;
mod mount;
mod older;
mod page;
mod panics;
mod paused;
mod points;
mod postgres;
mod power;
pub(crate) mod raw;
pub(crate) mod reader;
mod replacing;
pub(crate) mod row;
mod second;
#[cfg(feature = "mcp")]
mod servers;
mod shim;
mod shutdown;
mod slow;
mod space;
mod storm;
pub(crate) mod tools;
