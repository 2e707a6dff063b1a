/** The payloads of Planwire's own event types. A field that is not named here is kept as it is, in both directions. */

/** An object that may have more fields than those that are named. */
export interface Open {
  [field: string]: unknown;
}

/** What went wrong, for programs and for people. */
export interface Failure extends Open {
  /** Short and stable: `exit_status`, `timed_out`, `not_found` ... */
  code: string;
  /** For people. */
  message: string;
  /** The step at which it happened. */
  step?: string;
}

/** How much a plan did, without its subplans. */
export interface Counts extends Open {
  /** Tool calls, each attempt counted. */
  tool_calls?: number;
  /** Decisions. */
  decisions?: number;
  /** Subplans that it spawned itself. */
  subplans?: number;
}

/** What one call used. */
export interface Usage extends Open {
  /** Tokens that went in. */
  input_tokens?: number;
  /** Tokens that came out. */
  output_tokens?: number;
  /** All tokens, where they are not the sum of the two. */
  total_tokens?: number;
  /** What it cost. */
  cost?: number;
  /** The currency of `cost`, such as `USD`. */
  currency?: string;
  /** Nobody knows what it used; this is what it had reserved. */
  estimated?: boolean;
}

/** What a call may use at most. */
export interface Reserved extends Open {
  /** Tokens. */
  tokens?: number;
  /** Cost. */
  cost?: number;
}

/** What any number of calls used together. */
export interface UsageSum extends Open {
  /** Tool calls, each attempt counted. */
  tool_calls?: number;
  /** All tokens. */
  tokens?: number;
  /** Those of them that are known to have gone in. */
  input_tokens?: number;
  /** Those of them that are known to have come out. */
  output_tokens?: number;
  /** Cost, added up whatever its currency. */
  cost?: number;
  /** The currency, if the first cost names one and no other names another. Estimated costs name none. */
  currency?: string;
}

/** A limit for a plan and all below it of which more was asked for than is left. */
export interface LimitHit extends Open {
  /** The plan whose limit it is. */
  plan_id: string;
  /** `tool_calls`, `tokens` or `cost`. */
  limit: string;
  /** How much was used. */
  used: number;
  /** How much may be used. */
  max: number;
}

/** Who asked for a plan, and how. */
export interface Origin extends Open {
  /** `cli`, `http`, `a2a` or `engine` (a subplan). */
  protocol: string;
  /** Who asked. */
  principal: string;
  /** The message that led to the plan. */
  message?: unknown;
}

/** A plan began: the first event of each plan. */
export interface PlanStarted extends Open {
  /** Name of the plan document, or any short name. */
  name: string;
  /** What the plan is to reach, for people. */
  goal?: string;
  /** Inputs by name. */
  inputs?: Open;
  /** SHA-256 of the plan document, 64 hexadecimal digits. */
  document_digest?: string;
  /** The plan that spawned this one; it must be open and have announced it. */
  parent_plan_id?: string;
  /** Groups several trees; the root's plan id if not given. */
  context_id?: string;
  /** The executor that runs the plan. */
  executor_id?: string;
  /** Where relative paths of the tree start; absolute. */
  folder?: string;
  /** Whether the document came along with the request from somebody who need not be the operator. */
  document_received?: boolean;
  /** Who asked for the plan, and how. */
  origin?: Origin;
}

/** A plan reached its goal. Nothing follows. */
export interface PlanCompleted extends Open {
  /** Outputs by name. */
  outputs?: Open;
  /** Milliseconds from start to end. */
  duration_ms?: number;
  /** What the plan did. */
  counts?: Counts;
  /** What the plan and all below it used. */
  usage?: UsageSum;
}

/** The kind of end of a plan that did not reach its goal. */
export type FailureReason = "error" | "cancelled" | "timed_out" | "rejected" | "limit_exceeded" | "interrupted";

