//! The findings of a plan.

/// One finding of a plan.
pub struct Finding {
    /// What it is about, such as `contract`.
    pub what: &'static str,
    /// What was found.
    pub text: String,
}

/// The findings and warnings of a plan that is being made.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) findings: Vec<Finding>,
    pub(super) warnings: Vec<String>,
}

impl Notes {
    pub(super) fn found(&mut self, what: &'static str, text: String) {
        self.findings.push(Finding { what, text });
    }
}
