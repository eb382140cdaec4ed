//! What was found out, one line for each part.

use comfy_table::Table;
use serde::Serialize;

use crate::output;

/// What is known of one part.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    event: &'static str,
    pub(super) part: &'static str,
    pub(super) result: Verdict,
    pub(super) text: String,
}

/// How a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but somebody should look.
    Warning,
    /// It keeps calls from being placed.
    Failed,
    /// It was not looked at.
    Skipped,
}

/// Everything, in the order in which it was found out.
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

    /// In a sentence.
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
