//! Numbers without `+`: `numbers.without_plus`.

use phonegate::admission::Admission;
use phonegate::call::FailureReason::{self, InvalidNumber};

use super::{admission, dialled};

fn in_countries(default: &str, allowed: &[&str], without_plus: &str) -> Admission {
    admission(&format!(
        r#"{{ "default_country": "{default}", "allowed_countries": {allowed:?}, "without_plus": "{without_plus}" }}"#
    ))
}

fn read(admission: &Admission, text: &str) -> Result<String, FailureReason> {
    dialled(admission, text).map(|(e164, _)| e164)
}

/// Each with the default country, the countries that may be called, the text, and what is dialled.
#[test]
fn a_number_without_plus_rings_only_the_phone_that_was_meant() {
    for (default, allowed, text, expected) in [
        // The first group is the default country's calling code.
        ("DE", &["DE"][..], "49 151 23456789", Ok("+4915123456789")),
        ("DE", &["DE"], "49-151-23456789", Ok("+4915123456789")),
        ("DE", &["DE"], "49/151/23456789", Ok("+4915123456789")),
        ("DE", &["DE"], "(49) 151 23456789", Ok("+4915123456789")),
        ("DE", &["DE"], "49.151.23456789", Ok("+4915123456789")),
        ("DE", &["DE"], "49 30 901820", Ok("+4930901820")),
        ("DE", &["DE"], "49 151 2345", Err(InvalidNumber)),
        ("FI", &["FI"], "358 9 1600", Ok("+35891600")),
        ("SE", &["SE"], "46 8 123 456 78", Ok("+46812345678")),
        ("ID", &["ID"], "62 21 12345678", Ok("+622112345678")),
        ("XK", &["XK"], "383 44 123 456", Ok("+38344123456")),
        ("NO", &["NO"], "47 22 12 34 56", Ok("+4722123456")),
        ("NO", &["NO"], "47 12 34 56", Err(InvalidNumber)),
        ("NO", &["NO"], "47123456", Ok("+4747123456")),
        ("US", &["US"], "1 425 555 1212", Ok("+14255551212")),
        ("US", &["US"], "1 416 555 0123", Err(FailureReason::CountryNotAllowed)),
        // Without separators after the calling code, it can be both.
        ("DE", &["DE"], "4915123456789", Err(InvalidNumber)),
        ("DE", &["DE"], "015123456789", Ok("+4915123456789")),
        ("DE", &["DE"], "+49 (0)151 23456789", Ok("+4915123456789")),
        // Two numbers, 20 and 21.
        ("DE", &["DE"], "030 901820/21", Err(InvalidNumber)),
        ("DE", &["DE"], "030/901820", Ok("+4930901820")),
        ("DE", &["DE"], "0151 23456789", Ok("+4915123456789")),
        ("DE", &["DE"], "151 23456789", Ok("+4915123456789")),
        ("DE", &["DE", "US"], "151 23456789", Err(InvalidNumber)),
        ("DE", &["DE", "US"], "12135551212", Ok("+12135551212")),
        // Another country's calling code.
        ("US", &["US"], "47 22 12 34 56", Err(InvalidNumber)),
        ("US", &["US"], "47 2212 3456", Err(InvalidNumber)),
        ("US", &["US", "NO"], "4722123456", Err(InvalidNumber)),
        ("US", &["US"], "4722123456", Ok("+14722123456")),
        ("US", &["US"], "472 212 3456", Ok("+14722123456")),
        ("US", &["US"], "646 555 1234", Ok("+16465551234")),
        ("US", &["US"], "646-555-1234", Ok("+16465551234")),
        ("US", &["US"], "(203) 555-1234", Ok("+12035551234")),
        ("US", &["US"], "2035551234", Ok("+12035551234")),
        ("US", &["US", "NZ"], "646 555 1234", Err(InvalidNumber)),
        ("US", &["US", "DE"], "49 30 901820", Ok("+4930901820")),
        ("US", &["US", "DE"], "4930901820", Ok("+4930901820")),
        ("US", &["US"], "44 20 7946 0958", Err(FailureReason::CountryNotAllowed)),
        ("US", &["US"], "442079460958", Err(InvalidNumber)),
        // 501 is Arkansas and Belize: who writes the country code first may mean either.
        ("US", &["US"], "501 222 3456", Err(InvalidNumber)),
        ("US", &["US"], "5012223456", Ok("+15012223456")),
        // What a country dials before a foreign number.
        ("DE", &["DE", "US"], "001 425 555 1212", Ok("+14255551212")),
        ("DE", &["DE", "US"], "0049 151 23456789", Ok("+4915123456789")),
        ("DE", &["DE"], "0049 151 2345", Err(InvalidNumber)),
        ("US", &["US", "DE"], "011 49 30 901820", Ok("+4930901820")),
        ("US", &["US", "DE"], "0049 30 901820", Err(InvalidNumber)),
        ("AU", &["AU", "DE"], "0011 49 30 901820", Ok("+4930901820")),
        ("RU", &["RU", "DE"], "8 10 49 30 901820", Ok("+4930901820")),
        ("DE", &["DE", "GB"], "0044 (0)20 7946 0958", Ok("+442079460958")),
        // Zeroes and other digits that belong to a number, or do not.
        ("IT", &["IT"], "39 06 12345678", Ok("+390612345678")),
        ("IT", &["IT"], "+39 06 12345678", Ok("+390612345678")),
        ("IT", &["IT"], "+39 6 12345678", Err(InvalidNumber)),
        // Without the zero, a fixed line in Busto Arsizio would be a mobile phone.
        ("IT", &["IT"], "+39 0331 123456", Ok("+390331123456")),
        ("IT", &["IT"], "+39 (0)331 123456", Err(InvalidNumber)),
        ("IT", &["IT"], "0039 (0)331 123456", Err(InvalidNumber)),
        ("IT", &["IT"], "39 (0)331 123456", Err(InvalidNumber)),
        ("IT", &["IT"], "+39 (0)6 12345678", Ok("+390612345678")),
        ("GA", &["GA"], "+241 (0)6 03 12 34", Err(InvalidNumber)),
        ("IT", &["IT"], "39 6 12345678", Err(InvalidNumber)),
        ("IT", &["IT"], "06 12345678", Ok("+390612345678")),
        ("IT", &["IT"], "392 123 4567", Ok("+393921234567")),
        ("IT", &["IT"], "39 392 123 4567", Ok("+393921234567")),
        // Mexico gave up the 1 of mobiles in 2019, and Google's data with it.
        ("MX", &["MX"], "52 1 55 1234 5678", Err(InvalidNumber)),
        ("MX", &["MX"], "+52 1 55 1234 5678", Err(InvalidNumber)),
        ("US", &["US", "MX"], "52 1 55 1234 5678", Err(InvalidNumber)),
        ("MX", &["MX"], "52 55 1234 5678", Ok("+525512345678")),
        ("MX", &["MX"], "55 1234 5678", Ok("+525512345678")),
        ("CI", &["CI"], "225 07 08 09 10 11", Ok("+2250708091011")),
        ("CI", &["CI"], "07 08 09 10 11", Ok("+2250708091011")),
        ("CI", &["CI"], "2250708091011", Ok("+2250708091011")),
        ("RU", &["RU"], "8 495 123 45 67", Ok("+74951234567")),
        ("RU", &["RU"], "8 (495) 123-45-67", Ok("+74951234567")),
        ("RU", &["RU"], "7 495 123 45 67", Ok("+74951234567")),
        ("RU", &["RU"], "495 123 45 67", Ok("+74951234567")),
        ("GB", &["GB"], "44 (0)20 7946 0958", Ok("+442079460958")),
        ("GB", &["GB"], "(0)20 7946 0958", Ok("+442079460958")),
        ("GB", &["GB"], "(020) 7946 0958", Ok("+442079460958")),
        ("FR", &["FR"], "01 23 45 67 89", Ok("+33123456789")),
        ("FR", &["FR"], "33 1 23 45 67 89", Ok("+33123456789")),
    ] {
        let rules = in_countries(default, allowed, "strict");
        assert_eq!(read(&rules, text), expected.map(str::to_owned), "{text:?} in {default}, of {allowed:?}");
    }
}

