//! Asks the policy on behalf of one call, before it begins and in its midst.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use planwire_event::vocabulary::Object;

use super::{DENIED, Place, Policy, Reach, Source, Subject, Verdict};
use crate::tool::ToolError;

/// Whether people approved a call with these arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Approval {
    /// Nobody was asked.
    #[default]
    None,
    /// Somebody said yes.
    Given,
}

/// What one call may still reach. Cheap to clone; the default lets everything through.
#[derive(Clone, Default)]
pub struct Gate(Option<Arc<Judged>>);

struct Judged {
    policy: Arc<Policy>,
    source: Source,
    approval: Approval,
    tool: String,
    /// As the tool gets them: values of secrets are among them.
    arguments: Object,
    /// The working folder of the plan.
    folder: Place,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Gate(judges)" } else { "Gate(open)" })
    }
}

impl Gate {
    pub(crate) fn of(
        policy: &Arc<Policy>,
        source: Source,
        approval: Approval,
        tool: &str,
        arguments: &Object,
        folder: Place,
    ) -> Self {
        if policy.is_open(source) {
            return Self::default();
        }
        let (policy, tool, arguments) = (Arc::clone(policy), tool.to_owned(), arguments.clone());
        Self(Some(Arc::new(Judged { policy, source, approval, tool, arguments, folder })))
    }

    /// Whether everything is let through.
    pub(crate) const fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Lets the call touch `reach`, or says that it may not.
    ///
    /// # Errors
    ///
    /// [`ToolError`] with the code [`DENIED`], which names the rule and nothing of the call.
    pub fn admit(&self, reach: &Reach) -> Result<(), ToolError> {
        let Some(judged) = &self.0 else { return Ok(()) };
        judged.outcome(judged.policy.judge(judged.source, &judged.subject(reach)))
    }

    /// Lets the call connect to a server that it is led to while it runs.
    ///
    /// # Errors
    ///
    /// As for [`Gate::admit`].
    pub fn admit_host(&self, name: &str, port: u16) -> Result<(), ToolError> {
        if self.is_open() { Ok(()) } else { self.admit(&Reach::host(name, port)) }
    }

    /// Lets the call connect to an address of a host that was admitted: only rules that take away are asked.
    ///
    /// # Errors
    ///
    /// As for [`Gate::admit`].
    pub fn admit_address(&self, address: IpAddr, port: u16) -> Result<(), ToolError> {
        let Some(judged) = &self.0 else { return Ok(()) };
        let reach = Reach::host(&address.to_string(), port);
        judged.outcome(judged.policy.judge_further(judged.source, &judged.subject(&reach)))
    }
}

impl Judged {
    fn subject<'a>(&'a self, reach: &'a Reach) -> Subject<'a> {
        Subject { tool: &self.tool, arguments: &self.arguments, reach, folder: &self.folder }
    }

    fn outcome(&self, verdict: Verdict) -> Result<(), ToolError> {
        match verdict {
            Verdict::Allow => Ok(()),
            Verdict::Approve { .. } if self.approval == Approval::Given => Ok(()),
            verdict => Err(ToolError::new(DENIED, said(&verdict, self.source))),
        }
    }
}

/// What people are told of a verdict that is no yes.
pub(crate) fn said(verdict: &Verdict, source: Source) -> String {
    match (verdict, source) {
        (Verdict::Allow, _) => "the policy allows it".to_owned(),
        (Verdict::Deny { rule: Some(rule) }, _) => format!("the policy denies it: rule '{rule}'"),
        (Verdict::Deny { rule: None }, Source::Own) => "the policy denies it: no rule allows it".to_owned(),
        (Verdict::Deny { rule: None }, Source::Received) => {
            "the policy denies it: no rule allows it to documents that came over the network".to_owned()
        }
        (Verdict::Approve { rule }, _) => {
            format!("the policy denies it without approval, and nobody was asked about this: rule '{rule}'")
        }
    }
}
