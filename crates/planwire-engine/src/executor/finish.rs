//! The end of a plan: outputs, artifacts and the terminal event.

use std::sync::Arc;

use planwire_bus::Attachments;
use planwire_event::vocabulary::{
    ArtifactPart, ArtifactProduced, Failure, FailureReason, Object, PlanCompleted, PlanFailed,
};
use planwire_event::{Digest, Event};
use planwire_store::Blob;
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

const _: () = assert!(crate::template::TEXT_BYTES_MAX <= planwire_store::BLOB_BYTES_MAX);

impl Run {
    /// Publishes the one terminal event, together with what still waits.
    pub(super) async fn finish(mut self) -> PlanEnd {
        if self.ending.is_none() && self.states.iter().any(|state| !matches!(state, State::Done)) {
            let message = "no step can go on, although some have not ended";
            self.ending = Some((FailureReason::Error, failure("stuck", message, None)));
        }
        let mut attachments = Attachments::default();
        let ending = match self.ending.take() {
            Some(why) => Err(why),
            None => {
                self.completed(&mut attachments).map_err(|error| (error.reason, error.into_failure(None)))
            }
        };
        let end = match ending {
            Ok((events, outputs)) => {
                self.batch.extend(events);
                PlanEnd::Completed(outputs)
            }
            Err((reason, failure)) => match self.failed(reason, &failure) {
                Ok(event) => {
                    // Artifacts belong to plans that complete.
                    attachments = Attachments::default();
                    self.batch.push(event);
                    PlanEnd::Failed(reason, failure)
                }
                Err(Lost) => return PlanEnd::Lost,
            },
        };
        let events = std::mem::take(&mut self.batch);
        match self.shared.publish(events, attachments).await {
            Ok(_) => end,
            Err(error) => {
                lost(&self.plan.plan_id, &error);
                PlanEnd::Lost
            }
        }
    }

    fn duration_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn failed(&self, reason: FailureReason, error: &Failure) -> Result<Event, Lost> {
        let payload = PlanFailed { reason, error: error.clone(), duration_ms: self.duration_ms() };
        self.shared.event(&self.plan.plan_id, &payload).map_err(|error| {
            tracing::error!(plan = %self.plan.plan_id, %error, "the end of the plan has no normal form");
            Lost
        })
    }

    /// The events of a plan that completes, and its outputs as they say them.
    fn completed(&self, attachments: &mut Attachments) -> Result<(Vec<Event>, Object), StepFailure> {
        let outputs = self.outputs()?;
        let mut events = Vec::new();
        for artifact in &self.plan.document.artifacts {
            let produced = self
                .artifact(artifact, attachments)
                .and_then(|produced| self.event_of(&produced))
                .map_err(|failure| failure.within(&format!("artifact {}", artifact.id)))?;
            events.push(produced);
        }
        let payload = PlanCompleted { outputs, duration_ms: self.duration_ms(), counts: self.counts };
        let event = self.event_of(&payload)?;
        // The parent sees what the event says.
        let said = event.read::<PlanCompleted>().unwrap_or_default();
        events.push(event);
        Ok((events, said.outputs))
    }

    fn event_of<T: planwire_event::vocabulary::TypedPayload>(
        &self,
        payload: &T,
    ) -> Result<Event, StepFailure> {
        let event = self.shared.event(&self.plan.plan_id, payload);
        event.map_err(|error| StepFailure::payload("the result", &error))
    }

    fn outputs(&self) -> Result<Object, StepFailure> {
        let variables = self.values.variables();
        let mut outputs = Object::new();
        for (name, template) in &self.plan.document.outputs {
            let value = template
                .evaluate(&variables)
                .map_err(|error| StepFailure::expression(&format!("output {name}"), error))?;
            outputs.insert(name.clone(), value);
        }
        let bytes: usize = outputs.values().map(size).sum();
        if bytes > TOOL_OUTPUT_BYTES_MAX {
            return Err(StepFailure::limit(format!(
                "outputs of {bytes} bytes exceed {TOOL_OUTPUT_BYTES_MAX}; larger results are artifacts"
            )));
        }
        Ok(outputs)
    }

    fn artifact(
        &self,
        artifact: &Artifact,
        attachments: &mut Attachments,
    ) -> Result<ArtifactProduced, StepFailure> {
        let part = match &artifact.part {
            model::ArtifactPart::Text(template) => {
                let text = self.text_of(template)?.replace('\0', "\u{fffd}");
                if text.len() <= ARTIFACT_INLINE_BYTES_MAX {
                    ArtifactPart::Text(text)
                } else {
                    blob_of(text.as_bytes(), attachments)
                }
            }
            model::ArtifactPart::Data(template) => {
                let value = template.evaluate(&self.values.variables())?;
                if size(&value) <= ARTIFACT_INLINE_BYTES_MAX {
                    ArtifactPart::Data(value)
                } else {
                    blob_of(value.to_string().as_bytes(), attachments)
                }
            }
        };
        Ok(ArtifactProduced {
            artifact_id: artifact.id.clone(),
            name: crate::failure::text(&self.text_of(&artifact.name)?),
            media_type: artifact.media_type.clone(),
            part,
            append: false,
            last_chunk: true,
        })
    }

    fn text_of(&self, template: &Template) -> Result<String, StepFailure> {
        Ok(match template.evaluate(&self.values.variables())? {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }
}

fn blob_of(bytes: &[u8], attachments: &mut Attachments) -> ArtifactPart {
    let digest = Digest::of(bytes);
    attachments.blobs.push(Blob { digest, body: Arc::from(bytes) });
    let size_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    ArtifactPart::Blob { digest: digest.to_string(), size_bytes }
}
