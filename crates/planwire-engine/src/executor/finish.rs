//! The end of a plan: outputs, artifacts and the terminal event.

use planwire_bus::Attachments;
use planwire_event::vocabulary::{Failure, FailureReason, Object, PlanCompleted, PlanFailed};
use planwire_event::{Event, Timestamp};
use planwire_store::{BLOB_BYTES_MAX, Blob};

use super::PlanEnd;
use super::artifacts::Produced;
use super::run::{Lost, Run, lost};
use super::steps::State;
use crate::failure::{StepFailure, failure};
use crate::output::{TOOL_OUTPUT_BYTES_MAX, size};

impl Run {
    /// Publishes the one terminal event, together with what still waits.
    pub(super) async fn finish(mut self) -> PlanEnd {
        if self.ending.is_none() && self.states.iter().any(|state| !matches!(state, State::Done)) {
            let message = "no step can go on, although some have not ended";
            self.ending = Some((FailureReason::Error, failure(self.redactor(), "stuck", message, None)));
        }
        let ending = match self.ending.take() {
            Some(why) => Err(why),
            None => self
                .completed()
                .map_err(|error| (error.reason, error.into_failure(self.shared.secrets.redactor(), None))),
        };
        let attached = Attachments { blobs: std::mem::take(&mut self.blobs), ..Attachments::default() };
        let mut parts = vec![(std::mem::take(&mut self.batch), attached)];
        let (last, end) = match ending {
            Ok((artifacts, last, outputs)) => {
                artifacts.into_iter().for_each(|(event, blob)| add(&mut parts, event, blob));
                (last, PlanEnd::Completed(outputs, self.used()))
            }
            // The artifacts of the document belong to plans that complete.
            Err((reason, failure)) => match self.failed(reason, &failure) {
                Ok(last) => (last, PlanEnd::Failed(failure, self.limit.clone(), self.used())),
                Err(Lost) => return PlanEnd::Lost,
            },
        };
        if self.plan.above.is_empty() {
            // Nothing that the tree began goes on after its end is known.
            self.tree.keep.end().await;
        }
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
        let (limit, usage) = (self.limit.clone(), Some(self.used()).filter(|used| !used.is_empty()));
        let payload = PlanFailed { reason, error: error.clone(), duration_ms, limit, usage };
        self.shared.event_at(&plan.plan_id, &payload, now).map_err(|error| {
            tracing::error!(plan = %plan.plan_id, %error, "the end of the plan has no normal form");
            Lost
        })
    }

    /// The artifacts of a plan that completes, its last event, and its outputs as that says them.
    fn completed(&mut self) -> Result<(Vec<Produced>, Event, Object), StepFailure> {
        let outputs = self.outputs()?;
        let mut artifacts = Vec::new();
        let document = std::sync::Arc::clone(&self.plan.document);
        for artifact in &document.artifacts {
            artifacts.extend(self.artifact(artifact)?);
        }
        let now = self.shared.clock.now();
        let duration_ms = now.millis_since(self.plan.started_at);
        let usage = Some(self.used()).filter(|used| !used.is_empty());
        let payload = PlanCompleted { outputs, duration_ms, counts: self.counts, usage };
        let event = self.event_of(&payload, now)?;
        // The parent sees what the event says.
        let said = event.read::<PlanCompleted>().unwrap_or_default();
        Ok((artifacts, event, said.outputs))
    }

    pub(super) fn event_of<T: planwire_event::vocabulary::TypedPayload>(
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
