//! Moving a log between files and databases: every row as it is, and the source closed for good.
//!
//! The source is held, so that nothing is written meanwhile. All rows go to the destination, which is marked as
//! arriving and refuses everybody; it is verified and must have the source's root. Then the source is marked as moved,
//! which closes it, and last the destination's mark is taken away. **Invariant:** at no instant can both be written,
//! and before the destination is a whole log on disk the source is the log. Whatever ends a move, a repeat goes on
//! with it or begins anew.

mod tables;

use std::fmt;
use std::path::PathBuf;

use planwire_event::{LogId, Position};

#[cfg(feature = "postgres")]
pub(crate) use self::tables::{Column, LOG};
pub(crate) use self::tables::{Kind, TABLES, Table, Value};
use crate::contract::{Head, StoreError};
use crate::copying::{Stage, Told};
#[cfg(feature = "postgres")]
use crate::postgres::{PostgresDestination, PostgresOpenError, PostgresOrigin, PostgresUrl};
use crate::sqlite::{OpenError, SqliteDestination, SqliteOrigin};
use crate::verify::Flaw;

/// Where a log lies.
#[derive(Clone, Debug)]
pub enum Address {
    /// In a SQLite file.
    File(PathBuf),
    /// In PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(PostgresUrl),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            // Its text has no password.
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

/// How a move ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HowMoved {
    /// All rows were copied.
    Copied,
    /// An earlier move had copied them, and was finished.
    Finished,
    /// An earlier move had done it all.
    Before,
}

/// A log that was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The log, whose id has not changed.
    pub log_id: LogId,
    /// Its last event.
    pub head: Position,
    /// How.
    pub how: HowMoved,
}

/// Why a log was not moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// The SQLite log cannot be used.
    #[error(transparent)]
    File(#[from] OpenError),
    /// The log in PostgreSQL cannot be used.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] PostgresOpenError),
    /// Other processes have the source open.
    #[error("other processes have {from} open; end them first, so that none of their events is left behind")]
    Open {
        /// The source.
        from: String,
    },
    /// Other processes have the destination open.
    #[error("other processes have {to} open; end them first, or the log would become another one below them")]
    InUse {
        /// The destination.
        to: String,
    },
    /// Another move goes to the same place.
    #[error("another move goes to {to} at this moment")]
    Busy {
        /// The destination.
        to: String,
    },
    /// A log is there already.
    #[error("there is a log at {to} already (its last event is at position {head}); name another place")]
    Occupied {
        /// The destination.
        to: String,
        /// Its last event.
        head: Position,
    },
    /// The source was moved somewhere else, or its destination is not what it was.
    #[error("{from} was moved to {to} before; the log is there")]
    Elsewhere {
        /// The source.
        from: String,
        /// Where the log is.
        to: String,
    },
    /// What arrived is no whole log, so the source stays what it was.
    #[error("what was copied to {to} is not whole, so {from} stays the log: {flaw}")]
    NotWhole {
        /// The source.
        from: String,
        /// The destination.
        to: String,
        /// What is wrong first.
        flaw: Box<Flaw>,
    },
    /// What arrived has another root.
    #[error("what was copied to {to} is another log than {from}, which stays the log")]
    OtherRoot {
        /// The source.
        from: String,
        /// The destination.
        to: String,
    },
    /// Reading or writing failed; whether the source is closed by now is told by a repeat.
    #[error("the log can not be moved")]
    Store(#[from] StoreError),
}

/// The marker in a log that must not be written here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Moving {
    /// It was moved away.
    Away {
        /// Where it is.
        to: String,
    },
    /// It is on its way here.
    Here {
        /// Where it is still.
        from: String,
    },
}

impl Moving {
    /// Reads the columns of the marker.
    pub(crate) fn of(state: &str, place: &str) -> Option<Self> {
        match state {
            "moved" => Some(Self::Away { to: place.to_owned() }),
            "arriving" => Some(Self::Here { from: place.to_owned() }),
            _ => None,
        }
    }

    /// The columns of the marker.
    pub(crate) fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Away { to } => ("moved", to),
            Self::Here { from } => ("arriving", from),
        }
    }
}

/// The log that moves, held so that nobody writes it.
pub(crate) trait Origin {
    /// The end of the log.
    fn head(&mut self) -> Result<Head, StoreError>;
    /// Rows of a table in the order of its key, after `after`; none at its end.
    fn rows(&mut self, table: &Table, after: Option<&[Value]>) -> Result<Vec<Vec<Value>>, StoreError>;
    /// Marks it as moved to `to`, for good, and lets go of it.
    fn close(self: Box<Self>, to: &str) -> Result<(), StoreError>;
}

/// What lies where a log is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum There {
    /// Nothing, or a log without events.
    Nothing,
    /// What an unfinished move left, with its end.
    Arriving(Head),
    /// A log.
    Log(Head),
}

