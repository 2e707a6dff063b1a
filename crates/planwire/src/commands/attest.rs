//! `planwire attest`: signs what the log is now, so that it can be held against it later.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use planwire_store::{SigningKey, Statement};
use serde_json::json;

use crate::args::AttestArguments;
use crate::commands::verify::Audit;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::place::Place;

/// Makes a key, or signs the head of the log.
///
/// # Errors
///
/// Exit code 1 if the log is not whole: what cannot be verified is not signed. 2 if the key cannot be used.
pub(crate) async fn attest(
    arguments: &AttestArguments,
    place: &Place,
    output: Output,
) -> Result<Exit, Failure> {
    if let Some(file) = &arguments.new_key {
        let audit = Audit::open(place)?;
        let log_id = audit.store.log_info().await?.log_id;
        let name = arguments.name.clone().unwrap_or_else(|| Statement::origin(log_id));
        return new_key(file, &name, output);
    }
    // Before the walk, which may be long.
    let key = match &arguments.key {
        Some(file) => read_key(file)?,
        None => return Err(Failure::usage("no key is named")),
    };
    let findings = Audit::open(place)?.run(&[], output).await?;
    let verified = findings.verified.as_ref().filter(|_| findings.is_whole()).ok_or_else(|| {
        Failure::failed("the log is not whole, so nothing was signed")
            .hint("`planwire verify` says what is wrong")
    })?;
    let statement = Statement { log_id: verified.log_id, position: verified.position, root: verified.root };
    let note = statement.sign(&key);
    match &arguments.output {
        Some(file) => std::fs::write(file, &note).map_err(|error| {
            Failure::storage(error).context(format!("failed to write {}", file.display()))
        })?,
        None if !output.json => output.raw(&note)?,
        None => {}
    }
    if output.json {
        let key = key.verifier().to_string();
        output.json(&json!({ "checkpoint": note, "position": statement.position, "key": key }))?;
    }
    Ok(Exit::Completed)
}

fn new_key(file: &Path, name: &str, output: Output) -> Result<Exit, Failure> {
    let key = SigningKey::generate(name).map_err(Failure::usage)?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    made.and_then(|mut made| {
        made.write_all(format!("{}\n", key.to_private_text()).as_bytes())?;
        made.sync_all()
    })
    .map_err(|error| Failure::usage(error).context(format!("failed to make {}", file.display())))?;
    let key = key.verifier().to_string();
    if output.json {
        output.json(&json!({ "key": key }))?;
    } else {
        output.line(&key)?;
    }
    Ok(Exit::Completed)
}

fn read_key(file: &Path) -> Result<SigningKey, Failure> {
    let unreadable = |error: std::io::Error| {
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        let failure = Failure::usage(error).context(format!("failed to read {}", file.display()));
        let hint = format!("`planwire attest --new-key {}` makes a key", file.display());
        if is_missing { failure.hint(hint) } else { failure }
    };
    if std::fs::metadata(file).map_err(unreadable)?.permissions().mode() & 0o077 != 0 {
        return Err(Failure::usage(format!("others can read the key in {}", file.display()))
            .hint(format!("chmod 600 {}", file.display())));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    text.parse().map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}
