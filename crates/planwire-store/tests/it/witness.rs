//! A database that lost its end, or is another one, is noticed when it is opened; going on makes another log of it.

use std::path::{Path, PathBuf};

use planwire_event::{LogId, Position};
use planwire_store::{
    EventRepository as _, LockFile, LogWriter as _, Loss, OpenError, OpenOptions, SqliteRepository,
    SqliteStore,
};
use rusqlite::Connection;

use crate::author::{Author, log_id, read_all, two_trees};
use crate::block_on::block_on;
use crate::stores::{open, options};

/// The events of [`two_trees`].
const EVENTS: u64 = 14;

/// A closed log with the events of [`two_trees`], and whoever can continue it.
fn log() -> (tempfile::TempDir, PathBuf, Author) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    let mut author = two_trees();
    let (mut writer, readers) = open(&path);
    author.commit(&mut writer);
    // The writer goes last and moves its WAL into the database.
    drop(readers);
    drop(writer);
    assert_eq!(author.head.position.get(), EVENTS);
    (folder, path, author)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// Adds notes to the log at `path`.
fn go_on(path: &Path, author: &mut Author, notes: usize) {
    let (mut writer, readers) = open(path);
    for _ in 0..notes {
        author.say("root", "acme.note", "{}").commit(&mut writer);
    }
    drop(readers);
    drop(writer);
}

