//! Which files are opened, and what a person is told of the others.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use planwire_event::{Filter, Position};
use planwire_store::sqlite::APPLICATION_ID;
use planwire_store::{
    EventRepository as _, LockFile, LogWriter as _, OpenError, OpenOptions, PageLimits, SqliteRepository,
    SqliteStore,
};
use rusqlite::Connection;

use crate::author::{Author, log_id, read_all, two_trees};
use crate::block_on::block_on;
use crate::stores::{open, options};

/// Tells a copy of this test program that it is the writer which is to be killed.
const KILLED_WRITER: &str = "PLANWIRE_TEST_KILLED_WRITER";

fn refusal(path: &Path) -> String {
    SqliteStore::open(path, &options()).unwrap_err().to_string()
}

fn reading_refusal(path: &Path) -> String {
    SqliteRepository::open_read_only(path).unwrap_err().to_string()
}

fn check(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "'{part}' is not in: {message}");
    }
}

#[test]
fn log_is_found_again_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new").join("folder").join("default.db");
    let mut author = two_trees();
    let (mut writer, repository) = open(&path);
    author.commit(&mut writer);
    drop((writer, repository));
    let (mut writer, repository) = open(&path);
    assert_eq!(writer.head().unwrap(), author.head);
    assert_eq!(read_all(&*repository), author.events);
    author.say("root", "acme.note", "{}").commit(&mut writer);
}

#[test]
fn new_log_has_a_random_id() {
    let folder = tempfile::tempdir().unwrap();
    let id = |name: &str| {
        let (mut writer, _) = SqliteStore::open(&folder.path().join(name), &OpenOptions::default()).unwrap();
        writer.head().unwrap().log_id
    };
    assert_ne!(id("a.db"), id("b.db"));
    assert_eq!(id("a.db"), id("a.db"));
}

#[cfg(unix)]
#[test]
fn files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("planwire");
    let (mut writer, _readers) = open(&inner.join("default.db"));
    two_trees().commit(&mut writer);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inner), 0o700);
    let files: Vec<_> = std::fs::read_dir(&inner).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 3, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
}

#[test]
fn log_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    drop(open(&path));
    let other = Connection::open(&path).unwrap();
    other.pragma_update(None, "user_version", 9).unwrap();
    drop(other);
    for message in [refusal(&path), reading_refusal(&path)] {
        check(&message, &["default.db", "version 9", "up to 1", "use the newer Planwire"]);
    }
}

#[test]
fn log_of_an_older_version_is_not_changed_by_a_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    let other = Connection::open(&path).unwrap();
    other.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    other.execute_batch("CREATE TABLE old (x)").unwrap();
    drop(other);
    check(&reading_refusal(&path), &["version 0", "reads version 1", "planwire serve"]);
}

#[test]
fn database_of_another_program_is_refused_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("theirs.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(other);
    let before = std::fs::read(&path).unwrap();
    for message in [refusal(&path), reading_refusal(&path)] {
        check(&message, &["theirs.db", "another program", "0x00000000", "nothing was changed"]);
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let marked = Connection::open(&path).unwrap();
    marked.pragma_update(None, "application_id", 0x1234).unwrap();
    drop(marked);
    check(&refusal(&path), &["0x00001234"]);
}

#[test]
fn file_that_is_no_database_is_refused_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("letter.txt");
    let text = "Dear reader, ".repeat(1_000);
    std::fs::write(&path, &text).unwrap();
    for message in [refusal(&path), reading_refusal(&path)] {
        check(&message, &["letter.txt is not a database"]);
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn second_writer_is_told_who_is_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    let (writer, _readers) = open(&path);
    let mut info = options().holder;
    info.url = Some("http://127.0.0.1:7420".to_owned());
    writer.lock().update(&info).unwrap();
    let pid = format!("process {}", std::process::id());
    check(&refusal(&path), &["default.db.lock", &pid, "http://127.0.0.1:7420"]);
    assert_eq!(LockFile::holder(&LockFile::path_of(&path)).unwrap(), Some(info));
    drop(writer);
    open(&path);
}

#[test]
fn folders_and_files_that_can_not_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = SqliteStore::open(&file.join("below").join("default.db"), &options()).unwrap_err();
    assert!(matches!(&error, OpenError::Folder { .. }), "{error:?}");
    check(&error.to_string(), &["file/below can not be used"]);
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    check(&refusal(&inner), &["inner can not be opened"]);
    check(&reading_refusal(&inner), &["inner can not be opened"]);
    check(&reading_refusal(&folder.path().join("none.db")), &["there is no log at", "none.db"]);
    check(&reading_refusal(&file), &["there is no log at"]);
}

#[test]
fn reader_follows_a_log_that_another_process_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    let (mut writer, _readers) = open(&path);
    let mut author = two_trees();
    author.commit(&mut writer);
    let reader = SqliteRepository::open_read_only(&path).unwrap();
    assert_eq!(read_all(&*reader), author.events);
    author.say("root", "acme.note", "{}").commit(&mut writer);
    assert_eq!(read_all(&*reader), author.events);
}

