//! Checks the metrics with Prometheus' own programs: promtool and node_exporter.

mod support;

use phonegate::telemetry::Metrics;
use serde_json::{Value, json};
use support::gate::{TestGate, id};
use support::prometheus::{Figures, NodeExporter, faults_of, lint};

const FILE: &str = "phonegate.prom";

#[test]
fn promtool_and_node_exporter_accept_every_metric() {
    // The first backend refuses every call before a phone rings: its file is a folder.
    let gate = TestGate::start(json!({
        "use": ["broken", "demo"],
        "allow_test_backends": true,
        "backends": {
            "broken": { "type": "file", "path": "." },
            "demo": { "type": "simulated", "answer_after_ms": 0, "press_after_ms": 0, "press": "5" },
        },
        "metrics": { "textfile": FILE },
    }));
    gate.initiate(id(1), "+1 4255551212");
    gate.ends(id(1));
    gate.end();
    let text = std::fs::read_to_string(gate.folder().join(FILE)).unwrap();
    assert_eq!(lint(&text), "");
    assert!(!text.contains("5551212"), "no number is in it");

    let exporter = NodeExporter::start(gate.folder());
    let shown = exporter.scrape().unwrap();
    assert_eq!(Figures::parse(&shown).get("node_textfile_scrape_error", &[]), 0.0, "{shown}");
    let sorted = |figures: Figures| {
        let mut samples: Vec<_> = figures.own().0.iter().map(Value::to_string).collect();
        samples.sort();
        samples
    };
    assert_eq!(sorted(Figures::parse(&shown)), sorted(Figures::parse(&text)));
}

#[test]
fn every_metric_is_documented_and_the_examples_are_valid() {
    let operations = std::fs::read_to_string(support::project_folder().join("docs/operations.md")).unwrap();
    let text = Metrics::new(["demo"]).unwrap().to_text(Default::default()).unwrap();
    let written: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let mut metric_names: Vec<_> =
        operations.lines().filter_map(|line| line.strip_prefix("| `phonegate_")?.split_once('`')).collect();
    metric_names.sort();
    let metric_names: Vec<_> = metric_names.into_iter().map(|(name, _)| format!("phonegate_{name}")).collect();
    assert_eq!(metric_names, written);

    let blocks: Vec<_> = operations.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [scraping, alerts] = blocks[..] else { panic!("{blocks:?}") };
    assert_eq!((faults_of("config", scraping), faults_of("rules", alerts)), (String::new(), String::new()));
    assert_eq!(alerts.matches("- alert:").count(), 5);
    for name in alerts.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| word.starts_with("phonegate_")) {
        assert!(written.contains(&name), "an alert is about {name}, which there is not");
    }
}
