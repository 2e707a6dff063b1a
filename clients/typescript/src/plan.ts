/** Plans as the server lists and folds them. */

import type {
  Alternative,
  ArtifactPart,
  Failure,
  FailureReason,
  LimitWarned,
  Open,
  QuestionKind,
  UsageSum,
} from "./payloads.js";

/** Whether a plan runs. */
export type PlanStateName = "open" | "completed" | "failed";

/** How a plan stands, in one word for people. */
export type Phase =
  | "running"
  | "input_required"
  | "auth_required"
  | "paused"
  | "cancelling"
  | "completed"
  | "failed"
  | "cancelled"
  | "timed_out"
  | "rejected"
  | "limit_exceeded"
  | "interrupted";

/** A plan in a list. */
export interface PlanRow extends Open {
  plan_id: string;
  root_plan_id: string;
  parent_plan_id: string | null;
  /** 0 at the root. */
  depth: number;
  name: string;
  context_id: string;
  state: PlanStateName;
  /** The kind of end, if it failed. */
  reason: FailureReason | null;
  document_digest: string | null;
  /** The executor to which the tree belongs. */
  owner: string | null;
  started_at: string;
  ended_at: string | null;
  /** Cursor of its first event. */
  first: string;
  /** Cursor of its last event, once it has ended. */
  last: string | null;
  /** Events that it has, once it has ended. */
  last_seq: number | null;
}

/** A plan with what its events add up to. */
export interface Plan extends PlanRow {
  /** `null` if its first event cannot be read any more. */
  fold: PlanFold | null;
}

/** What the events of a plan add up to; lists are bounded, and `omitted` counts what they left out. */
export interface PlanFold extends Open {
  plan_id: string;
  root_plan_id: string;
  parent_plan_id: string | null;
  depth: number;
  name: string;
  goal: string;
  context_id: string | null;
  document_digest: string | null;
  executor_id: string | null;
  state: PlanStateName;
  reason: FailureReason | null;
  phase: Phase;
  started_at: string;
  ended_at: string | null;
  duration_ms: number | null;
  inputs: Open | null;
  outputs: Open | null;
  error: Failure | null;
  cancel_requested: { requested_by: string; reason: string; at: string } | null;
  /** In order of first appearance. */
  steps: Step[];
  decisions: Decision[];
  open_calls: OpenCall[];
  /** The open questions, oldest first; see {@link Planwire.answer}. */
  questions: Question[];
  children: Child[];
  artifacts: Artifact[];
  /** What its own calls used, and with them those of subplans that have ended. */
  usage: { own: UsageSum; total: UsageSum };
  /** Limits that are nearly used up. */
  limits_warned: LimitWarned[];
  counts: Record<string, number>;
  omitted: Record<string, number>;
  last_seq: number;
  last_position: number;
  /** A stream from here goes on where this state ends. */
  last_cursor: string;
  last_event_at: string;
}

/** A step of a plan. */
export interface Step extends Open {
  step: string;
  kind: "tool" | "decision" | "subplan" | "question";
  state: "running" | "ok" | "failed" | "recovered" | "abandoned";
  attempts: number;
  tool?: string;
  chosen?: string;
  items: { open: number; ok: number; failed: number; recovered: number };
  child_plan_ids?: string[];
  error?: Failure;
}

/** A decision of a plan. */
export interface Decision extends Open {
  decision_id: string;
  decision_type: string;
  step: string;
  question: string;
  chosen: string;
  alternatives: Alternative[];
  rationale: string;
  decided_by: "rule" | "model" | "person";
  at: string;
  seq: number;
}

/** A tool call that has not ended. */
export interface OpenCall extends Open {
  call_id: string;
  step: string;
  tool: string;
  attempt: number;
  called_at: string;
  seq: number;
  /** What it said last of how far it is. */
  progress: string | null;
}

/** A question that is open. */
export interface Question extends Open {
  request_id: string;
  /** The plan that asks, where this one only repeats it. */
  for_plan_id: string | null;
  step: string;
  kind: QuestionKind;
  question: string;
  /** JSON Schema of the answer. */
  schema: unknown;
  expires_at: string | null;
  /** What is to be approved. */
  arguments: Open | null;
  arguments_digest: string | null;
  asked_at: string;
  seq: number;
}

/** A subplan, as its parent's events tell it. */
export interface Child extends Open {
  plan_id: string;
  name: string;
  step: string;
  state: "running" | "completed" | "failed";
  error?: Failure;
  duration_ms?: number;
}

/** An artifact, as far as its parts have come. */
export interface Artifact extends Open {
  artifact_id: string;
  name: string;
  media_type: string;
  kind: ArtifactPart extends infer P ? (P extends unknown ? keyof P : never) : never;
  url?: string;
  digest?: string;
  size_bytes: number;
  parts: number;
  complete: boolean;
}
