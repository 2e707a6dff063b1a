//! What a plan leaves for people: the events of an artifact, and what is kept beside the log for it.

use planwire_event::Event;
use planwire_event::vocabulary::{ArtifactPart, ArtifactProduced};
use planwire_store::{BLOB_BYTES_MAX, Blob};
use serde_json::Value;

use super::run::Run;
use crate::base64;
use crate::document::model::{self, Artifact};
use crate::failure::StepFailure;
use crate::output::size;
use crate::redaction::Edges;
use crate::template::Template;

/// Bytes of an artifact that stand in its event; larger ones are kept beside the log.
pub const ARTIFACT_INLINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes of all artifacts of a plan that are kept beside the log.
pub const ARTIFACTS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Chunks of one artifact.
pub const CHUNKS_MAX: usize = 1_000;
/// Bytes of the address of an artifact.
pub const URL_BYTES_MAX: usize = 2_048;

const _: () = assert!(crate::template::TEXT_BYTES_MAX <= BLOB_BYTES_MAX);
const _: () = assert!(ARTIFACTS_BYTES_MAX <= BLOB_BYTES_MAX, "all artifacts of a plan fit into one request");

/// Where the payload has what is kept beside the log.
const PART: &str = "/part";

/// The event of an artifact, and what is kept beside the log for it.
pub(super) type Produced = (Event, Option<Blob>);

impl Run {
    /// The events of an artifact, in order. What is kept beside the log counts from now on.
    pub(super) fn artifact(&mut self, artifact: &Artifact) -> Result<Vec<Produced>, StepFailure> {
        let produced = self.parts_of(artifact).and_then(|parts| self.events_of(artifact, parts));
        let mut produced =
            produced.map_err(|failure| failure.within(&format!("artifact {}", artifact.id)))?;
        // Parts that were stored before the plan was taken up are not said again.
        let stored = self.parts_produced.remove(&artifact.id).unwrap_or_default();
        produced.drain(..stored.min(produced.len()));
        let bytes = |produced: &[Produced]| -> usize {
            produced.iter().filter_map(|(_, blob)| blob.as_ref()).map(|blob| blob.body.len()).sum()
        };
        self.artifact_bytes += bytes(&produced);
        if self.artifact_bytes > ARTIFACTS_BYTES_MAX {
            return Err(StepFailure::limit(format!("the artifacts exceed {ARTIFACTS_BYTES_MAX} bytes")));
        }
        Ok(produced)
    }

    /// Publishes an artifact together with what else waits.
    pub(super) fn leave(&mut self, artifact: &Artifact) -> Result<(), StepFailure> {
        for (event, blob) in self.artifact(artifact)? {
            self.batch.push(event);
            self.blobs.extend(blob);
        }
        Ok(())
    }

    fn parts_of(&self, artifact: &Artifact) -> Result<Vec<(ArtifactPart, Option<Blob>)>, StepFailure> {
        let unsound = |message: &str| StepFailure::new("bad_value", message);
        let one = match &artifact.part {
            model::ArtifactPart::Text(template) => self.text_part(self.text_of(template)?),
            model::ArtifactPart::Data(template) => {
                let mut value = template.evaluate(&self.values.variables())?;
                // Later it may be bytes, in which a marker could stand where JSON has a number.
                self.redactor().value(&mut value, Edges::Whole);
                if size(&value) <= ARTIFACT_INLINE_BYTES_MAX {
                    (ArtifactPart::Data(value), None)
                } else {
                    self.blob_of(value.to_string().as_bytes())
                }
            }
            model::ArtifactPart::Url(template) => {
                (ArtifactPart::Url(url_of(&self.text_of(template)?).map_err(unsound)?), None)
            }
            model::ArtifactPart::Bytes(template) => {
                self.blob_of(&bytes_of(&self.text_of(template)?).map_err(unsound)?)
            }
            model::ArtifactPart::Chunks(template) => {
                let chunks = match template.evaluate(&self.values.variables())? {
                    Value::Array(chunks) if (1..=CHUNKS_MAX).contains(&chunks.len()) => chunks,
                    _ => return Err(unsound(&format!("chunks must be a list of 1 to {CHUNKS_MAX} texts"))),
                };
                // Together, or a value that begins in one and ends in another would not be found.
                let chunks = self.redactor().texts_in_a_row(chunks.into_iter().map(as_text).collect());
                return Ok(chunks.into_iter().map(|chunk| self.text_part(chunk)).collect());
            }
        };
        Ok(vec![one])
    }

    fn events_of(
        &self,
        artifact: &Artifact,
        parts: Vec<(ArtifactPart, Option<Blob>)>,
    ) -> Result<Vec<Produced>, StepFailure> {
        let name = crate::failure::text(self.redactor(), &self.text_of(&artifact.name)?);
        let last = parts.len().saturating_sub(1);
        let events = parts.into_iter().enumerate().map(|(at, (part, blob))| {
            let produced = ArtifactProduced {
                artifact_id: artifact.id.clone(),
                name: name.clone(),
                media_type: artifact.media_type.clone(),
                part,
                append: at > 0,
                last_chunk: at == last,
            };
            let mut event = self.event_of(&produced, self.shared.clock.now())?;
            if blob.as_ref().is_some_and(|blob| self.redactor().has_marker(&blob.body)) {
                let redacted = [event.redacted(), &[PART.to_owned()]].concat();
                event = event.with_redacted(redacted);
            }
            Ok((event, blob))
        });
        events.collect()
    }

    fn text_part(&self, text: String) -> (ArtifactPart, Option<Blob>) {
        let text = text.replace('\0', "\u{fffd}");
        if text.len() <= ARTIFACT_INLINE_BYTES_MAX {
            (ArtifactPart::Text(text), None)
        } else {
            self.blob_of(text.as_bytes())
        }
    }

    fn blob_of(&self, bytes: &[u8]) -> (ArtifactPart, Option<Blob>) {
        let blob = self.shared.blob(bytes);
        let size_bytes = u64::try_from(blob.body.len()).unwrap_or(u64::MAX);
        (ArtifactPart::Blob { digest: blob.digest.to_string(), size_bytes }, Some(blob))
    }

    pub(super) fn text_of(&self, template: &Template) -> Result<String, StepFailure> {
        Ok(as_text(template.evaluate(&self.values.variables())?))
    }
}

fn as_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// An address of the web, without the space around it.
pub(crate) fn url_of(text: &str) -> Result<String, &'static str> {
    let url = text.trim();
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
    let plain = url.chars().all(|next| !next.is_whitespace() && !next.is_control());
    if host.is_empty() || host.starts_with('/') || !plain || url.len() > URL_BYTES_MAX {
        return Err("'url' must be an address that begins with https:// or http://");
    }
    Ok(url.to_owned())
}

/// The bytes of base64; white space in it means nothing.
pub(crate) fn bytes_of(text: &str) -> Result<Vec<u8>, &'static str> {
    base64::decode(text).ok_or("'base64' is not base64")
}