/// What both who write and who read are told; neither changes anything.
fn loss(path: &Path) -> (Loss, String) {
    let files = ["", "-wal", ".head"].map(|suffix| beside(path, suffix));
    let before = files.each_ref().map(|file| std::fs::read(file).unwrap_or_default());
    let refused =
        [SqliteStore::open(path, &options()).map(drop), SqliteRepository::open_read_only(path).map(drop)];
    let [writing, reading] = refused.map(|refused| match refused {
        Err(OpenError::Loss { loss, .. }) => loss,
        other => panic!("{other:?}"),
    });
    assert_eq!(writing, reading);
    assert_eq!(SqliteStore::loss(path).unwrap().as_ref(), Some(&writing));
    assert_eq!(files.each_ref().map(|file| std::fs::read(file).unwrap_or_default()), before);
    let message = SqliteStore::open(path, &options()).unwrap_err().to_string();
    for part in ["default.db", "default.db.head", "nothing was changed", "planwire accept-loss"] {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
    (writing, message)
}

fn other_id() -> LogId {
    "ZZZZZZZZ".parse().unwrap()
}

/// Accepts the loss; the log that goes on is [`other_id`].
fn accept(path: &Path) -> (Position, (LogId, Position)) {
    let options = OpenOptions { log_id: Some(other_id()), ..options() };
    let accepted = SqliteStore::accept_loss(path, &options).unwrap().unwrap();
    assert_eq!(accepted.log_id, other_id());
    assert_eq!(SqliteStore::accept_loss(path, &options).unwrap(), None, "once is enough");
    let (mut writer, repository) = open(path);
    let head = writer.head().unwrap();
    assert_eq!((head.log_id, head.position), (other_id(), accepted.head));
    let info = block_on(repository.log_info()).unwrap();
    assert!(info.lineage.contains(&accepted.continues), "{info:?}");
    assert!(info.lineage.iter().all(|(_, to)| *to <= info.head), "{info:?}");
    (accepted.head, accepted.continues)
}

#[test]
fn older_copy_is_refused_and_what_is_missing_is_named() {
    let (_folder, path, mut author) = log();
    let copy = std::fs::read(&path).unwrap();
    go_on(&path, &mut author, 3);
    std::fs::write(&path, copy).unwrap();
    let (found, message) = loss(&path);
    let [kept, all] = [EVENTS, EVENTS + 3].map(Position::new);
    assert_eq!(found, Loss::Tail { log_id: log_id(), found: kept, witnessed: all });
    assert!(message.contains("missing: positions 15 to 17"), "{message}");
    assert_eq!(accept(&path), (kept, (log_id(), kept)));
}

#[test]
fn end_that_a_damaged_wal_lost_is_noticed_and_the_wal_is_kept() {
    let (folder, path, mut author) = log();
    let (mut writer, readers) = open(&path);
    author.say("root", "acme.note", "{}").commit(&mut writer);
    author.say("root", "acme.note", "{}").commit(&mut writer);
    let copy = folder.path().join("copy").join("default.db");
    std::fs::create_dir(copy.parent().unwrap()).unwrap();
    for suffix in ["", "-wal", ".head"] {
        std::fs::copy(beside(&path, suffix), beside(&copy, suffix)).unwrap();
    }
    drop((writer, readers));
    let mut wal = std::fs::read(beside(&copy, "-wal")).unwrap();
    let at = wal.len() - 100;
    wal[at] ^= 1;
    std::fs::write(beside(&copy, "-wal"), &wal).unwrap();
    let (found, message) = loss(&copy);
    let [kept, all] = [EVENTS + 1, EVENTS + 2].map(Position::new);
    assert_eq!(found, Loss::Tail { log_id: log_id(), found: kept, witnessed: all });
    assert!(message.contains("missing: position 16;"), "{message}");
    wal[at] ^= 1;
    std::fs::write(beside(&copy, "-wal"), &wal).unwrap();
    let (_writer, repository) = open(&copy);
    assert_eq!(read_all(&*repository), author.events, "a WAL that was repaired gives everything back");
}

#[test]
fn another_log_is_refused() {
    let (_folder, path, _) = log();
    let (_other_folder, other_path, _) = log();
    Connection::open(&other_path)
        .unwrap()
        .execute("UPDATE planwire_log SET log_id = '00000001'", [])
        .unwrap();
    std::fs::copy(&other_path, &path).unwrap();
    let (found, message) = loss(&path);
    let theirs: LogId = "00000001".parse().unwrap();
    let end = Position::new(EVENTS);
    let expected = Loss::OtherLog { found_log: theirs, found: end, witnessed_log: log_id(), witnessed: end };
    assert_eq!(found, expected);
    assert!(message.contains("it is another log: 00000001 up to position 14"), "{message}");
    assert_eq!(accept(&path), (end, (theirs, end)));
}

#[test]
fn copy_that_was_written_elsewhere_is_refused_however_long_it_is() {
    for more in [2, 3] {
        let (_folder, path, mut author) = log();
        let (_other_folder, other_path, mut other) = log();
        go_on(&path, &mut author, 2);
        other.say("root", "acme.elsewhere", "{}");
        go_on(&other_path, &mut other, more);
        std::fs::copy(&other_path, &path).unwrap();
        let (found, message) = loss(&path);
        let [witnessed, end] = [EVENTS + 2, EVENTS + 1 + more as u64].map(Position::new);
        assert_eq!(found, Loss::OtherHistory { log_id: log_id(), found: end, witnessed });
        assert!(message.contains("its history is another one"), "{message}");
        assert_eq!(accept(&path), (end, (log_id(), Position::ZERO)), "no cursor is sure to hold");
    }
}

#[test]
fn database_that_is_gone_is_not_taken_for_a_new_one() {
    for empty in [false, true] {
        let (_folder, path, _) = log();
        std::fs::remove_file(&path).unwrap();
        if empty {
            std::fs::write(&path, "").unwrap();
        }
        let (found, message) = loss(&path);
        assert_eq!(found, Loss::Gone { log_id: log_id(), witnessed: Position::new(EVENTS) });
        assert!(message.contains("up to position 14 were stored here"), "{message}");
        assert_eq!(path.exists(), empty, "nothing is made in its place");
        assert_eq!(accept(&path), (Position::ZERO, (log_id(), Position::ZERO)));
    }
}

#[test]
fn changed_lineage_is_refused_and_none_of_it_is_believed() {
    let (_folder, path, mut author) = log();
    let copy = std::fs::read(&path).unwrap();
    go_on(&path, &mut author, 1);
    std::fs::write(&path, copy).unwrap();
    accept(&path);
    Connection::open(&path).unwrap().execute("UPDATE log_lineage SET valid_to = 13", []).unwrap();
    let end = Position::new(EVENTS);
    assert_eq!(loss(&path).0, Loss::Lineage { log_id: other_id(), found: end });
    let accepted = SqliteStore::accept_loss(&path, &OpenOptions::default()).unwrap().unwrap();
    let (_writer, repository) = open(&path);
    assert_eq!(block_on(repository.log_info()).unwrap().lineage, [(other_id(), end)]);
    assert_eq!(accepted.continues, (other_id(), end));
}

#[test]
fn log_that_went_on_elsewhere_from_this_one_is_another_log() {
    // From before its end, and from its end: what it says of itself does not make it the log of this place.
    for more in [3, 0] {
        let (folder, path, mut author) = log();
        let other = folder.path().join("other.db");
        std::fs::copy(&path, &other).unwrap();
        let restored = format!(
            "UPDATE planwire_log SET log_id = '{}'; INSERT INTO log_lineage VALUES ('{}', {EVENTS})",
            other_id(),
            log_id()
        );
        Connection::open(&other).unwrap().execute_batch(&restored).unwrap();
        drop(open(&other));
        go_on(&path, &mut author, more);
        std::fs::copy(&other, &path).unwrap();
        let [found, witnessed] = [EVENTS, EVENTS + more as u64].map(Position::new);
        let expected = Loss::OtherLog { found_log: other_id(), found, witnessed_log: log_id(), witnessed };
        assert_eq!(loss(&path).0, expected);
        let accepted = SqliteStore::accept_loss(&path, &options()).unwrap().unwrap();
        assert_eq!((accepted.head, accepted.continues), (found, (other_id(), found)));
        // Together with its own witness it was put here on purpose.
        for suffix in ["", ".head"] {
            std::fs::copy(beside(&other, suffix), beside(&path, suffix)).unwrap();
        }
        drop(open(&path));
    }
}

/// The slots of a witness with their sequence numbers; the one with the higher counts.
fn slots(witness: &[u8]) -> [(u64, &[u8]); 2] {
    let (first, second) = witness.split_at(witness.len() / 2);
    [first, second].map(|slot| (u64::from_le_bytes(slot[8..16].try_into().unwrap()), slot))
}

#[test]
fn log_that_goes_on_after_a_loss_is_taken_whenever_that_is_interrupted() {
    let (_folder, path, mut author) = log();
    let older = std::fs::read(&path).unwrap();
    go_on(&path, &mut author, 3);
    std::fs::write(&path, &older).unwrap();
    let before = std::fs::read(beside(&path, ".head")).unwrap();
    accept(&path);
    let [newer, after] = ["", ".head"].map(|suffix| std::fs::read(beside(&path, suffix)).unwrap());
    // The slot that counted stays until the log has its new name.
    let [old, new] = [slots(&before), slots(&after)];
    let announced = match old[0].0 > old[1].0 {
        true => [old[0].1, new[1].1].concat(),
        false => [new[0].1, old[1].1].concat(),
    };
    let put = |database: &[u8]| {
        std::fs::write(beside(&path, ".head"), &announced).unwrap();
        std::fs::write(&path, database).unwrap();
    };
    // As if the process had ended before the log was renamed, and right after it.
    put(&older);
    let [kept, all] = [EVENTS, EVENTS + 3].map(Position::new);
    assert_eq!(loss(&path).0, Loss::Tail { log_id: log_id(), found: kept, witnessed: all });
    assert_eq!(accept(&path), (kept, (log_id(), kept)));
    put(&newer);
    SqliteRepository::open_read_only(&path).unwrap();
    assert_eq!(SqliteStore::loss(&path).unwrap(), None);
    drop(open(&path));
    // From now on it is the log of this place, and the one before is not any more.
    std::fs::write(&path, &older).unwrap();
    assert!(matches!(loss(&path).0, Loss::OtherLog { .. }));
}

#[test]
fn witness_that_is_older_missing_or_damaged_is_brought_up_to_date() {
    let (_folder, path, mut author) = log();
    let old = std::fs::read(beside(&path, ".head")).unwrap();
    go_on(&path, &mut author, 3);
    let newest = std::fs::read(beside(&path, ".head")).unwrap();
    let mut one_slot = newest.clone();
    one_slot[40] ^= 1;
    for witness in [Some(&old[..]), None, Some(&[]), Some(&[0; 8192]), Some(&one_slot), Some(&newest)] {
        match witness {
            Some(bytes) => std::fs::write(beside(&path, ".head"), bytes).unwrap(),
            None => std::fs::remove_file(beside(&path, ".head")).unwrap(),
        }
        SqliteRepository::open_read_only(&path).unwrap();
        let unchanged = std::fs::read(beside(&path, ".head")).ok();
        assert_eq!(unchanged.as_deref(), witness, "readers do not write");
        drop(open(&path));
        // Only a witness that knows the end refuses this.
        let whole = std::fs::read(&path).unwrap();
        Connection::open(&path).unwrap().execute_batch(&without_end()).unwrap();
        assert!(matches!(SqliteStore::loss(&path).unwrap(), Some(Loss::Tail { .. })));
        std::fs::write(&path, whole).unwrap();
    }
}

/// Takes the log back to the events of [`two_trees`].
fn without_end() -> String {
    let frontier: String =
        two_trees().batch.next.frontier.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "DELETE FROM plan_events WHERE id > {EVENTS}; UPDATE planwire_log SET head = {EVENTS}, frontier = x'{frontier}'"
    )
}

