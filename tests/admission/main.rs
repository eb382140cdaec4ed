//! Which numbers may be called.

mod google;
#[path = "../support/mod.rs"]
mod support;
mod without_plus;

use phonegate::admission::Admission;
use phonegate::call::FailureReason;
use phonegate::config::NumbersConfig;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberType};

fn admission(json: &str) -> Admission {
    Admission::new(&serde_json::from_str::<NumbersConfig>(json).unwrap()).unwrap_or_else(|error| panic!("{error}"))
}

/// What is dialled: the number in E.164 and its extension.
fn dialled(admission: &Admission, text: &str) -> Result<(String, Option<String>), FailureReason> {
    let number = admission.admit(text).map_err(|failure| {
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        assert!(digits.len() < 7 || !failure.text().contains(&digits), "not masked: {failure}");
        failure.reason()
    })?;
    Ok((number.e164().to_owned(), number.extension().map(str::to_owned)))
}

#[test]
fn every_common_form_of_numbers_is_understood() {
    let us = admission(r#"{ "default_country": "US", "allowed_countries": ["US", "CA", "DE", "GB"] }"#);
    for (text, e164, extension) in [
        ("+1 4255551212", "+14255551212", None),
        ("12135551212", "+12135551212", None),
        ("+1 4255551234X12345", "+14255551234", Some("12345")),
        ("+1 4255551234x12345", "+14255551234", Some("12345")),
        ("+1 425 555 1234 ext. 77", "+14255551234", Some("77")),
        ("+14255551234;ext=77", "+14255551234", Some("77")),
        ("+1 425 555 1234 #77", "+14255551234", Some("77")),
        ("4255551212", "+14255551212", None),
        ("(425) 555-1212", "+14255551212", None),
        ("425.555.1212", "+14255551212", None),
        ("  +1 425 555 1212  ", "+14255551212", None),
        ("+1-416-555-0123", "+14165550123", None),
        ("+49 (30) 901820", "+4930901820", None),
        ("+49 030 901820", "+4930901820", None),
        ("4930901820", "+4930901820", None),
        ("+44 20 7946 0958", "+442079460958", None),
        ("+44 (0)20 7946 0958", "+442079460958", None),
    ] {
        assert_eq!(dialled(&us, text), Ok((e164.to_owned(), extension.map(str::to_owned))), "{text:?}");
    }
}

#[test]
fn the_example_numbers_of_every_country_are_understood() {
    let mut understood = 0;
    for region in PHONE_NUMBER_UTIL.get_supported_regions() {
        for kind in [PhoneNumberType::FixedLine, PhoneNumberType::Mobile, PhoneNumberType::VoIP] {
            let Ok(example) = PHONE_NUMBER_UTIL.get_example_number_for_type_and_region(region, kind) else { continue };
            // Countries that share a code share numbers.
            let allowed = PHONE_NUMBER_UTIL.get_regions_for_country_calling_code(example.country_code).unwrap();
            let allowed: Vec<_> = allowed.map(|region| region.to_string()).collect();
            let country = admission(&format!(r#"{{ "allowed_countries": {allowed:?} }}"#));
            assert_eq!(dialled(&country, &example.to_string()), Ok((example.to_string(), None)), "{region} {example}");
            understood += 1;
        }
    }
    assert!(understood > 500, "only {understood} examples");
}

/// In these countries a zero at the start belongs to the number, and is dialled from abroad too.
#[test]
fn leading_zeroes_that_belong_to_the_number_are_kept() {
    let abroad = r#"{ "default_country": "IT", "allowed_countries": ["IT", "SM", "CI", "CG", "GA"] }"#;
    let abroad = admission(abroad);
    for (text, e164) in [
        ("02 36618300", "+390236618300"),
        ("+39 02 36618300", "+390236618300"),
        ("06 12345678", "+390612345678"),
        ("+39 347 1234567", "+393471234567"),
        ("347 1234567", "+393471234567"),
        ("+225 07 08 09 10 11", "+2250708091011"),
        ("+242 06 123 4567", "+242061234567"),
        ("+241 06 03 12 34", "+24106031234"),
        ("+378 0549 886377", "+3780549886377"),
    ] {
        assert_eq!(dialled(&abroad, text), Ok((e164.to_owned(), None)), "{text:?}");
    }
    let us = admission(r#"{ "default_country": "US", "allowed_countries": ["US", "DE"] }"#);
    for text in ["+1 04255551212", "04255551212", "+39 0236618300"] {
        assert!(dialled(&us, text).is_err(), "{text:?}");
    }
}

#[test]
fn invalid_numbers_are_refused() {
    let us = admission(r#"{ "default_country": "US" }"#);
    for text in [
        "",
        " ",
        "+",
        "++14255551212",
        "911",
        "112",
        "+1 911",
        "+1911",
        "411",
        "5551212",
        "+1 555 1212",
        "+1 1255551212",
        "+1 42555512123",
        "+14255551212 call me",
        "1-800-FLOWERS",
        "+1 4255551212X",
        "+1 4255551212X12345X6",
        "+1 4255551212X123456789012",
        "+1 4255551212, +1 4255551213",
        "+1 4255551212;1;ok",
        "4255551212\r\n4255551213",
        "+1 4255551212\0",
        "+999 123456789",
        "+0 4255551212",
        "sip:alice@contoso.com",
        "tel:+14255551212;phone-context=+1",
        "٤٢٥٥٥٥١٢١٢",
        "4255551212\t4255551213",
        "alice",
        "-14255551212",
        "1e10",
        &"4".repeat(65),
        &"1".repeat(100_000),
    ] {
        assert_eq!(dialled(&us, text), Err(FailureReason::InvalidNumber), "{text:?}");
    }
}

#[test]
fn without_a_default_country_a_country_code_is_needed() {
    let none = admission(r#"{ "allowed_countries": ["US"] }"#);
    assert_eq!(dialled(&none, "+1 4255551212").unwrap().0, "+14255551212");
    assert_eq!(dialled(&none, "14255551212").unwrap().0, "+14255551212", "tried once with +");
    assert_eq!(dialled(&none, "4255551212"), Err(FailureReason::InvalidNumber));
    let text = none.admit("4255551212").unwrap_err().to_string();
    assert!(text.contains("numbers.default_country"), "{text}");
}

#[test]
fn only_the_default_country_is_allowed_by_default() {
    let us = admission(r#"{ "default_country": "US" }"#);
    for (text, country) in [("+44 20 7946 0958", "GB"), ("+1 416 555 0123", "CA"), ("+1 876 555 1234", "JM")] {
        let failure = us.admit(text).unwrap_err();
        assert_eq!(failure.reason(), FailureReason::CountryNotAllowed, "{text}");
        assert!(failure.text().contains(country), "{failure}");
    }
}

#[test]
fn numbers_of_no_country_are_refused() {
    let us = admission(r#"{ "default_country": "US" }"#);
    for text in ["+800 12345678", "+870 773 111 632", "+883 510 000 000 094"] {
        assert_eq!(dialled(&us, text), Err(FailureReason::CountryNotAllowed), "{text}");
    }
}

/// Numbers that cost the caller or profit the callee, and those of services, are refused unless they are asked for.
#[test]
fn only_the_allowed_types_may_be_called() {
    let countries = r#""allowed_countries": ["US", "GB", "DE", "IT", "FR"]"#;
    let usual = admission(&format!("{{ {countries} }}"));
    for (text, kind) in [
        ("+1 900 555 1234", "premium_rate"),
        ("+44 909 879 0123", "premium_rate"),
        ("+49 900 1 234567", "premium_rate"),
        ("+49 137 1234567", "shared_cost"),
        ("+49 180 1234567", "shared_cost"),
        ("+49 700 12345678", "personal_number"),
        ("+44 70 1234 5678", "personal_number"),
        ("+39 199 123456", "personal_number"),
        ("+39 840 123456", "shared_cost"),
        ("+33 810 123456", "shared_cost"),
        ("+1 500 234 5678", "personal_number"),
        ("+1 800 234 5678", "toll_free"),
        ("+44 55 1234 5678", "uan"),
    ] {
        let failure = usual.admit(text).unwrap_err();
        assert_eq!(failure.reason(), FailureReason::CountryNotAllowed, "{text}");
        assert!(failure.text().contains(&format!("of the type {kind},")), "{text}: {failure}");
        let asked_for = admission(&format!(r#"{{ {countries}, "allowed_types": ["mobile", "{kind}"] }}"#));
        assert!(asked_for.admit(text).is_ok(), "{text}");
    }
    for text in ["+1 425 555 1212", "+44 20 7946 0958", "+49 1512 3456789", "+39 347 1234567", "+49 32 123456789"] {
        assert!(usual.admit(text).is_ok(), "{text}");
    }
}

#[test]
fn numbers_that_start_with_a_blocked_prefix_are_refused() {
    let usual = admission(r#"{ "default_country": "US" }"#);
    let failure = usual.admit("+1 425 976 1212").unwrap_err();
    assert_eq!(failure.reason(), FailureReason::Blocked);
    assert!(failure.text().contains("+1???976"), "{failure}");
    assert!(usual.admit("+1 425 555 0976").is_ok());
    let own = admission(r#"{ "default_country": "US", "blocked_prefixes": ["+1425555"] }"#);
    assert_eq!(dialled(&own, "425 555 1212"), Err(FailureReason::Blocked));
    assert!(own.admit("425 556 1212").is_ok());
    assert!(own.admit("425 976 1212").is_ok());
}

#[test]
fn blocked_numbers_are_refused_in_every_spelling() {
    let us = admission(r#"{ "default_country": "US", "blocked": ["(425) 555-0199"] }"#);
    for text in ["+14255550199", "425 555 0199", "+1 4255550199X1", "14255550199"] {
        assert_eq!(dialled(&us, text), Err(FailureReason::Blocked), "{text}");
    }
    assert!(us.admit("+14255550198").is_ok());
}

#[test]
fn a_number_shows_itself_masked() {
    let us = admission(r#"{ "default_country": "US", "allowed_countries": ["US", "DE"] }"#);
    for (text, shown) in
        [("+1 4255551212", "+1******1212"), ("+1 4255551234X12345", "+1******1234x…"), ("+49 30 901820", "+49****1820")]
    {
        let number = us.admit(text).unwrap();
        assert_eq!((number.to_string(), format!("{number:?}")), (shown.to_owned(), shown.to_owned()));
    }
}

#[test]
fn rules_that_cannot_work_are_refused_with_their_path() {
    for (json, error) in [
        ("{}", "numbers: needs `default_country`, `allowed_countries` or both"),
        (r#"{ "default_country": "USA" }"#, "numbers.default_country: `USA` is not a country"),
        (r#"{ "default_country": "us" }"#, "numbers.default_country: `us` is not a country"),
        (r#"{ "allowed_countries": [] }"#, "numbers.allowed_countries: is empty"),
        (r#"{ "allowed_countries": ["US", "XX"] }"#, "numbers.allowed_countries[1]: `XX` is not a country"),
        (r#"{ "default_country": "US", "blocked": ["911"] }"#, "numbers.blocked[0]: is not a valid telephone number"),
        (r#"{ "default_country": "US", "allowed_types": [] }"#, "numbers.allowed_types: is empty"),
        (
            r#"{ "default_country": "US", "blocked_prefixes": ["1900"] }"#,
            "numbers.blocked_prefixes[0]: is not a prefix",
        ),
        (r#"{ "default_country": "US", "blocked_prefixes": ["+"] }"#, "numbers.blocked_prefixes[0]: is not a prefix"),
        (r#"{ "default_country": "US", "blocked_prefixes": ["+1*"] }"#, "numbers.blocked_prefixes[0]: is not a prefix"),
    ] {
        let Err(refused) = Admission::new(&serde_json::from_str(json).unwrap()) else { panic!("{json} is taken") };
        assert!(refused.to_string().starts_with(error), "{refused}");
    }
}

#[test]
fn a_number_can_be_read_that_may_not_be_called() {
    let us = admission(r#"{ "default_country": "US", "blocked": ["+14255550199"] }"#);
    for text in ["+49 30 901820", "+1 900 555 1212", "+1 425 555 0199"] {
        assert!(us.admit(text).is_err(), "{text}");
        assert_eq!(us.read(text).map(|number| number.e164().replace(['+', ' '], "")), Ok(text.replace(['+', ' '], "")));
    }
    assert_eq!(us.read("911").map_err(|failure| failure.reason()), Err(FailureReason::InvalidNumber));
}
