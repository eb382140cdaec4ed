//! Judges entries without a call.

use std::convert::Infallible;
use std::sync::Arc;

use phonegate::approval::Approver;
use phonegate::call::{Outcome, StoredOutcome};
use phonegate_approval::attempts::Attempts;
use phonegate_approval::policy::{Method, Policy};
use phonegate_approval::secret::Entry;
use phonegate_approval::verdict::{Answer, Approval, EndedBy, ProviderVerdicts, StoredApproval, Verdict};

/// What the user of a call by this method is to press.
pub fn attempts(method: Method) -> Arc<Attempts> {
    let random = |bytes: &mut [u8]| -> Result<(), Infallible> {
        bytes.fill_with(|| fastrand::u8(..));
        Ok(())
    };
    Arc::new(Attempts::new(Policy::default().with_method(method), random).unwrap())
}

/// The judge of a call by this method.
pub fn approver(method: Method) -> Approver {
    Approver::new(attempts(method), ProviderVerdicts::Refused)
}

/// An approval of the method `pound`.
pub fn approval() -> Approval {
    let pound = Answer::Entry { attempt: 1, digits: Entry::default(), ended_by: EndedBy::Pound };
    match attempts(Method::Pound).judge(ProviderVerdicts::Refused, &pound) {
        Verdict::Approved(approval) => approval,
        Verdict::CheckPin(_) | Verdict::Denied(_) => panic!("the method `pound` is approved by #"),
    }
}

/// The outcome of a call that was approved.
pub fn verified() -> Outcome {
    Outcome::Verified(approval())
}

/// The outcome of an approved call, as a store returns it.
pub fn stored_as_verified() -> StoredOutcome {
    StoredOutcome::Verified(StoredApproval::from(&approval()))
}