/// The place where the log goes, held so that nobody uses it.
pub(crate) trait Destination {
    /// What lies there.
    fn there(&mut self) -> Result<There, StoreError>;
    /// Makes room: empty tables, to be filled. From here on nobody else has the place open, or comes to have it.
    fn begin(&mut self) -> Result<(), MoveError>;
    /// Adds rows.
    fn insert(&mut self, table: &Table, rows: &[Vec<Value>]) -> Result<(), StoreError>;
    /// Brings all of it to disk, marked as arriving from `from`.
    fn arrive(&mut self, from: &str) -> Result<(), StoreError>;
    /// Verifies what arrived; gives its end.
    fn verify(&mut self, told: Told<'_>) -> Result<Result<Head, Box<Flaw>>, StoreError>;
    /// Takes the mark away: from now on it is the log.
    fn open_up(&mut self) -> Result<(), StoreError>;
}

/// Moves the log at `from` to `to`, and closes it at `from` for good.
///
/// Cursors, positions, leaves and the id of the log stay as they are.
///
/// # Errors
///
/// [`MoveError`]; unless it is [`MoveError::Store`], the source is as it was.
pub fn move_log(from: &Address, to: &Address, told: Told<'_>) -> Result<Moved, MoveError> {
    let names = (from.to_string(), to.to_string());
    let (mut origin, mut destination) = match origin(from)? {
        Found::Log(origin) => (origin, destination(to)?),
        Found::Moved { to: place, head } => return finish(&names, &place, &head, destination(to)?, told),
    };
    let head = origin.head()?;
    if let There::Log(found) = destination.there()? {
        return Err(MoveError::Occupied { to: names.1, head: found.position });
    }
    destination.begin()?;
    for table in &TABLES {
        copy(&mut *origin, &mut *destination, table, head.position, told)?;
    }
    destination.arrive(&names.0)?;
    check(&names, &mut *destination, &head, told)?;
    origin.close(&names.1)?;
    destination.open_up()?;
    Ok(Moved { log_id: head.log_id, head: head.position, how: HowMoved::Copied })
}

/// What is found where a log is to be moved from.
pub(crate) enum Found {
    /// A log, which is held now.
    Log(Box<dyn Origin>),
    /// One that was moved, with its end.
    Moved {
        /// Where to.
        to: String,
        /// Its end.
        head: Head,
    },
}

fn origin(from: &Address) -> Result<Found, MoveError> {
    match from {
        Address::File(path) => SqliteOrigin::open(path),
        #[cfg(feature = "postgres")]
        Address::Postgres(url) => PostgresOrigin::open(url),
    }
}

fn destination(to: &Address) -> Result<Box<dyn Destination>, MoveError> {
    match to {
        Address::File(path) => SqliteDestination::open(path),
        #[cfg(feature = "postgres")]
        Address::Postgres(url) => PostgresDestination::open(url),
    }
}

fn copy(
    origin: &mut dyn Origin,
    destination: &mut dyn Destination,
    table: &Table,
    head: Position,
    told: Told<'_>,
) -> Result<(), MoveError> {
    let mut after: Option<Vec<Value>> = None;
    loop {
        let rows = origin.rows(table, after.as_deref())?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some(last[..table.keys].to_vec());
        destination.insert(table, &rows)?;
        if let (tables::EVENTS, Value::Int(position)) = (table.name, &last[0]) {
            told(Stage::Copying, u64::try_from(*position).unwrap_or(0), head.get());
        }
    }
}

fn check(
    names: &(String, String),
    destination: &mut dyn Destination,
    head: &Head,
    told: Told<'_>,
) -> Result<(), MoveError> {
    let (from, to) = names.clone();
    match destination.verify(told)? {
        Err(flaw) => Err(MoveError::NotWhole { from, to, flaw }),
        Ok(found) if found != *head => Err(MoveError::OtherRoot { from, to }),
        Ok(_) => Ok(()),
    }
}

/// The source was closed before: what is left is to open the destination, if that is where the log is.
fn finish(
    names: &(String, String),
    place: &str,
    head: &Head,
    mut destination: Box<dyn Destination>,
    told: Told<'_>,
) -> Result<Moved, MoveError> {
    let moved = |how| Moved { log_id: head.log_id, head: head.position, how };
    match destination.there()? {
        There::Arriving(found) if found == *head => {
            check(names, &mut *destination, head, told)?;
            destination.open_up()?;
            Ok(moved(HowMoved::Finished))
        }
        There::Log(found) if found.log_id == head.log_id && place == names.1 => Ok(moved(HowMoved::Before)),
        _ => Err(MoveError::Elsewhere { from: names.0.clone(), to: place.to_owned() }),
    }
}
