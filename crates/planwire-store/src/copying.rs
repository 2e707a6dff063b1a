//! What all copies of logs have in common: how far they are, what they may replace, and that they are verified.

use futures_executor::block_on;

use crate::contract::StoreError;
use crate::verify::{Auditable, Flaw, Verified, verify};

/// What is being done for a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Pages or events are copied.
    Copying,
    /// The copy is verified, event by event.
    Verifying,
}

/// What becomes of what is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is done.
    Keep,
    /// It is replaced.
    Replace,
}

/// Is told what is being done, how much of it is done, and how much there is.
pub type Told<'a> = &'a mut dyn FnMut(Stage, u64, u64);

/// Verifies a copy before it counts. The inner error is its first flaw.
pub(crate) fn verified(
    store: &dyn Auditable,
    told: Told<'_>,
) -> Result<Result<Verified, Box<Flaw>>, StoreError> {
    let checking = verify(store, &[], |at, end| told(Stage::Verifying, at.get(), end.get()));
    let mut verified = block_on(tokio::task::unconstrained(checking))?;
    Ok(if verified.flaws.is_empty() { Ok(verified) } else { Err(Box::new(verified.flaws.swap_remove(0))) })
}