/** A plan ended without reaching its goal. Nothing follows. */
export interface PlanFailed extends Open {
  /** The kind of end. */
  reason: FailureReason;
  /** What went wrong. */
  error: Failure;
  /** Milliseconds from start to end. */
  duration_ms?: number;
  /** The limit of which more was asked for than is left, if that is why. */
  limit?: LimitHit;
  /** What the plan and all below it used. */
  usage?: UsageSum;
}

/** What could be chosen. */
export interface DecisionOption extends Open {
  /** Its name. */
  name: string;
  /** What choosing it means. */
  description?: string;
}

/** An option that was not chosen. */
export interface Alternative extends Open {
  /** Its name. */
  name: string;
  /** Why it was not chosen. */
  reason?: string;
}

/** One of several options was chosen. */
export interface DecisionMade extends Open {
  /** Unique within the plan. */
  decision_id: string;
  /** `choice`, `recovery` ... */
  decision_type: string;
  /** The step that asked; of a recovery, the step that failed. */
  step?: string;
  /** What was asked. */
  question: string;
  /** What could be chosen. */
  options: DecisionOption[];
  /** Name of the option that was chosen. */
  chosen: string;
  /** The options that were not chosen, and why. */
  alternatives?: Alternative[];
  /** Why. */
  rationale?: string;
  /** From 0 to 1. */
  confidence?: number;
  /** An expression of the document, a language model, or a person. */
  decided_by: "rule" | "model" | "person";
  /** What takes the place of the missing output, if the decision recovers from a failure. */
  output?: unknown;
  /** The failure that is decided about. */
  error?: Failure;
}

/** A tool is about to run. */
export interface ToolCalled extends Open {
  /** Unique among the open calls of the plan. */
  call_id: string;
  /** The step that calls. */
  step?: string;
  /** Name of the tool. */
  tool: string;
  /** Arguments by name. */
  arguments?: Open;
  /** 1, 2, 3 ...; 1 if left out. */
  attempt?: number;
  /** What it may use at most, where that is said or a limit holds for it. */
  reserved?: Reserved;
}

/** A tool that runs says how far it is. */
export interface ToolProgress extends Open {
  /** The call; it must be open. */
  call_id: string;
  /** How far it is, for people. */
  text: string;
}

/** A tool call ended: `ok` with `output`, or not with `error`. */
export interface ToolCompleted extends Open {
  /** The call that ended. */
  call_id: string;
  /** The step that called. */
  step?: string;
  /** Name of the tool. */
  tool?: string;
  /** Whether it did what it was called for. */
  ok: boolean;
  /** What it gave, if `ok`. */
  output?: unknown;
  /** What went wrong, if not `ok`. */
  error?: Failure;
  /** Whether the output was cut. */
  truncated?: boolean;
  /** Milliseconds from call to end. */
  duration_ms?: number;
  /** The attempt that ended. */
  attempt?: number;
  /** What the call used, as tokens and cost. */
  usage?: Usage;
}

/** A subplan is about to start; an event of the parent. */
export interface SubplanSpawned extends Open {
  /** The plan that will start. */
  child_plan_id: string;
  /** Name of its document. */
  name?: string;
  /** Its inputs by name. */
  inputs?: Open;
  /** The step that spawns. */
  step?: string;
  /** Place of its item in the list of `for_each`, from 0. */
  item?: number;
  /** SHA-256 of its document, if that was made at run time. */
  document_digest?: string;
}

/** A subplan ended: `ok` with `outputs`, or not with `error`; an event of the parent. */
export interface SubplanCompleted extends Open {
  /** The plan that ended. */
  child_plan_id: string;
  /** Whether it completed. */
  ok: boolean;
  /** Its outputs by name, if `ok`. */
  outputs?: Open;
  /** Why it failed, if not `ok`. */
  error?: Failure;
  /** Milliseconds from spawn to end. */
  duration_ms?: number;
  /** The limit of which more was asked for than is left, if that is why. */
  limit?: LimitHit;
  /** What the subplan and all below it used. */
  usage?: UsageSum;
}

