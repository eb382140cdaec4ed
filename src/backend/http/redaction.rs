//! Hides secrets in the texts of the service that messages quote.

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::template::percent_encode;
use crate::redact::sanitize_untrusted;

/// The secrets of the settings, in each form that a request may have them in.
#[derive(Default)]
pub(super) struct HiddenSecrets(Vec<SecretString>);

impl HiddenSecrets {
    pub(super) fn new(secrets: impl IntoIterator<Item = SecretString>) -> Self {
        let mut forms = Vec::new();
        for secret in secrets {
            let encoded = Zeroizing::new(percent_encode(secret.expose_secret()).into_owned());
            if *encoded != secret.expose_secret() {
                forms.push(encoded.as_str().into());
            }
            forms.push(secret);
        }
        forms.retain(|form: &SecretString| !form.expose_secret().is_empty());
        // A secret may contain another one.
        forms.sort_by_key(|form| std::cmp::Reverse(form.expose_secret().len()));
        Self(forms)
    }

    /// Returns the redactor for the reply to a request. `token`: the one that the request had, if any.
    pub(super) fn with_token<'a>(&'a self, token: Option<&'a SecretString>) -> Redactor<'a> {
        Redactor { secrets: &self.0, token }
    }
}

/// Quotes the texts of one reply. A service may quote secrets from the request.
#[derive(Clone, Copy)]
pub(super) struct Redactor<'a> {
    secrets: &'a [SecretString],
    token: Option<&'a SecretString>,
}

impl Redactor<'_> {
    /// Quotes a text without secrets, and without its digits, which could be those of a code or a number.
    pub(super) fn quote(self, text: &str) -> String {
        let secrets = self.token.into_iter().chain(self.secrets);
        let hidden = secrets.fold(text.to_owned(), |text, secret| text.replace(secret.expose_secret(), "…"));
        let hidden: String =
            sanitize_untrusted(&hidden).chars().map(|c| if c.is_numeric() { '*' } else { c }).collect();
        format!("\"{hidden}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_in_each_of_its_forms() {
        let secrets = HiddenSecrets::new(["pass", "pass/word", ""].map(SecretString::from));
        let token = SecretString::from("token-of-pass".to_owned());
        let redactor = secrets.with_token(Some(&token));
        assert_eq!(redactor.quote("a pass/word, pass%2Fword, pass and token-of-pass 471"), "\"a …, …, … and … ***\"");
        assert_eq!(secrets.with_token(None).quote("token-of-pass"), "\"token-of-…\"");
    }
}
