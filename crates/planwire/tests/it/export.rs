//! Events out of a log and into another: `export`, `import`, and what an export proves.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::faults::chance::Chance;
use crate::harness::{Place, Ran, eventually};
use crate::script::{members, script};

/// A place whose log holds a script.
fn filled(events: usize) -> Place {
    let place = Place::new();
    let ran = place.run_with(&["--json", "import", "-"], &script(events));
    assert_eq!(ran.json(0)[0]["stored"], events);
    place
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Imports a file into a place, and gives what it says.
fn import(place: &Place, file: &Path) -> Value {
    place.run(&["--json", "import", text(file)]).json(0).swap_remove(0)
}

#[test]
fn ten_thousand_events_are_the_same_after_export_and_import_in_every_form_and_store() {
    let events = 10_000;
    let origin = filled(events);
    let lines = origin.run(&["export"]).text(0).to_owned();
    assert_eq!(lines, origin.run(&["--json", "events"]).text(0), "it is what events prints");
    let expected = members(&lines);
    assert_eq!(expected.len(), events);
    let folder = origin.folder("out");
    let cluster = Cluster::start("export ten_thousand_events");
    let forms: [&[&str]; 4] =
        [&[], &["--format", "cloudevents"], &["--zstd"], &["--format", "cloudevents", "--proofs"]];
    for (number, more) in forms.into_iter().enumerate() {
        let file = folder.join(format!("{number}{}", if number == 3 { ".zst" } else { "" }));
        let arguments = [&["export", "--out", text(&file)], more].concat();
        assert!(origin.run(&arguments).text(0).starts_with("10000 events up to "), "{more:?}");
        let mut places = vec![Place::new()];
        if let (Some(cluster), 0 | 1) = (&cluster, number) {
            let mut place = Place::new();
            place.set_variable("PLANWIRE_DB", cluster.url(&format!("number_{number}")));
            places.push(place);
        }
        for place in places {
            assert_eq!(import(&place, &file)["stored"], events, "{more:?}");
            assert_eq!(members(place.run(&["export"]).text(0)), expected, "{more:?}");
            let again = place.run(&["export", "--format", "cloudevents"]);
            assert_eq!(members(again.text(0)), expected, "{more:?}");
            let repeated = import(&place, &file);
            assert_eq!((&repeated["stored"], &repeated["duplicates"]), (&0.into(), &events.into()));
            place.run(&["verify"]).text(0);
        }
    }
}

#[test]
fn what_is_exported_can_be_chosen_and_never_replaces_a_file_by_itself() {
    let place = filled(40);
    let count = |more: &[&str]| place.run(&[&["export"], more].concat()).text(0).lines().count();
    assert_eq!(count(&["--plan", "child-1"]), 8);
    assert_eq!(count(&["--plan", "plan-1", "--tree"]), 20);
    assert_eq!(count(&["--type", "ToolCalled", "--type", "PlanStarted"]), 10);
    let first: Value =
        serde_json::from_str(place.run(&["export"]).text(0).lines().next().expect("an event")).expect("JSON");
    assert_eq!(count(&["--after", first["cursor"].as_str().expect("a cursor")]), 39);
    assert_eq!(place.run(&["export", "--plan", "nobody"]).code, Some(1));
    assert_eq!(place.run(&["export", "--checkpoint", "x"]).code, Some(2));
    let file = place.file("taken", "mine");
    let ran = place.run(&["export", "--out", text(&file)]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("is there already") && ran.stderr.contains("--force"), "{ran:?}");
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), "mine");
    place.run(&["export", "--out", text(&file), "--force"]).text(0);
    assert_eq!(std::fs::read_to_string(&file).expect("the file").lines().count(), 40);
    let left: Vec<_> = std::fs::read_dir(file.parent().expect("a folder")).expect("a folder").collect();
    assert!(
        left.iter().all(|entry| !entry
            .as_ref()
            .expect("a file")
            .file_name()
            .to_string_lossy()
            .ends_with(".part"))
    );
    assert_eq!(Place::new().run(&["export"]).code, Some(1), "there is no log yet");
}

