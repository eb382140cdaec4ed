//! Each configuration in `examples/` works as its README says.

mod support;

use std::path::PathBuf;

use phonegate::config;
use serde_json::{Value, json};
use support::ports::nobody;
use support::{NUMBER, Place, Ran};

fn examples() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "json")).collect();
    found.sort();
    found
}

fn name(path: &std::path::Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn every_example_is_accepted_and_told_of_in_the_readme() {
    let examples = examples();
    assert_eq!(
        examples.iter().map(|path| name(path)).collect::<Vec<_>>(),
        ["demo.json", "file.json", "sip.json", "twilio.json"]
    );
    let readme = std::fs::read_to_string(examples[0].with_file_name("README.md")).unwrap();
    for path in examples {
        config::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(readme.contains(&format!("`{}`", name(&path))), "{}", path.display());
    }
}

/// The gate starts with each of them, its secrets included. The provider's address alone is another: this machine's,
/// where nobody listens.
#[test]
fn a_gate_starts_with_every_example() {
    let nobody = format!("http://{}", nobody());
    for path in examples() {
        let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let is_cloud = config["backends"]["cloud"].is_object();
        let is_real = is_cloud || config["backends"]["trunk"].is_object();
        if is_cloud {
            config["backends"]["cloud"]["base_url"] = json!(nobody);
        } else if is_real {
            config["backends"]["trunk"]["trunk"] = json!(nobody.replace("http://", "sip:") + ";transport=tcp");
        }
        let place = Place::with(&config);
        let mut command = place.command(&["check", "--json"]);
        if is_cloud {
            let ran = Ran::from(command.output().unwrap()).exits(2);
            assert!(ran.stderr.contains("backends.cloud.api_key_secret"), "{}", ran.stderr);
        }
        let ran = Ran::from(command.env("TWILIO_API_KEY_SECRET", "secret").output().unwrap());
        let ran = ran.exits(i32::from(is_real));
        assert_eq!(ran.record("backend")["result"], if is_real { "failed" } else { "ok" }, "{}", path.display());
        assert!(!is_real || ran.stdout.contains("cannot be reached"), "{}", ran.stdout);
    }
}

#[test]
fn the_example_of_a_demonstration_verifies() {
    let demo = examples().into_iter().find(|path| name(path) == "demo.json").unwrap();
    Place::empty().run(&["call", NUMBER, "--config", demo.to_str().unwrap()]).exits(0);
}