#[test]
fn event_that_is_missing_beyond_the_witness_is_damage_and_no_other_history() {
    for gone in [EVENTS + 2, EVENTS + 3] {
        let (_folder, path, mut author) = log();
        let old = std::fs::read(beside(&path, ".head")).unwrap();
        go_on(&path, &mut author, 3);
        std::fs::write(beside(&path, ".head"), old).unwrap();
        Connection::open(&path)
            .unwrap()
            .execute_batch(&format!("DELETE FROM plan_events WHERE id = {gone}"))
            .unwrap();
        let error = SqliteRepository::open_read_only(&path).unwrap_err();
        let OpenError::Store { source, .. } = error else { panic!("{error}") };
        assert_eq!(
            source.to_string(),
            format!("the log is damaged at position {gone}: the event is missing")
        );
    }
}

#[test]
fn loss_is_not_accepted_while_somebody_holds_the_log() {
    let (_folder, path, mut author) = log();
    let copy = std::fs::read(&path).unwrap();
    go_on(&path, &mut author, 1);
    std::fs::write(&path, copy).unwrap();
    let lock = LockFile::acquire(&LockFile::path_of(&path), &options().holder).unwrap();
    assert!(matches!(SqliteStore::accept_loss(&path, &options()), Err(OpenError::Lock(_))));
    drop(lock);
    accept(&path);
}

