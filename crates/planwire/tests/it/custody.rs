//! Whether a log is whole: what is said where it is not, and how to go on.

use std::path::PathBuf;

use serde_json::Value;

use crate::harness::Place;

const STARTED: &str = r#"{"event_type":"PlanStarted","plan_id":"p","payload":{"name":"nightly"}}"#;
const NOTE: &str = r#"{"event_type":"acme.note","plan_id":"p","payload":{"n":1}}"#;

fn database(place: &Place) -> PathBuf {
    place.data().join("default.db")
}

/// The database with all of its events: whoever reads a log that nobody writes moves its WAL there.
fn settled(place: &Place) -> Vec<u8> {
    place.run(&["events"]).text(0);
    std::fs::read(database(place)).expect("the log")
}

/// A log of four events, of which an older copy holds two.
fn lost() -> (Place, String) {
    let place = Place::new();
    place.run_with(&["publish", "-"], &format!("{STARTED}{NOTE}")).text(0);
    let copy = settled(&place);
    place.run_with(&["publish", "-"], &format!("{NOTE}{NOTE}")).text(0);
    let last = place.run(&["--json", "events"]).json(0)[3]["cursor"].as_str().expect("a cursor").to_owned();
    std::fs::write(database(&place), copy).expect("an older copy");
    (place, last)
}

#[test]
fn older_copy_is_refused_by_every_command_until_the_loss_is_accepted() {
    let (place, last) = lost();
    for command in [&["events"][..], &["plans"], &["show", "p"], &["serve", "--listen", "127.0.0.1:0"]] {
        let ran = place.run(command);
        assert_eq!(ran.code, Some(74), "{command:?}: {ran:?}");
        for part in
            ["ends at position 2", "missing: positions 3 to 4", "planwire accept-loss", "nothing was changed"]
        {
            assert!(ran.stderr.contains(part), "{command:?}: {ran:?}");
        }
    }
    assert_eq!(place.run_with(&["publish", "-"], NOTE).code, Some(74));
    let unasked = place.run(&["accept-loss"]);
    assert_eq!(unasked.code, Some(2), "{unasked:?}");
    assert!(unasked.stderr.contains("--yes"), "{unasked:?}");

    let accepted = &place.run(&["--json", "accept-loss", "--yes"]).json(0)[0];
    let (old, _) = last.split_once('-').expect("a cursor");
    assert_eq!((&accepted["head"], &accepted["continues"]["valid_to"]), (&2.into(), &2.into()));
    assert_eq!(accepted["continues"]["log_id"], old);
    place.run_with(&["publish", "-"], &format!("{NOTE}{NOTE}")).text(0);
    let kept = format!("{old}-0000000000000001");
    let events = place.run(&["--json", "events", "--after", &kept]).json(0);
    let positions: Vec<&Value> = events.iter().map(|event| &event["position"]).collect();
    assert_eq!(positions, [2, 3, 4], "a cursor of the old log holds as far as that was kept");
    let gone = place.run(&["events", "--after", &last]);
    assert_eq!(gone.code, Some(2), "position 4 is another event now: {gone:?}");
    let server = place.serve(&[]);
    let refused = server.http.get(&format!("/v1/events?after={last}"));
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(server.stop().success());
}

#[test]
fn nothing_is_accepted_where_nothing_is_missing() {
    let place = Place::new();
    let none = place.run(&["accept-loss", "--yes"]);
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.stderr.contains("there is no log in"), "{none:?}");
    place.run_with(&["publish", "-"], STARTED).text(0);
    assert!(place.run(&["accept-loss"]).text(0).starts_with("nothing is missing"));
    assert_eq!(place.run(&["--json", "accept-loss"]).json(0)[0]["accepted"], false);
}

#[test]
fn loss_is_not_accepted_beside_a_server() {
    let place = Place::new();
    let server = place.serve(&[]);
    place.run_with(&["publish", "-"], &format!("{STARTED}{NOTE}")).text(0);
    // What a second start would see; the server goes on with the file that it has open.
    std::fs::remove_file(database(&place)).expect("the log");
    let refused = place.run(&["accept-loss", "--yes"]);
    assert_eq!(refused.code, Some(74), "{refused:?}");
    assert!(refused.stderr.contains("is held by process"), "{refused:?}");
    server.kill();
}

#[test]
fn database_that_is_gone_is_told_from_one_that_never_was() {
    let (place, _) = lost();
    std::fs::remove_file(database(&place)).expect("the log");
    let ran = place.run(&["plans"]);
    assert_eq!(ran.code, Some(74), "{ran:?}");
    assert!(ran.stderr.contains("events of the log") && ran.stderr.contains("up to position 4"), "{ran:?}");
    place.run(&["accept-loss", "--yes"]).text(0);
    assert_eq!(place.run(&["--json", "events"]).json(0).len(), 0);
}

