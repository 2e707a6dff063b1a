//! Content of artifacts: `GET /v1/plans/{plan_id}/blobs/{digest}`.
//!
//! Only blobs that an ArtifactProduced of the plan names are served, so that a digest alone gives nothing away. What
//! is served was made by tools: it is a download, never a page of ours.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use planwire_event::vocabulary::{ArtifactPart, ArtifactProduced};
use planwire_event::{Digest, EventType, EventTypes, PlanId};
use planwire_store::{EventRepository, PageLimits, StoreError};

use crate::app::App;
use crate::openapi::{Answer, Content, Operation, Parameter, Place, Values};
use crate::params::{IN_PATH_PLAN, InPath};
use crate::plans;
use crate::problem::{Kind, Problem};

pub(crate) static BLOB: Operation = Operation {
    id: "getBlob",
    summary: "The bytes of an artifact",
    description: "Only blobs that an ArtifactProduced of the plan names. The media type is the artifact's.",
    parameters: &[
        IN_PATH_PLAN,
        &[Parameter {
            name: "digest",
            place: Place::Path,
            values: Values::Digest,
            description: "SHA-256 of the content.",
        }],
    ],
    body: None,
    answers: &[Answer::new(
        200,
        "The content, as a download.",
        &[Content::of("*/*", |_| serde_json::json!({}))],
    )],
    faults: &[],
    problems: &[&[Kind::IdMalformed, Kind::PlanUnknown, Kind::BlobUnknown], Kind::OF_READ],
};

pub(crate) async fn blob(
    State(app): State<Arc<App>>,
    InPath((plan, digest)): InPath<(String, String)>,
) -> Result<Response, Problem> {
    let plan: PlanId = plan.parse()?;
    let digest: Digest = digest
        .parse()
        .map_err(|_| Problem::new(Kind::IdMalformed, "a digest is 64 lower-case hexadecimal digits"))?;
    let repository = Arc::clone(app.bus.repository());
    let artifact = artifact(&*repository, &plan, digest).await?.ok_or_else(|| none(&plan))?;
    let ArtifactPart::Blob { size_bytes, .. } = artifact.part else { return Err(none(&plan)) };
    let first = repository.blob(digest, 0).await?.ok_or_else(|| none(&plan))?;
    let headers = [
        (header::CONTENT_TYPE, content_type(&artifact.media_type)),
        (header::CONTENT_DISPOSITION, disposition(&artifact.name)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
    ];
    Ok((headers, Body::from_stream(chunks(repository, digest, size_bytes, first))).into_response())
}

fn none(plan: &PlanId) -> Problem {
    Problem::new(Kind::BlobUnknown, format!("plan {plan} has no artifact of this digest here"))
}

/// The last artifact of the plan whose content is the blob.
async fn artifact(
    repository: &dyn EventRepository,
    plan: &PlanId,
    digest: Digest,
) -> Result<Option<ArtifactProduced>, Problem> {
    let types: EventTypes = [EventType::ArtifactProduced].into_iter().collect();
    let wanted = digest.to_string();
    let mut after = plans::row(repository, plan).await?.first_position.previous();
    let mut found = None;
    loop {
        let page = repository.list_by_plan(plan, types.clone(), after, PageLimits::default()).await?;
        let mut artifacts = page.events.iter().filter_map(|event| event.event.read::<ArtifactProduced>());
        let names =
            |part: &ArtifactPart| matches!(part, ArtifactPart::Blob { digest, .. } if *digest == wanted);
        found = artifacts.rfind(|artifact| names(&artifact.part)).or(found);
        if page.at_head || page.scanned_to <= after {
            return Ok(found);
        }
        after = page.scanned_to;
    }
}

/// One chunk after the other, read when the client has room for it. Breaks off where the blob ends before its size:
/// a part must not look like the whole.
fn chunks(
    repository: Arc<dyn EventRepository>,
    digest: Digest,
    size_bytes: u64,
    first: Vec<u8>,
) -> impl futures_util::Stream<Item = Result<Vec<u8>, StoreError>> {
    let begin = (repository, Some(first), 0, size_bytes);
    futures_util::stream::try_unfold(begin, move |(repository, ready, chunk, missing)| async move {
        let body = match ready {
            Some(body) => Some(body),
            None => repository.blob(digest, chunk).await?,
        };
        match body {
            Some(body) => {
                let missing = missing.saturating_sub(u64::try_from(body.len()).unwrap_or(u64::MAX));
                Ok(Some((body, (repository, None, chunk + 1, missing))))
            }
            None if missing > 0 => {
                tracing::error!(%digest, missing, "a blob ends before its size");
                // The connection is dropped at once with an error; what it was given before goes out first.
                tokio::task::yield_now().await;
                Err(StoreError::Failed("the blob ends before its size".into()))
            }
            None => Ok(None),
        }
    })
}

fn content_type(media_type: &str) -> HeaderValue {
    let good = media_type.contains('/') && media_type.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let value = if good { HeaderValue::from_str(media_type).ok() } else { None };
    value.unwrap_or_else(|| HeaderValue::from_static("application/octet-stream"))
}

/// A download under the artifact's file name, of which only harmless characters are kept.
fn disposition(name: &str) -> HeaderValue {
    let name: String = name
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' })
        .take(100)
        .collect();
    let name = if name.trim_matches('.').is_empty() { "artifact" } else { &name };
    HeaderValue::from_str(&format!("attachment; filename=\"{name}\""))
        .unwrap_or_else(|_| HeaderValue::from_static("attachment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        let check = |name: &str, expected: &str| {
            assert_eq!(disposition(name), format!("attachment; filename=\"{expected}\"").as_str());
        };
        check("report.md", "report.md");
        check("../../etc/passwd", "passwd");
        check("a\"; x=\"b\r\nc", "a___x__b__c");
        check("..", "artifact");
        check("", "artifact");
    }

    #[test]
    fn content_types_that_are_none_become_bytes() {
        assert_eq!(content_type("text/markdown; charset=utf-8"), "text/markdown; charset=utf-8");
        for bad in ["", "text", "text/\r\nx: y", "text/é"] {
            assert_eq!(content_type(bad), "application/octet-stream", "{bad}");
        }
    }
}
