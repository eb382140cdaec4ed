//! Warnings about weak settings of the section `approval`.

use phonegate_approval::policy;

use super::super::Config;

/// A warning is given if a guess approves more than one call in this many.
const WEAK_ODDS: f64 = 100.0;

/// The code digits that the warning recommends. With them, 5 attempts are guessed less often than in 1 of 100 calls.
const ENOUGH_DIGITS: u64 = 3;

impl Config {
    /// Returns the weak settings of `approval`, each as a sentence that says what to set.
    pub(in crate::config) fn approval_warnings(&self) -> impl Iterator<Item = String> {
        self.pound_warning().into_iter().chain(self.odds_warning())
    }

    fn pound_warning(&self) -> Option<String> {
        (policy::Method::from(self.approval.method) == policy::Method::Pound).then(|| {
            "approval.method: is `pound`: a recording can press #, such as the greeting of a mailbox, and a user can press \
             it out of habit; set \"approval\": { \"method\": \"code\" }"
                .to_owned()
        })
    }

    /// The odds of a machine that does not listen, but presses digits that could be the code, in each attempt.
    fn odds_warning(&self) -> Option<String> {
        if policy::Method::from(self.approval.method) != policy::Method::Code {
            return None;
        }
        let (digits, attempts) = (self.approval.code_digits.get(), self.prompts.attempts.get());
        // The first digit is not the fraud key, each further one is neither that nor the digit before it.
        let codes = (1..digits).fold(9.0, |codes, _| codes * 8.0);
        let guessed = 1.0 - (0..attempts).fold(1.0, |missed, _| missed * (1.0 - 1.0 / codes));
        let calls = 1.0 / guessed;
        (calls < WEAK_ODDS).then(|| {
            let (key, what_to_do) = if digits < ENOUGH_DIGITS {
                ("approval.code_digits", "set it to 3 or 4")
            } else {
                ("prompts.attempts", "set it to 5 or less, or \"approval\": { \"code_digits\": 4 }")
            };
            format!(
                "{key}: a machine that does not listen guesses the code in 1 of {calls:.0} calls (code_digits {digits}, \
                 attempts {attempts}); {what_to_do}"
            )
        })
    }
}