/// A closed log of four events.
fn whole() -> Place {
    let place = Place::new();
    place.run_with(&["publish", "-"], &format!("{STARTED}{NOTE}{NOTE}{NOTE}")).text(0);
    place
}

/// Changes one byte of the database behind `text`.
fn change(place: &Place, text: &str) {
    let mut bytes = settled(place);
    let found = bytes.windows(text.len()).position(|window| window == text.as_bytes());
    bytes[found.expect("the text is in the log") + text.len()] ^= 1;
    std::fs::write(database(place), bytes).expect("the log");
}

#[test]
fn log_that_is_whole_is_verified_also_beside_a_server() {
    let place = whole();
    let text = place.run(&["verify"]);
    assert!(text.text(0).contains("is whole: 4 events, root "), "{text:?}");
    let server = place.serve(&[]);
    let found = &place.run(&["--json", "verify"]).json(0)[0];
    assert_eq!(
        (&found["whole"], &found["position"], &found["witness"]),
        (&true.into(), &4.into(), &"whole".into())
    );
    assert_eq!(found["problems"], Value::Array(vec![]));
    assert!(server.stop().success());
    assert_eq!(Place::new().run(&["verify"]).code, Some(1), "there is no log yet");
}

#[test]
fn first_bad_position_is_named_and_the_exit_code_is_1() {
    let place = Place::new();
    place.run_with(&["publish", "-"], &format!("{STARTED}{NOTE}")).text(0);
    let other = r#"{"event_type":"acme.other","plan_id":"p","payload":{"word":"abc"}}"#;
    place.run_with(&["publish", "-"], &format!("{other}{NOTE}")).text(0);
    change(&place, r#"{"word":""#);
    let ran = place.run(&["verify"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("bad: position 3: the checksum of the row is wrong"), "{ran:?}");
    assert!(ran.stdout.contains("is good up to position 2"), "{ran:?}");
    let found = &place.run(&["--json", "verify"]).json(1)[0];
    assert_eq!((&found["whole"], &found["position"]), (&false.into(), &2.into()));
    assert_eq!(found["problems"][0]["position"], 3);
}

#[test]
fn lost_end_and_missing_witness_are_told_by_verify() {
    let (place, _) = lost();
    let ran = place.run(&["verify"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stdout.contains("not what its witness saw") && ran.stdout.contains("positions 3 to 4"),
        "{ran:?}"
    );
    let witness = place.data().join("default.db.head");
    std::fs::write(&witness, "").expect("a damaged witness");
    assert!(place.run(&["verify"]).text(0).contains("its witness is damaged"));
    std::fs::remove_file(&witness).expect("the witness");
    assert!(place.run(&["verify"]).text(0).contains("it has no witness"));
    assert_eq!(place.run(&["--json", "verify"]).json(0)[0]["witness"], "absent");
}

#[test]
fn signed_head_is_what_the_log_must_continue() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = whole();
    let keys = place.folder("keys");
    let (key, file) = (keys.join("key"), keys.join("checkpoint"));
    let (key, file) = (key.to_str().expect("UTF-8"), file.to_str().expect("UTF-8"));
    let verifier = place.run(&["attest", "--new-key", key]).text(0).trim().to_owned();
    assert!(verifier.starts_with("planwire/"), "{verifier}");
    assert_eq!(std::fs::metadata(key).expect("the key").permissions().mode() & 0o777, 0o600);
    assert_eq!(place.run(&["attest", "--new-key", key]).code, Some(2), "a key is never written over");
    assert_eq!(place.run(&["attest", "--key", key, "-o", file]).text(0), "");
    let note = std::fs::read_to_string(file).expect("the checkpoint");
    let lines: Vec<&str> = note.lines().collect();
    assert!(
        lines.len() == 5 && lines[1] == "4" && lines[3].is_empty() && lines[4].starts_with('\u{2014}'),
        "{note}"
    );
    assert_eq!(place.run(&["attest", "--key", key]).text(0), note, "the same is signed the same");
    let verify = |place: &Place| place.run(&["verify", "--from", file, "--key", &verifier]);

    place.run_with(&["publish", "-"], NOTE).text(0);
    assert!(verify(&place).text(0).contains("it continues what was signed at position 4"));
    let stranger = verify(&whole());
    assert_eq!(stranger.code, Some(1), "{stranger:?}");
    assert!(stranger.stderr.contains("the checkpoint is of the log"), "{stranger:?}");
    std::fs::write(file, note.replace("\n4\n", "\n3\n")).expect("a changed checkpoint");
    let forged = verify(&place);
    assert_eq!(forged.code, Some(1), "{forged:?}");
    assert!(forged.stderr.contains("the signature of planwire/"), "{forged:?}");
    assert_eq!(place.run(&["verify", "--from", "nowhere", "--key", &verifier]).code, Some(2));
    assert_eq!(place.run(&["verify", "--from", file]).code, Some(2), "a key is needed");

    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).expect("the key");
    let open = place.run(&["attest", "--key", key]);
    assert_eq!(open.code, Some(2), "{open:?}");
    assert!(open.stderr.contains("others can read the key") && open.stderr.contains("chmod 600"), "{open:?}");
}

#[test]
fn whoever_rewrites_the_log_is_caught_by_what_was_signed_before() {
    let place = whole();
    let keys = place.folder("keys");
    let (key, file) = (keys.join("key"), keys.join("checkpoint"));
    let (key, file) = (key.to_str().expect("UTF-8"), file.to_str().expect("UTF-8"));
    let verifier =
        place.run(&["--json", "attest", "--new-key", key, "--name", "me"]).json(0)[0]["key"].clone();
    let verifier = verifier.as_str().expect("a key");
    let signed = &place.run(&["--json", "attest", "--key", key, "-o", file]).json(0)[0];
    assert_eq!((&signed["position"], &signed["key"]), (&4.into(), &verifier.into()));
    let log_id = place.run(&["--json", "verify"]).json(0)[0]["log_id"].as_str().expect("an id").to_owned();

    // Another log, whole in itself, under the same name.
    let forged = Place::new();
    forged.run_with(&["publish", "-"], &format!("{STARTED}{NOTE}{NOTE}{NOTE}{NOTE}")).text(0);
    let own = forged.run(&["--json", "verify"]).json(0)[0]["log_id"].as_str().expect("an id").to_owned();
    let mut bytes = settled(&forged);
    let at = bytes.windows(8).position(|window| window == own.as_bytes()).expect("its id");
    bytes[at..at + 8].copy_from_slice(log_id.as_bytes());
    std::fs::write(database(&forged), bytes).expect("the forged log");
    std::fs::remove_file(forged.data().join("default.db.head")).expect("its witness");
    forged.run(&["verify"]).text(0);
    let caught = forged.run(&["verify", "--from", file, "--key", verifier]);
    assert_eq!(caught.code, Some(1), "{caught:?}");
    assert!(
        caught.stdout.contains("bad: position 4: the log up to here is not the one that was signed"),
        "{caught:?}"
    );
}

#[test]
fn log_that_is_not_whole_is_not_signed() {
    let place = whole();
    let key = place.folder("keys").join("key");
    let key = key.to_str().expect("UTF-8");
    place.run(&["attest", "--new-key", key]).text(0);
    change(&place, r#"{"n":"#);
    let refused = place.run(&["attest", "--key", key]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{refused:?}");
    assert!(
        refused.stderr.contains("nothing was signed") && refused.stderr.contains("planwire verify"),
        "{refused:?}"
    );
    assert_eq!(place.run(&["attest"]).code, Some(2));
    let none = place.file("keys/none", "PRIVATE+KEY+nothing");
    std::fs::set_permissions(&none, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a file");
    assert_eq!(place.run(&["attest", "--key", none.to_str().expect("UTF-8")]).code, Some(2));
}

#[test]
fn checkpoint_holds_as_far_as_the_log_was_kept() {
    let place = Place::new();
    place.run_with(&["publish", "-"], &format!("{STARTED}{NOTE}")).text(0);
    let keys = place.folder("keys");
    let [key, early, late] = ["key", "early", "late"].map(|name| keys.join(name));
    let [key, early, late] = [&key, &early, &late].map(|path| path.to_str().expect("UTF-8"));
    let verifier = place.run(&["attest", "--new-key", key]).text(0).trim().to_owned();
    place.run(&["attest", "--key", key, "-o", early]).text(0);
    let copy = settled(&place);
    place.run_with(&["publish", "-"], NOTE).text(0);
    place.run(&["attest", "--key", key, "-o", late]).text(0);
    settled(&place);
    std::fs::write(database(&place), copy).expect("an older copy");
    place.run(&["accept-loss", "--yes"]).text(0);
    place.run_with(&["publish", "-"], &format!("{NOTE}{NOTE}")).text(0);
    let verify = |file| place.run(&["verify", "--from", file, "--key", &verifier]);
    assert!(verify(early).text(0).contains("it continues what was signed at position 2"));
    let lost = verify(late);
    assert_eq!(lost.code, Some(1), "{lost:?}");
    assert!(lost.stderr.contains("as far as position 2, and what came later was lost"), "{lost:?}");
}