/// MIM's page asks for a country code, a space, and the number.
#[test]
fn german_mobiles_with_a_country_code_ring_no_other_phone() {
    let rules = in_countries("DE", &["DE"], "strict");
    let mut mobiles = 0;
    for prefix in 150..=179 {
        for rest in ["2345678", "23456789", "1234567", "98765432", "55555555"] {
            let meant = format!("+49{prefix}{rest}");
            if rules.admit(&meant).is_err() {
                continue;
            }
            mobiles += 1;
            for text in [format!("49 {prefix} {rest}"), format!("49 {prefix}{rest}"), format!("49-{prefix}/{rest}")] {
                assert_eq!(read(&rules, &text), Ok(meant.clone()), "{text}");
            }
            let compact = format!("49{prefix}{rest}");
            assert_eq!(read(&rules, &compact), Err(InvalidNumber), "{compact}");
        }
    }
    assert!(mobiles > 50, "only {mobiles} are mobiles");
}

#[test]
fn an_ambiguous_number_is_refused_with_both_readings_masked() {
    let rules = in_countries("US", &["US", "NO"], "strict");
    let failure = rules.admit("47 22 12 34 56").unwrap_err();
    let [national, international] = ["+14722123456", "+4722123456"].map(|text| rules.read(text).unwrap().to_string());
    assert!(failure.text().contains(&format!("{national} or {international}: write it with `+`")), "{failure}");
    assert!(!failure.text().contains("2123456") && national.contains('*') && international.contains('*'));
}