#[test]
fn export_beside_a_server_and_import_through_one() {
    let origin = filled(200);
    let exporting = origin.serve(&[]);
    let file = origin.folder("out").join("a");
    origin.run(&["export", "--out", text(&file)]).text(0);
    assert!(exporting.stop().success());
    let place = Place::new();
    let server = place.serve(&[]);
    assert_eq!(import(&place, &file)["stored"], 200);
    assert_eq!(import(&place, &file)["duplicates"], 200);
    // The second event of a plan whose start is missing.
    let later = script(220).lines().nth(201).expect("a line").to_owned();
    let refused = place.run_with(&["import", "-"], &later);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("line 1: event 00000000000000000000000202: plan plan-10"), "{refused:?}");
    assert!(server.stop().success());
    assert_eq!(
        members(place.run(&["export"]).text(0)),
        members(&std::fs::read_to_string(&file).expect("the export"))
    );
}

#[test]
fn refused_line_is_named_and_what_stands_before_it_is_stored() {
    let lines: Vec<String> = script(1_500).lines().map(str::to_owned).collect();
    // The start of the second plan is missing.
    let torn = [&lines[..20], &lines[21..]].concat().join("\n");
    let place = Place::new();
    let ran = place.run_with(&["import", "-"], &torn);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stderr.contains("standard input, line 21: event 00000000000000000000000022: plan plan-1"),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("20 events were stored, 0 were there already"), "{ran:?}");
    let told = place.run_with(&["--json", "import", "-"], &torn).json(1);
    assert_eq!((&told[0]["stored"], &told[0]["duplicates"]), (&0.into(), &20.into()));
    assert_eq!(
        (&told[0]["problem"]["line"], &told[0]["problem"]["event_id"]),
        (&21.into(), &lines[21][13..39].into())
    );
    // Whoever repairs the file goes on.
    let whole = place.run_with(&["--json", "import", "-"], &lines.join("\r\n")).json(0);
    assert_eq!((&whole[0]["stored"], &whole[0]["duplicates"]), (&1_480.into(), &20.into()));
    // An id that is taken by another event.
    let other = lines[5].replace("file.list", "file.read");
    let conflict = place.run_with(&["import", "-"], &format!("{}\n{other}\n", lines[4]));
    assert_eq!(conflict.code, Some(1), "{conflict:?}");
    assert!(
        conflict.stderr.contains("line 2: event 00000000000000000000000006: its event_id is already stored"),
        "{conflict:?}"
    );
}

#[test]
fn what_is_no_export_is_told_by_its_line() {
    let check = |input: &str, expected: &str| {
        let ran = Place::new().run_with(&["import", "-"], input);
        assert_eq!(ran.code, Some(1), "{input}: {ran:?}");
        assert!(ran.stderr.contains(expected), "{input}: {ran:?}");
    };
    let good = script(1);
    check(&good[..good.len() - 20], "line 1: event is malformed");
    check(&good[..good.len() - 20], "the line has no end: the file was cut off");
    check(&format!("{good}\n\nnonsense\n"), "line 4: it is no JSON object");
    check("{\"event_type\":\"a.b\",\"plan_id\":\"p\"}", "line 1: it has no event_id");
    check(&format!("{good}[1]\n"), "line 2: it is no JSON object");
    check(&format!("{good}{}\n", "x".repeat(3 * 1024 * 1024)), "line 2 is longer than");
    let place = Place::new();
    let packed = place.folder("out").join("a.zst");
    filled(400).run(&["export", "--out", text(&packed)]).text(0);
    let bytes = std::fs::read(&packed).expect("the export");
    std::fs::write(&packed, &bytes[..bytes.len() - 7]).expect("a shorter file");
    let ran = place.run(&["import", text(&packed)]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("the file cannot be read on"), "{ran:?}");
    assert_eq!(place.run(&["import", "nowhere"]).code, Some(2));
    let marked = place.run_with(&["--json", "import", "-"], &format!("\u{feff}{}", good.trim_end()));
    assert!(marked.code == Some(0), "a byte order mark and a missing last end are no harm: {marked:?}");
}