/** Content of an artifact, or where it is: exactly one of the members. */
export type ArtifactPart =
  | { text: string }
  | { data: unknown }
  | { url: string }
  | { blob: { digest: string; size_bytes: number } };

/** A result for people or programs outside of the plan. */
export interface ArtifactProduced extends Open {
  /** Unique within the plan. */
  artifact_id: string;
  /** A file name or title. */
  name: string;
  /** As in `Content-Type`. */
  media_type: string;
  /** The content, or where it is. */
  part: ArtifactPart;
  /** Whether the part continues an earlier one of the same artifact. */
  append?: boolean;
  /** Whether the artifact is complete with this part. */
  last_chunk?: boolean;
}

/** What a question asks for: something unknown, leave to do something, or access to something. */
export type QuestionKind = "input" | "approval" | "auth";

/** A plan asks somebody and waits for the answer; its other steps go on. */
export interface InputRequested extends Open {
  /** Unique among the open questions of the plan. */
  request_id: string;
  /** In a repetition on an ancestor: the plan that asks. */
  for_plan_id?: string;
  /** The step that asks. */
  step?: string;
  /** What is asked for. */
  kind: QuestionKind;
  /** The question, for people. */
  question: string;
  /** JSON Schema of the answer. */
  schema?: unknown;
  /** When the plan stops waiting. */
  expires_at?: string;
  /** What is to be approved. */
  arguments?: Open;
  /** SHA-256 of `arguments`: an answer that names another one is refused. */
  arguments_digest?: string;
}

/** A question was answered, or is not open any more. */
export interface InputReceived extends Open {
  /** The question. */
  request_id: string;
  /** What came of it; `answered` if left out. */
  outcome?: "answered" | "expired" | "withdrawn";
  /** The answer. */
  value?: unknown;
  /** Who answered. */
  answered_by: string;
  /** How: `http`, `a2a`, `cli`, `page`, `engine` ... */
  via?: string;
  /** The digest of the arguments that the answer is about. */
  arguments_digest?: string;
  /** The message that brought the answer. */
  message?: unknown;
}

/** Somebody asked that the plan and all below it end. */
export interface CancelRequested extends Open {
  /** Who asked. */
  requested_by: string;
  /** Why. */
  reason?: string;
}

/** Somebody asked that the plan and all below it begin nothing new. */
export interface PauseRequested extends Open {
  /** Who asked. */
  requested_by: string;
  /** Why. */
  reason?: string;
}

/** Somebody asked that a paused plan go on. */
export interface ResumeRequested extends Open {
  /** Who asked. */
  requested_by: string;
  /** Why. */
  reason?: string;
}

/** Another executor runs the tree from now on. An event of the root. */
export interface PlanAdopted extends Open {
  /** Who runs it from now on. */
  executor_id: string;
  /** Who ran it until now. */
  previous: string;
  /** Why. */
  reason?: string;
}

/** Most of what a plan and all below it may use is used, or of its time. */
export interface LimitWarned extends Open {
  /** `tool_calls`, `tokens`, `cost` or `timeout`. */
  limit: string;
  /** How much is used; of `timeout` milliseconds. */
  used: number;
  /** How much may be used. */
  max: number;
}

/** Payload by event type. */
export interface Payloads {
  PlanStarted: PlanStarted;
  PlanCompleted: PlanCompleted;
  PlanFailed: PlanFailed;
  DecisionMade: DecisionMade;
  ToolCalled: ToolCalled;
  ToolProgress: ToolProgress;
  ToolCompleted: ToolCompleted;
  SubplanSpawned: SubplanSpawned;
  SubplanCompleted: SubplanCompleted;
  ArtifactProduced: ArtifactProduced;
  InputRequested: InputRequested;
  InputReceived: InputReceived;
  CancelRequested: CancelRequested;
  PauseRequested: PauseRequested;
  ResumeRequested: ResumeRequested;
  PlanAdopted: PlanAdopted;
  LimitWarned: LimitWarned;
}