#[test]
fn nothing_is_accepted_where_nothing_is_lost() {
    let (_folder, path, author) = log();
    assert_eq!(SqliteStore::accept_loss(&path, &OpenOptions::default()).unwrap(), None);
    let (mut writer, _readers) = open(&path);
    assert_eq!(writer.head().unwrap(), author.head);
}

#[test]
fn witness_that_cannot_be_used_is_named() {
    let (_folder, path, _) = log();
    std::fs::remove_file(beside(&path, ".head")).unwrap();
    std::fs::create_dir(beside(&path, ".head")).unwrap();
    for refused in
        [SqliteStore::open(&path, &options()).map(drop), SqliteRepository::open_read_only(&path).map(drop)]
    {
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("default.db.head can not be opened"), "{message}");
    }
}

#[test]
fn reader_beside_a_busy_writer_never_sees_a_loss() {
    let (_folder, path, mut author) = log();
    let (mut writer, _readers) = open(&path);
    let reader = {
        let path = path.clone();
        std::thread::spawn(move || (0..200).filter(|_| SqliteStore::loss(&path).unwrap().is_some()).count())
    };
    while !reader.is_finished() {
        author.say("root", "acme.note", "{}").commit(&mut writer);
    }
    assert_eq!(reader.join().unwrap(), 0);
}