#[test]
fn imported_trees_are_nobody_s_whatever_they_say() {
    let place = filled(10);
    // Of a tree that the named executor owns nobody else could tell this.
    let note = r#"{"event_type":"ToolCalled","plan_id":"plan-0","payload":{"call_id":"x","tool":"t"}}"#;
    place.run_with(&["publish", "-"], note).text(0);
    let server = place.serve(&[]);
    let open = place.run(&["--json", "plans", "--open"]).json(0);
    assert!(open.iter().any(|plan| plan["plan_id"] == "plan-0"), "nobody ends it as left open: {open:?}");
    assert!(server.stop().success());
}

/// Bytes of the log with its WAL.
fn bytes(place: &Place) -> u64 {
    let paths = ["db", "db-wal"].map(|more| place.database().with_extension(more));
    paths.iter().map(|path| std::fs::metadata(path).map_or(0, |file| file.len())).sum()
}

/// Whether a process of ours has ended and was not waited for yet.
fn has_ended(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

#[test]
fn killed_in_mid_import_and_repeated_nothing_is_lost_or_doubled() {
    let place = Place::new();
    let file = place.file("in/events.jsonl", &script(10_000));
    let mut chance = Chance::of(31);
    for _ in 0..6 {
        let running = place.start(&["import", text(&file)]);
        let (before, wanted) = (bytes(&place), chance.between(1, 1_500_000));
        eventually("some of the import", || {
            (bytes(&place) > before + wanted || has_ended(running.pid())).then_some(())
        });
        running.signal(Signal::KILL);
        running.end();
    }
    let last = import(&place, &file);
    let sum =
        last["stored"].as_u64().zip(last["duplicates"].as_u64()).map(|(stored, before)| stored + before);
    assert_eq!(sum, Some(10_000));
    assert_eq!(members(place.run(&["export"]).text(0)).len(), 10_000);
    place.run(&["verify"]).text(0);
}

/// An export with proofs to a signed checkpoint, and the key.
fn proven(place: &Place, more: &[&str]) -> (std::path::PathBuf, String) {
    let folder = place.folder("proofs");
    let (key, checkpoint, file) = (folder.join("key"), folder.join("checkpoint"), folder.join("export"));
    let verifier = place.run(&["attest", "--new-key", text(&key)]).text(0).trim().to_owned();
    place.run(&["attest", "--key", text(&key), "-o", text(&checkpoint)]).text(0);
    let arguments =
        [&["export", "--proofs", "--checkpoint", text(&checkpoint), "--out", text(&file)], more].concat();
    place.run(&arguments).text(0);
    (file, verifier)
}

fn verify(file: &Path, key: &str) -> Ran {
    // No log is needed, wherever it is verified.
    Place::new().run(&["--json", "verify", "--against", text(file), "--key", key])
}

#[test]
fn each_event_of_an_export_is_proven_without_the_log() {
    let place = filled(700);
    let (file, key) = proven(&place, &[]);
    let whole = &verify(&file, &key).json(0)[0];
    assert_eq!(
        (&whole["whole"], &whole["events"], &whole["position"]),
        (&true.into(), &700.into(), &700.into())
    );
    let told = Place::new().run(&["verify", "--against", text(&file), "--key", &key]);
    assert!(told.text(0).contains("is whole: 700 of the 700 events of log "), "{told:?}");
    // Events that came later are not in it; those of one tree are proven alike, in either form.
    place.run_with(&["import", "-"], &script(720)).text(0);
    assert_eq!(verify(&file, &key).json(0)[0]["events"], 700);
    let folder = place.folder("proofs");
    let (checkpoint, part) = (folder.join("checkpoint"), folder.join("part.zst"));
    let chosen = ["--plan", "plan-30", "--tree", "--format", "cloudevents"];
    let arguments =
        [&["export", "--proofs", "--checkpoint", text(&checkpoint), "--out", text(&part)], &chosen[..]]
            .concat();
    place.run(&arguments).text(0);
    assert_eq!(verify(&part, &key).json(0)[0]["events"], 20);
    // Without a signature there is nobody's word.
    let unsigned = folder.join("unsigned");
    place.run(&["export", "--proofs", "--out", text(&unsigned)]).text(0);
    let told = place.run(&["verify", "--against", text(&unsigned)]);
    assert!(
        told.text(0).contains("720 of the 720") && told.stdout.contains("nobody's signature"),
        "{told:?}"
    );
    assert_eq!(verify(&unsigned, &key).json(1)[0]["whole"], false);
    // A checkpoint of another log, or of one that is longer.
    let other = filled(40);
    let refused = other.run(&["export", "--proofs", "--checkpoint", text(&checkpoint)]);
    assert!(
        refused.code == Some(1) && refused.stderr.contains("the checkpoint is of the log"),
        "{refused:?}"
    );
    assert_eq!(place.run(&["verify", "--key", &key]).code, Some(2), "a key is for something");
    assert_eq!(place.run(&["verify", "--against", "nowhere"]).code, Some(2));
}

#[test]
fn every_change_of_an_export_is_noticed_and_told_by_its_line() {
    let place = filled(60);
    let (file, key) = proven(&place, &[]);
    let whole = std::fs::read(&file).expect("the export");
    let check = |bytes: &[u8], expected: &str| {
        std::fs::write(&file, bytes).expect("a changed export");
        let ran = verify(&file, &key);
        assert_eq!(ran.code, Some(1), "{expected}: {ran:?}");
        let message = ran.json(1)[0]["problems"][0]["message"].as_str().expect("a problem").to_owned();
        assert!(message.contains(expected), "{expected}: {message}");
    };
    let mut chance = Chance::of(5);
    let starts: Vec<usize> =
        whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    for _ in 0..60 {
        let at = usize::try_from(chance.between(0, whole.len() as u64 - 1)).expect("a place");
        let mut changed = whole.clone();
        changed[at] ^= 1 << chance.between(0, 7);
        let line = starts.partition_point(|end| *end < at) + 1;
        check(&changed, &format!("line {line}"));
    }
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let without = |at: usize| [&lines[..at], &lines[at + 1..]].concat().concat();
    check(&without(7), "60 were written");
    check(&without(61), "the file ends before the export does");
    check(&without(0), "its first line holds no checkpoint");
    check(&whole[..whole.len() - 1], "the line has no end");
    check(&whole[..starts[30]], "the line has no end");
    check(&whole[..=starts[30]], "the file ends before the export does");
    check(&[&whole[..], lines[3]].concat(), "something stands behind the end");
    let swapped = [&lines[..4], &[lines[5], lines[4]], &lines[6..]].concat().concat();
    check(&swapped, "line 6: position 4: it stands behind position 5");
    check(b"", "the file is empty");
    std::fs::write(&file, &whole).expect("the export");
    let other = place
        .run(&["attest", "--new-key", text(&place.folder("proofs").join("other"))])
        .text(0)
        .trim()
        .to_owned();
    let wrong = verify(&file, &other).json(1);
    assert!(
        wrong[0]["problems"][0]["message"]
            .as_str()
            .is_some_and(|message| message.contains("it is not signed by the key")),
        "{wrong:?}"
    );
    assert_eq!(verify(&file, &key).code, Some(0));
}

#[test]
fn export_with_proofs_of_a_log_in_postgresql_is_proven_too() {
    let Some(cluster) = Cluster::start("export with proofs") else { return };
    let mut place = Place::new();
    place.set_variable("PLANWIRE_DB", cluster.url("planwire"));
    place.run_with(&["import", "-"], &script(300)).text(0);
    let (file, key) = proven(&place, &["--type", "acme.odd"]);
    let whole = &verify(&file, &key).json(0)[0];
    assert_eq!((&whole["position"], &whole["whole"]), (&300.into(), &true.into()));
    assert_eq!(whole["events"], place.run(&["export", "--type", "acme.odd"]).text(0).lines().count());
}
