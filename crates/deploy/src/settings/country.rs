//! The entry `DefaultCountryCode` of `MfaSettings.xml`: the country of numbers without a country code. Install clears the
//! entry, so its value must be set in `phonegate.json`.

use phonegate::config::countries_of;

/// Maximum number of countries that the advice names besides the first.
const MAX_NAMED: usize = 8;

/// The meaning of a `DefaultCountryCode`.
#[derive(Debug, PartialEq, Eq)]
pub enum DefaultCountry {
    /// A calling code.
    Known {
        /// The code, such as 1.
        code: u16,
        /// Its countries, the main one first: US, then CA and others.
        countries: Vec<String>,
    },
    /// Another text.
    Unknown,
}

impl DefaultCountry {
    /// Parses the entry's text, such as `1`, `+1` or `0049`. `None` if it is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let digits = text.strip_prefix('+').unwrap_or(text).trim().trim_start_matches('0');
        let is_code = (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let countries = is_code.then(|| digits.parse().ok()).flatten().map(|code| (code, countries_of(code)));
        Some(match countries {
            Some((code, countries)) if !countries.is_empty() => Self::Known { code, countries },
            _ => Self::Unknown,
        })
    }

    /// Returns the country to propose.
    pub fn main(&self) -> Option<&str> {
        match self {
            Self::Known { countries, .. } => countries.first().map(String::as_str),
            Self::Unknown => None,
        }
    }

    /// Returns whether the configuration has this country or none.
    pub fn agrees_with(&self, configured: Option<&str>) -> bool {
        match (self, configured) {
            (Self::Unknown, _) => false,
            (Self::Known { .. }, None) => true,
            (Self::Known { countries, .. }, Some(configured)) => countries.iter().any(|country| country == configured),
        }
    }

    /// Returns advice on `numbers.default_country`, whose present value is `configured`. It does not repeat a text that is
    /// not a calling code, which could be a secret.
    pub fn advice(&self, configured: Option<&str>) -> String {
        let Self::Known { code, countries } = self else {
            return "MfaSettings.xml has a DefaultCountryCode that is not a country code: set numbers.default_country \
                    of phonegate.json to your users' country"
                .to_owned();
        };
        let code_text = format!("MfaSettings.xml has the DefaultCountryCode {code}");
        let (first, others) = countries.split_first().map_or(("", [].as_slice()), |(first, others)| (first, others));
        match configured {
            Some(configured) if self.agrees_with(Some(configured)) => {
                format!("{code_text}, and numbers.default_country is {configured}, which has it")
            }
            Some(configured) => format!(
                "{code_text}, which is that of {first}, but numbers.default_country is {configured}: numbers without a country \
                 code would be dialled in another country than before. Set it to {first} if that is not intended"
            ),
            None => {
                let mut named: Vec<_> = others.iter().take(MAX_NAMED).map(String::as_str).collect();
                if others.len() > MAX_NAMED {
                    named.push("others");
                }
                let also = match named.is_empty() {
                    true => String::new(),
                    false => format!(" (or, with the same code, {})", named.join(", ")),
                };
                format!(
                    "{code_text}: \"default_country\": \"{first}\"{also} in `numbers` of phonegate.json means the same"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calling_code_is_parsed_in_each_form() {
        for (text, main) in
            [("1", Some("US")), ("+1", Some("US")), (" +49 ", Some("DE")), ("0049", Some("DE")), ("44", Some("GB"))]
        {
            assert_eq!(DefaultCountry::parse(text).as_ref().and_then(DefaultCountry::main), main, "{text}");
        }
        for text in ["0", "+", "US", "999", "12345", "+1 425", "hunter2"] {
            let read = DefaultCountry::parse(text);
            assert_eq!(read, Some(DefaultCountry::Unknown), "{text}");
            assert!(!DefaultCountry::Unknown.advice(None).contains(text), "{text}");
        }
        assert_eq!(DefaultCountry::parse(" "), None);
    }

    #[test]
    fn the_advice_names_all_countries_of_the_calling_code() {
        let advice = |text: &str, configured| DefaultCountry::parse(text).map(|read| read.advice(configured));
        let names = |text: &str, configured, words: &[&str]| {
            let advice = advice(text, configured).unwrap_or_default();
            assert!(words.iter().all(|words| advice.contains(words)), "{words:?} in {advice}");
        };
        names("+1", None, &["DefaultCountryCode 1", "\"default_country\": \"US\"", "CA", "others"]);
        names("44", None, &["\"GB\"", "GG, IM, JE"]);
        names("49", None, &["\"default_country\": \"DE\" in"]);
        names("+1", Some("CA"), &["numbers.default_country is CA, which has it"]);
        names("+1", Some("DE"), &["that of US", "is DE", "another country"]);
    }
}
