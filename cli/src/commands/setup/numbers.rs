//! The questions about the users: their countries, and the language of calls.

use phonegate::admission::Admission;
use phonegate::config::{Config, NumbersConfig};
use phonegate::prompts::sentences;
use serde_json::{Value, json};

use super::Arguments;
use super::asker::{Asker, Question, Stop};

/// Asks for the countries. Returns the section `numbers`.
pub(super) fn ask_numbers(arguments: &Arguments, asker: &Asker) -> Result<Value, Stop> {
    let question = Question {
        option: "--default-country",
        text: "Country of your users (two letters)",
        help: "numbers without a country code are read as numbers of this country",
        default: None,
        check: &|text| check_numbers(text, text),
    };
    let country = asker.text(&question, arguments.default_country.as_deref())?.to_ascii_uppercase();
    let question = Question {
        option: "--allowed-countries",
        text: "Countries that may be called",
        help: "two letters each, separated by commas; calls to any other country are refused",
        default: Some(country.clone()),
        check: &|text| check_numbers(&country, text),
    };
    let allowed = countries(&asker.text(&question, arguments.allowed_countries.as_deref())?);
    Ok(json!({ "default_country": country, "allowed_countries": allowed }))
}

fn countries(text: &str) -> Vec<String> {
    let countries = text.split([',', ' ']).map(|country| country.trim().to_ascii_uppercase());
    countries.filter(|country| !country.is_empty()).collect()
}

fn check_numbers(default: &str, allowed: &str) -> Result<(), String> {
    let allowed = countries(allowed);
    if allowed.is_empty() {
        return Err("name at least one country".to_owned());
    }
    let default_country = Some(default.to_ascii_uppercase());
    let numbers = NumbersConfig { default_country, allowed_countries: Some(allowed), ..NumbersConfig::default() };
    Admission::new(&numbers).map(drop).map_err(|error| error.to_string())
}

/// Asks for the language.
pub(super) fn ask_language(arguments: &Arguments, asker: &Asker, numbers: &Value) -> Result<String, Stop> {
    let tags: Vec<String> = sentences().into_keys().collect();
    let country = numbers.get("default_country").and_then(Value::as_str).unwrap_or_default();
    let of_country = tags.iter().find(|tag| tag.ends_with(&format!("-{country}")));
    let default = of_country.cloned().unwrap_or_else(|| "en-US".to_owned());
    let all = tags.join(", ");
    let question = Question {
        option: "--language",
        text: "Language of the calls",
        help: &all,
        default: Some(default),
        check: &|text| match tags.iter().any(|tag| tag.eq_ignore_ascii_case(text)) {
            true => Ok(()),
            false => Err(format!("there are sentences for {all}")),
        },
    };
    let answer = asker.text(&question, arguments.language.as_deref())?;
    Ok(tags.iter().find(|tag| tag.eq_ignore_ascii_case(&answer)).cloned().unwrap_or(answer))
}

/// Checks that a number may be called.
pub(super) fn admit(config: &Config, number: &str) -> Result<(), String> {
    let admission = Admission::new(&config.numbers).map_err(|error| error.to_string())?;
    admission.admit(number).map(drop).map_err(|failure| failure.to_string())
}
