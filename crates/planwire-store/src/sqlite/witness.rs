//! The witness of a log: a small file beside the database that says how far the log reached.
//!
//! A database that lost its end is a sound database of an earlier moment, so nothing in it can tell. The writer
//! therefore notes the head outside of it after each commit, before anybody hears of that commit. There is no fsync for
//! it: a killed process leaves it in the page cache, and after a power cut it may be older than the database, which is
//! no loss. **Invariant:** what the witness says was on disk before it was written.
//!
//! Two slots take turns, each with a sequence number and a checksum, so that a torn write leaves the slot before. A
//! slot holds the whole frontier: the leaves that a database has beyond it must lead from here to its own.
//!
//! Slots that name two logs say that the later one is about to take the place of the other ([`announce`]): whichever of
//! them is found is the right one, and no third one is.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use planwire_event::{LogId, Position};

use crate::contract::Head;
use crate::lock::private;
use crate::merkle::{Frontier, HASH_BYTES};

/// Begins each slot; the last byte is the version of the form.
const MAGIC: &[u8; 8] = b"PLWHEAD1";

/// Bytes from one slot to the next: a page, so that a torn write never harms both.
const SLOT_BYTES: usize = 4096;

/// Bytes of the file, all of which are there from the beginning: a full disk does not keep it from being rewritten.
const FILE_BYTES: usize = 2 * SLOT_BYTES;

/// Bytes of a slot before the frontier: magic, sequence, log id, position, checksum of the lineage.
const HEADER_BYTES: usize = 8 + 8 + 8 + 8 + 4;
const CHECKSUM_BYTES: usize = 4;

/// Roots that the frontier of the largest log has.
const PEAKS_MAX: usize = 64;

const _: () = assert!(HEADER_BYTES + PEAKS_MAX * HASH_BYTES + CHECKSUM_BYTES <= SLOT_BYTES);

/// What a witness says of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Testimony {
    /// The log.
    pub(crate) log_id: LogId,
    /// The Merkle tree over its events; its number of leaves is the position of the last one.
    pub(crate) frontier: Frontier,
    /// Checksum over the logs that this one continues.
    pub(crate) lineage: u32,
}

impl Testimony {
    /// What is to be said of a log with this head.
    pub(crate) fn of(head: &Head, lineage: u32) -> Self {
        Self { log_id: head.log_id, frontier: head.frontier.clone(), lineage }
    }

    /// The last event.
    pub(crate) const fn position(&self) -> Position {
        Position::new(self.frontier.leaves())
    }
}

/// What was found beside a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// What it says; none if there is no witness, or none that is whole.
    pub(crate) testimony: Option<Testimony>,
    /// What it says of the log that was about to take the place of that one.
    successor: Option<Testimony>,
    /// Whether the file is there.
    pub(crate) present: bool,
    /// Whether a slot is not what was written.
    pub(crate) damaged: bool,
    /// That of the slot with the testimony.
    sequence: u64,
}

impl Found {
    /// What it says of a log, or else of the one that should be there.
    pub(crate) fn of(&self, log_id: LogId) -> Option<&Testimony> {
        self.successor.as_ref().filter(|successor| successor.log_id == log_id).or(self.testimony.as_ref())
    }
}

/// The witness file of a database: its path with `.head` behind it.
pub(crate) fn path_of(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(".head");
    path.into()
}

/// Reads the witness of a database, also while another process rewrites it.
pub(crate) fn read(database: &Path) -> io::Result<Found> {
    let mut bytes = Vec::with_capacity(FILE_BYTES);
    match File::open(path_of(database)) {
        Ok(file) => file.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        Err(error) => return Err(error),
    };
    let slots =
        [bytes.get(..SLOT_BYTES), bytes.get(SLOT_BYTES..FILE_BYTES)].map(|slot| slot.and_then(decode));
    let damaged = bytes.len() != FILE_BYTES || slots.iter().any(Option::is_none);
    let mut slots: Vec<_> = slots.into_iter().flatten().collect();
    slots.sort_unstable_by_key(|(sequence, _)| *sequence);
    let announced = matches!(&slots[..], [(_, before), (_, newest)] if before.log_id != newest.log_id);
    let successor = if announced { slots.pop().map(|(_, successor)| successor) } else { None };
    let newest = slots.pop();
    let (sequence, testimony) = newest.map_or((0, None), |(sequence, seen)| (sequence, Some(seen)));
    Ok(Found { testimony, successor, present: true, damaged, sequence })
}