#[test]
fn the_other_modes_take_one_reading() {
    for (mode, text, expected) in [
        ("national", "47 22 12 34 56", Ok("+14722123456")),
        ("national", "646 555 1234", Ok("+16465551234")),
        ("national", "1 425 555 1212", Ok("+14255551212")),
        ("national", "14255551212", Ok("+14255551212")),
        ("national", "501 222 3456", Ok("+15012223456")),
        ("national", "49 30 901820", Err(InvalidNumber)),
        ("national", "011 49 30 901820", Ok("+4930901820")),
        ("national", "+49 30 901820", Ok("+4930901820")),
        ("international", "47 22 12 34 56", Ok("+4722123456")),
        ("international", "646 555 1234", Ok("+6465551234")),
        ("international", "425 555 1212", Err(InvalidNumber)),
        ("international", "1 425 555 1212", Ok("+14255551212")),
        ("international", "011 49 30 901820", Ok("+4930901820")),
        ("international", "+49 30 901820", Ok("+4930901820")),
    ] {
        let rules = in_countries("US", &["US", "NO", "NZ", "DE", "BZ"], mode);
        assert_eq!(read(&rules, text), expected.map(str::to_owned), "{mode} {text:?}");
    }
    let national = in_countries("DE", &["DE"], "national");
    assert_eq!(read(&national, "4915123456789"), Ok("+494915123456789".to_owned()), "as it was asked for");
}

#[test]
fn without_a_default_country_00_stands_for_plus() {
    let rules = admission(r#"{ "allowed_countries": ["DE"] }"#);
    assert_eq!(read(&rules, "0049 30 901820"), Ok("+4930901820".to_owned()));
    assert_eq!(read(&rules, "49 30 901820"), Ok("+4930901820".to_owned()));
    assert_eq!(read(&rules, "030 901820"), Err(InvalidNumber));
}

#[test]
fn pasted_numbers_are_read_and_refusals_name_the_problem() {
    let rules = in_countries("US", &["US", "GB"], "strict");
    for text in [
        "\u{202a}+1\u{a0}425\u{2011}555\u{2011}1212\u{202c}",
        "\u{feff}425\u{ad}555\u{2060}1212",
        "＋１ ４２５ ５５５ １２１２",
        "+ 1 425 555 1212",
        "(+1) 425 555 1212",
        "tel:+1-425-555-1212",
    ] {
        assert_eq!(read(&rules, text), Ok("+14255551212".to_owned()), "{text:?}");
    }
    let extension = dialled(&rules, "tel:+1-425-555-1212;ext=44").unwrap().1;
    assert_eq!(extension.as_deref(), Some("44"));
    let failure = rules.admit("+1 425 555\u{2028}1212").unwrap_err();
    assert!(failure.text().contains("U+2028"), "{failure}");
}
