//! The end of a plan: outputs, artifacts and the terminal event.

use planwire_bus::Attachments;
use planwire_event::vocabulary::{
    ArtifactPart, ArtifactProduced, Failure, FailureReason, Object, PlanCompleted, PlanFailed,
};
use planwire_event::{Event, Timestamp};
use planwire_store::{BLOB_BYTES_MAX, Blob};
use serde_json::Value;

use super::PlanEnd;
use super::run::{Lost, Run, lost};
use super::steps::State;
use crate::document::model::{self, Artifact};
use crate::failure::{StepFailure, failure};
use crate::output::{TOOL_OUTPUT_BYTES_MAX, size};
use crate::template::Template;

/// Bytes of an artifact that stand in its event; larger ones are kept beside the log.
pub const ARTIFACT_INLINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of all artifacts of a plan that are kept beside the log.
pub const ARTIFACTS_BYTES_MAX: usize = 64 * 1024 * 1024;

const _: () = assert!(crate::template::TEXT_BYTES_MAX <= BLOB_BYTES_MAX);

/// The event of an artifact, and what is kept beside the log for it.
type Produced = (Event, Option<Blob>);

impl Run {
    /// Publishes the one terminal event, together with what still waits.
    pub(super) async fn finish(mut self) -> PlanEnd {
        if self.ending.is_none() && self.states.iter().any(|state| !matches!(state, State::Done)) {
            let message = "no step can go on, although some have not ended";
            self.ending = Some((FailureReason::Error, failure("stuck", message, None)));
        }
        let ending = match self.ending.take() {
            Some(why) => Err(why),
            None => self.completed().map_err(|error| (error.reason, error.into_failure(None))),
        };
        let mut parts = vec![(std::mem::take(&mut self.batch), Attachments::default())];
        let (last, end) = match ending {
            Ok((artifacts, last, outputs)) => {
                artifacts.into_iter().for_each(|(event, blob)| add(&mut parts, event, blob));
                (last, PlanEnd::Completed(outputs))
            }
            // Artifacts belong to plans that complete.
            Err((reason, failure)) => match self.failed(reason, &failure) {
                Ok(last) => (last, PlanEnd::Failed(reason, failure)),
                Err(Lost) => return PlanEnd::Lost,
            },
        };
        add(&mut parts, last, None);
        for (events, attachments) in parts {
            if let Err(error) = self.shared.publish(events, attachments).await {
                lost(&self.plan.plan_id, &error);
                return PlanEnd::Lost;
            }
        }
        end
    }

    fn failed(&self, reason: FailureReason, error: &Failure) -> Result<Event, Lost> {
        let (now, plan) = (self.shared.clock.now(), &self.plan);
        let duration_ms = now.millis_since(plan.started_at);
        let payload = PlanFailed { reason, error: error.clone(), duration_ms };
        self.shared.event_at(&plan.plan_id, &payload, now).map_err(|error| {
            tracing::error!(plan = %plan.plan_id, %error, "the end of the plan has no normal form");
            Lost
        })
    }

    /// The artifacts of a plan that completes, its last event, and its outputs as that says them.
    fn completed(&self) -> Result<(Vec<Produced>, Event, Object), StepFailure> {
        let outputs = self.outputs()?;
        let mut artifacts = Vec::new();
        let mut bytes = 0;
        for artifact in &self.plan.document.artifacts {
            let (produced, blob) = self
                .artifact(artifact)
                .and_then(|(produced, blob)| Ok((self.event_of(&produced, self.shared.clock.now())?, blob)))
                .map_err(|failure| failure.within(&format!("artifact {}", artifact.id)))?;
            if blob.as_ref().is_some_and(|blob| blob.body.len() > BLOB_BYTES_MAX) {
                return Err(StepFailure::limit(format!(
                    "artifact {} exceeds {BLOB_BYTES_MAX} bytes",
                    artifact.id
                )));
            }
            bytes += blob.as_ref().map_or(0, |blob| blob.body.len());
            if bytes > ARTIFACTS_BYTES_MAX {
                return Err(StepFailure::limit(format!("the artifacts exceed {ARTIFACTS_BYTES_MAX} bytes")));
            }
            artifacts.push((produced, blob));
        }
        let now = self.shared.clock.now();
        let duration_ms = now.millis_since(self.plan.started_at);
        let event = self.event_of(&PlanCompleted { outputs, duration_ms, counts: self.counts }, now)?;
        // The parent sees what the event says.
        let said = event.read::<PlanCompleted>().unwrap_or_default();
        Ok((artifacts, event, said.outputs))
    }