/// Announces the log that is about to take the place of the one that `found` tells of, on disk before this returns. A
/// process that dies before or after that leaves a log that can be told from any other.
///
/// Nothing is announced where there is no witness: it would know nothing of the log that is there.
pub(crate) fn announce(database: &Path, found: &Found, successor: &Testimony) -> io::Result<()> {
    if found.testimony.is_none() {
        return Ok(());
    }
    let mut witness = Witness::open(database, found, successor.lineage)?;
    witness.file.set_len(FILE_BYTES as u64)?;
    // The slot of the testimony stays.
    witness.write(successor)?;
    witness.file.sync_all()
}

/// The witness of a log that is open for writing.
#[derive(Debug)]
pub(crate) struct Witness {
    path: PathBuf,
    file: File,
    sequence: u64,
    lineage: u32,
    slot: Vec<u8>,
    /// Rewriting failed and was told.
    failing: bool,
}

impl Witness {
    /// Brings the witness of `database` up to `testimony`; makes it if there is none.
    pub(crate) fn start(database: &Path, found: &Found, testimony: &Testimony) -> io::Result<Self> {
        let mut witness = Self::open(database, found, testimony.lineage)?;
        if found.damaged || found.successor.is_some() || found.testimony.as_ref() != Some(testimony) {
            witness.file.set_len(FILE_BYTES as u64)?;
            // The slot that counts is written over last.
            for _ in 0..2 {
                witness.write(testimony)?;
                witness.file.sync_all()?;
            }
        }
        Ok(witness)
    }

    fn open(database: &Path, found: &Found, lineage: u32) -> io::Result<Self> {
        let path = path_of(database);
        let file = private(OpenOptions::new().write(true).create(true).truncate(false)).open(&path)?;
        let (sequence, slot) = (found.sequence, Vec::with_capacity(SLOT_BYTES));
        Ok(Self { path, file, sequence, lineage, slot, failing: false })
    }

    /// Notes a head that was committed. That it cannot be noted is told once: the commit has happened all the same.
    pub(crate) fn note(&mut self, head: &Head) {
        let written = self.write(&Testimony::of(head, self.lineage));
        match written {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                let path = self.path.display();
                tracing::warn!(%path, %error, "the witness of the log cannot be written; a lost end would not be noticed");
            }
            Err(_) => {}
        }
    }

    fn write(&mut self, testimony: &Testimony) -> io::Result<()> {
        let sequence = self.sequence + 1;
        encode(&mut self.slot, sequence, testimony);
        let slot = if sequence.is_multiple_of(2) { 0 } else { SLOT_BYTES };
        write_at(&mut self.file, &self.slot, slot as u64)?;
        self.sequence = sequence;
        Ok(())
    }
}