#[test]
fn reader_holds_no_lock_and_reads_on_when_a_writer_comes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    let mut author = two_trees();
    let (mut writer, readers) = open(&path);
    author.commit(&mut writer);
    drop((writer, readers));
    let reader = SqliteRepository::open_read_only(&path).unwrap();
    assert_eq!(read_all(&*reader), author.events);
    assert_eq!(LockFile::holder(&LockFile::path_of(&path)).unwrap(), None);
    let (mut writer, _readers) = open(&path);
    author.say("root", "acme.note", "{}").commit(&mut writer);
    assert_eq!(read_all(&*reader), author.events);
}

#[test]
fn read_that_is_given_up_leaves_the_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, repository) = open(&folder.path().join("default.db"));
    let mut author = two_trees();
    author.commit(&mut writer);
    let filter = Filter::all();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    for _ in 0..1_000 {
        let mut read = repository.read_after(Position::ZERO, &filter, PageLimits::default());
        let _ = read.as_mut().poll(&mut context);
    }
    assert_eq!(read_all(&*repository), author.events);
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let repository = Arc::clone(&repository);
            std::thread::spawn(move || (0..50).map(|_| read_all(&*repository).len()).sum::<usize>())
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), 50 * author.events.len());
    }
}

#[test]
fn log_opens_while_another_process_reads_an_older_state() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    let (mut writer, readers) = open(&path);
    let mut author = two_trees();
    author.commit(&mut writer);
    let other = Connection::open(&path).unwrap();
    let count =
        || other.query_row("SELECT count(*) FROM plan_events", [], |row| row.get::<_, i64>(0)).unwrap();
    other.execute_batch("BEGIN").unwrap();
    let before = count();
    author.say("root", "acme.note", "{}").commit(&mut writer);
    drop((writer, readers));
    let impatient = OpenOptions { busy_timeout: Duration::from_millis(10), ..options() };
    let (mut writer, repository) = SqliteStore::open(&path, &impatient).unwrap();
    author.say("root", "acme.note", "{}").commit(&mut writer);
    assert_eq!(read_all(&*repository), author.events);
    assert_eq!(count(), before);
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(usize::try_from(count()), Ok(author.events.len()));
}

#[test]
fn log_that_nobody_writes_any_more_lies_in_its_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    let mut author = two_trees();
    let (mut writer, readers) = open(&path);
    author.commit(&mut writer);
    assert_eq!(read_all(&*readers), author.events, "so a reader is connected");
    drop(writer);
    let copy = folder.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    assert_eq!(read_all(&*readers), author.events, "readers read on");
    let copied = SqliteRepository::open_read_only(&copy).unwrap();
    assert_eq!(read_all(&*copied), author.events);
}

#[test]
fn wal_stays_small_under_steady_writing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    let (mut writer, repository) = open(&path);
    let mut author = Author::new(log_id());
    author.start("p", None);
    let payload = format!(r#"{{"text":"{}"}}"#, "x".repeat(60_000));
    for _ in 0..100 {
        for _ in 0..10 {
            author.say("p", "acme.note", &payload);
        }
        author.commit(&mut writer);
    }
    let bytes = |suffix: &str| std::fs::metadata(format!("{}{suffix}", path.display())).unwrap().len();
    assert!(bytes("-wal") < 40 << 20, "the WAL has {} bytes", bytes("-wal"));
    assert_eq!(block_on(repository.log_info()).unwrap().head, author.head.position);
    drop((repository, writer));
    assert!(bytes("") > 55 << 20, "the database has {} bytes", bytes(""));
}

/// A batch whose rows are on their way to the disk when its process dies is not there afterwards, and what was
/// acknowledged before is.
#[test]
fn writer_killed_between_insert_and_commit_leaves_no_part_of_the_batch() {
    if let Some(path) = std::env::var_os(KILLED_WRITER) {
        return write_until_killed(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("default.db");
    let wal = folder.path().join("default.db-wal");
    let mut child = start_killed_writer(&path);
    while std::fs::metadata(&wal).map_or(0, |wal| wal.len()) < 4 << 20 {
        assert!(child.try_wait().unwrap().is_none(), "the writer ended by itself");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut author = two_trees();
    author.stored();
    let reader = SqliteRepository::open_read_only(&path).unwrap();
    assert_eq!(read_all(&*reader), author.events);
    let (mut writer, repository) = open(&path);
    assert_eq!(writer.head().unwrap(), author.head);
    author.say("root", "acme.note", "{}").commit(&mut writer);
    assert_eq!(read_all(&*repository), author.events);
}

fn start_killed_writer(path: &Path) -> Child {
    let name = "opening::writer_killed_between_insert_and_commit_leaves_no_part_of_the_batch";
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(KILLED_WRITER, path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn write_until_killed(path: &Path) {
    let mut author = two_trees();
    let (mut writer, _readers) = open(path);
    author.commit(&mut writer);
    let payload = format!(r#"{{"text":"{}"}}"#, "x".repeat(100_000));
    for _ in 0..300 {
        author.say("root", "acme.note", &payload);
    }
    author.commit(&mut writer);
    panic!("nobody killed this writer");
}