    fn event_of<T: planwire_event::vocabulary::TypedPayload>(
        &self,
        payload: &T,
        at: Timestamp,
    ) -> Result<Event, StepFailure> {
        let event = self.shared.event_at(&self.plan.plan_id, payload, at);
        event.map_err(|error| StepFailure::payload("the result", &error))
    }

    fn outputs(&self) -> Result<Object, StepFailure> {
        let variables = self.values.variables();
        let (mut outputs, mut bytes) = (Object::new(), 0_usize);
        for (name, template) in &self.plan.document.outputs {
            let value = template
                .evaluate(&variables)
                .map_err(|error| StepFailure::expression(&format!("output {name}"), error))?;
            bytes += size(&value);
            if bytes > TOOL_OUTPUT_BYTES_MAX {
                return Err(StepFailure::limit(format!(
                    "outputs of more than {TOOL_OUTPUT_BYTES_MAX} bytes; larger results are artifacts"
                )));
            }
            outputs.insert(name.clone(), value);
        }
        Ok(outputs)
    }

    fn artifact(&self, artifact: &Artifact) -> Result<(ArtifactProduced, Option<Blob>), StepFailure> {
        let (part, blob) = match &artifact.part {
            model::ArtifactPart::Text(template) => {
                let text = self.text_of(template)?.replace('\0', "\u{fffd}");
                if text.len() <= ARTIFACT_INLINE_BYTES_MAX {
                    (ArtifactPart::Text(text), None)
                } else {
                    self.blob_of(text.as_bytes())
                }
            }
            model::ArtifactPart::Data(template) => {
                let value = template.evaluate(&self.values.variables())?;
                if size(&value) <= ARTIFACT_INLINE_BYTES_MAX {
                    (ArtifactPart::Data(value), None)
                } else {
                    self.blob_of(value.to_string().as_bytes())
                }
            }
        };
        let produced = ArtifactProduced {
            artifact_id: artifact.id.clone(),
            name: crate::failure::text(&self.text_of(&artifact.name)?),
            media_type: artifact.media_type.clone(),
            part,
            append: false,
            last_chunk: true,
        };
        Ok((produced, blob))
    }

    fn blob_of(&self, bytes: &[u8]) -> (ArtifactPart, Option<Blob>) {
        let blob = self.shared.blob(bytes);
        let size_bytes = u64::try_from(blob.body.len()).unwrap_or(u64::MAX);
        (ArtifactPart::Blob { digest: blob.digest.to_string(), size_bytes }, Some(blob))
    }

    fn text_of(&self, template: &Template) -> Result<String, StepFailure> {
        Ok(match template.evaluate(&self.values.variables())? {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }
}

/// Adds an event to the last part, or to a new one if the log would not take what is attached in one.
fn add(parts: &mut Vec<(Vec<Event>, Attachments)>, event: Event, blob: Option<Blob>) {
    let bytes = blob.as_ref().map_or(0, |blob| blob.body.len());
    let attached =
        |attachments: &Attachments| attachments.blobs.iter().map(|blob| blob.body.len()).sum::<usize>();
    match parts.last_mut() {
        Some((events, attachments)) if bytes + attached(attachments) <= BLOB_BYTES_MAX => {
            events.push(event);
            attachments.blobs.extend(blob);
        }
        _ => {
            let blobs = blob.into_iter().collect();
            parts.push((vec![event], Attachments { blobs, ..Attachments::default() }));
        }
    }
}