#[cfg(unix)]
fn write_at(file: &mut File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn write_at(file: &mut File, bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::io::{Seek as _, Write as _};
    file.seek(io::SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

fn encode(slot: &mut Vec<u8>, sequence: u64, testimony: &Testimony) {
    slot.clear();
    slot.extend_from_slice(MAGIC);
    slot.extend_from_slice(&sequence.to_le_bytes());
    slot.extend_from_slice(testimony.log_id.as_str().as_bytes());
    slot.extend_from_slice(&testimony.frontier.leaves().to_le_bytes());
    slot.extend_from_slice(&testimony.lineage.to_le_bytes());
    slot.extend_from_slice(&testimony.frontier.to_bytes());
    slot.extend_from_slice(&crc32c::crc32c(slot).to_le_bytes());
}

fn decode(slot: &[u8]) -> Option<(u64, Testimony)> {
    let number = |at: usize| Some(u64::from_le_bytes(slot.get(at..at + 8)?.try_into().ok()?));
    let (sequence, leaves) = (number(8)?, number(24)?);
    let end = HEADER_BYTES + leaves.count_ones() as usize * HASH_BYTES;
    let checksum = u32::from_le_bytes(slot.get(end..end + CHECKSUM_BYTES)?.try_into().ok()?);
    if !slot.starts_with(MAGIC) || crc32c::crc32c(&slot[..end]) != checksum {
        return None;
    }
    let log_id = std::str::from_utf8(&slot[16..24]).ok()?.parse().ok()?;
    let lineage = u32::from_le_bytes(slot[32..HEADER_BYTES].try_into().ok()?);
    let frontier = Frontier::from_bytes(leaves, &slot[HEADER_BYTES..end])?;
    Some((sequence, Testimony { log_id, frontier, lineage }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn testimony(leaves: u8) -> Testimony {
        let mut frontier = Frontier::default();
        (0..leaves).for_each(|leaf| frontier.push([leaf; HASH_BYTES]));
        Testimony { log_id: "7Q4M2K9A".parse().unwrap(), frontier, lineage: 7 }
    }

    fn head(testimony: &Testimony) -> Head {
        Head {
            position: testimony.position(),
            frontier: testimony.frontier.clone(),
            ..Head::empty(testimony.log_id)
        }
    }

    /// A witness that saw 100 events one by one.
    fn hundred() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let mut witness = Witness::start(&database, &Found::default(), &testimony(0)).unwrap();
        (1..=100).for_each(|leaves| witness.note(&head(&testimony(leaves))));
        (folder, database)
    }

    #[test]
    fn witness_says_the_last_head_that_it_was_told() {
        let (_folder, database) = hundred();
        let found = read(&database).unwrap();
        assert_eq!((found.testimony.as_ref(), found.damaged), (Some(&testimony(100)), false));
        assert_eq!(std::fs::metadata(path_of(&database)).unwrap().len(), FILE_BYTES as u64);
        let before = std::fs::read(path_of(&database)).unwrap();
        let mut witness = Witness::start(&database, &found, &testimony(100)).unwrap();
        assert_eq!(std::fs::read(path_of(&database)).unwrap(), before, "what is right is not written again");
        witness.note(&head(&testimony(101)));
        assert_eq!(read(&database).unwrap().testimony, Some(testimony(101)));
    }

    #[test]
    fn no_file_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(&folder.path().join("a.db")).unwrap(), Found::default());
        assert!(read(&folder.path().join("a.db\0")).is_err());
    }

    #[test]
    fn every_flipped_bit_leaves_the_slot_before_or_nothing_that_was_never_said() {
        let (_folder, database) = hundred();
        let whole = std::fs::read(path_of(&database)).unwrap();
        let used = HEADER_BYTES + 6 * HASH_BYTES + CHECKSUM_BYTES;
        for at in (0..used).chain(SLOT_BYTES..SLOT_BYTES + used) {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                std::fs::write(path_of(&database), bytes).unwrap();
                let seen = read(&database).unwrap().testimony.map(|seen| seen.position().get());
                assert!(matches!(seen, Some(99 | 100)), "byte {at}: {seen:?}");
            }
        }
    }

    #[test]
    fn damaged_witness_is_known_as_such_and_made_anew() {
        let (_folder, database) = hundred();
        let whole = std::fs::read(path_of(&database)).unwrap();
        for bytes in [&[][..], &whole[..SLOT_BYTES - 1], &[0; FILE_BYTES]] {
            std::fs::write(path_of(&database), bytes).unwrap();
            let found = read(&database).unwrap();
            assert_eq!((&found.testimony, found.present, found.damaged), (&None, true, true));
        }
        let longer = [&whole[..], &[0]].concat();
        for bytes in [&whole[..SLOT_BYTES], &longer[..]] {
            std::fs::write(path_of(&database), bytes).unwrap();
            let found = read(&database).unwrap();
            assert!(found.damaged && found.testimony.is_some());
            drop(Witness::start(&database, &found, &testimony(100)).unwrap());
            let anew = read(&database).unwrap();
            assert_eq!((anew.testimony, anew.damaged), (Some(testimony(100)), false));
        }
    }

    #[test]
    fn witness_that_cannot_be_written_keeps_no_commit_back() {
        let (_folder, database) = hundred();
        let found = read(&database).unwrap();
        let mut witness = Witness::start(&database, &found, &testimony(100)).unwrap();
        // A file that was opened for reading takes no bytes.
        witness.file = File::open(path_of(&database)).unwrap();
        (101..=103).for_each(|leaves| witness.note(&head(&testimony(leaves))));
        assert!(witness.failing);
        assert_eq!(read(&database).unwrap(), found);
    }

    #[test]
    fn largest_log_fits_into_a_slot() {
        let frontier = Frontier::from_bytes(u64::MAX, &[7; PEAKS_MAX * HASH_BYTES]).unwrap();
        let testimony = Testimony { frontier, ..testimony(0) };
        let mut slot = Vec::new();
        encode(&mut slot, 3, &testimony);
        assert_eq!(decode(&slot), Some((3, testimony)));
    }
}
