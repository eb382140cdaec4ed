//! The findings: one line for each part of the installation.

use comfy_table::Table;
use serde::Serialize;

use crate::output;

/// A finding about one part. Also a line of `--json`, on whose names scripts depend.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    event: &'static str,
    pub(super) part: &'static str,
    pub(super) result: Verdict,
    pub(super) text: String,
}

/// The result of examining a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// The part is good.
    Ok,
    /// The part works, but needs attention.
    Warning,
    /// The part prevents calls.
    Failed,
    /// The part was not examined.
    Skipped,
}

/// All findings, in the order of the examination.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

impl Findings {
    pub(super) fn add(&mut self, part: &'static str, result: Verdict, text: impl Into<String>) {
        self.0.push(Finding { event: "finding", part, result, text: text.into() });
    }

    pub(super) fn count(&self, result: Verdict) -> usize {
        self.0.iter().filter(|finding| finding.result == result).count()
    }

    pub(super) fn table(&self) -> Table {
        let mut table = output::table(["PART", "RESULT", "DETAIL"]);
        for Finding { part, result, text, .. } in &self.0 {
            let result = match result {
                Verdict::Ok => "ok",
                Verdict::Warning => "warning",
                Verdict::Failed => "failed",
                Verdict::Skipped => "skipped",
            };
            table.add_row([*part, result, text]);
        }
        table
    }

    /// Returns a sentence about all findings.
    pub(super) fn conclusion(&self) -> String {
        let (failed, warnings) = (self.count(Verdict::Failed), self.count(Verdict::Warning));
        match (failed, warnings) {
            (0, 0) => "Nothing is wrong.".to_owned(),
            (0, 1) => "Nothing is wrong, but look at the warning.".to_owned(),
            (0, warnings) => format!("Nothing is wrong, but look at the {warnings} warnings."),
            (1, _) => "One thing is wrong.".to_owned(),
            (failed, _) => format!("{failed} things are wrong."),
        }
    }
}
