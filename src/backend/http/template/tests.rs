#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
use super::*;

fn secrets() -> BTreeMap<String, SecretString> {
    BTreeMap::from([("key".to_owned(), SecretString::from("hush-hush".to_owned()))])
}

fn parse(text: &str) -> Result<Template, String> {
    Template::parse(text, Scope { starts_call: false, has_call: true, has_reference: true, secrets: &secrets() })
}

#[test]
fn placeholders_are_replaced_and_double_braces_are_not() {
    let secrets = secrets();
    let values = Values { call: None, language: "", call_id: Some("c"), reference: Some("r"), secrets: &secrets };
    for (text, expected) in [
        ("", ""),
        ("plain", "plain"),
        ("{call_id}-{reference}", "c-r"),
        ("{{call_id}}", "{call_id}"),
        ("{{{call_id}}}", "{c}"),
        ("App {secrets.key}", "App hush-hush"),
    ] {
        assert_eq!(parse(text).unwrap().render(&values), Ok(expected.to_owned()), "{text}");
    }
}

#[test]
fn a_value_is_never_read_as_a_template() {
    let values =
        Values { call: None, language: "", call_id: Some("{reference}"), reference: Some("r"), secrets: &secrets() };
    assert_eq!(parse("{call_id}").unwrap().render(&values), Ok("{reference}".to_owned()));
}

#[test]
fn mistakes_in_templates_are_named() {
    for (text, problem) in [
        ("{", "has a { without its }"),
        ("a}b", "has a } without its {"),
        ("{call_id", "has a { without its }"),
        ("{nonsense}", "has the unknown placeholder {nonsense}; there are {number}, "),
        ("{spoken_0}", "has the unknown placeholder {spoken_0}"),
        ("{spoken_11}", "has the unknown placeholder {spoken_11}"),
        ("{secrets.other}", "uses {secrets.other}, but `secrets` has no `other`"),
        ("{number}", "uses {number}, which is not known in this request"),
        ("{spoken_1}", "uses {spoken_1}, which is not known in this request"),
    ] {
        let error = parse(text).err().unwrap();
        assert!(error.starts_with(problem), "{text}: {error}");
    }
    let scope = Scope { starts_call: true, has_call: true, has_reference: false, secrets: &secrets() };
    let error = Template::parse("{reference}", scope).err().unwrap();
    assert!(error.contains("only known after the start"), "{error}");
}

#[test]
fn values_in_urls_keep_no_character_with_a_meaning() {
    for (value, expected) in [
        ("plain-_~9", "plain-_~9"),
        ("a/b?c#d", "a%2Fb%3Fc%23d"),
        ("../x", "%2E%2E%2Fx"),
        ("a&b=c+d e", "a%26b%3Dc%2Bd%20e"),
        ("%2e", "%252e"),
        ("ä\n", "%C3%A4%0A"),
        ("\\", "%5C"),
    ] {
        assert_eq!(percent_encode(value), expected);
    }
}
