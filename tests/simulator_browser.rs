//! A call from the built library to `phonegate simulate`, whose telephone is used in Chromium.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use support::abi::{Abi, FAILED, NUMBER, PENDING, SUCCESS, fresh_id};
use support::calls::built_tool;
use support::tab::Tab;

/// What the page shows of a prompt.
const CAPTION: &str = "document.querySelector('.caption').textContent";

/// The built `phonegate simulate`.
struct Simulator {
    process: Child,
    ready: Value,
}

impl Simulator {
    fn start() -> Self {
        let mut process =
            Command::new(built_tool()).args(["simulate", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, ready: serde_json::from_str(&line).expect("the simulator is ready") }
    }

    /// A configuration that uses one of the printed backends.
    fn config(&self, backend: &str) -> Value {
        json!({
            "use": [backend],
            "allow_test_backends": true,
            "backends": self.ready["backends"],
            "numbers": { "default_country": "US" },
            "approval": { "method": "code" },
        })
    }

    /// Opens the page with sound, and calls. The telephone rings then.
    fn rings(&self, abi: &Abi, id: &std::ffi::CStr) -> Tab {
        let mut tab = Tab::open(self.ready["url"].as_str().unwrap(), &json!({}));
        tab.click("Turn sound on");
        assert_eq!(abi.initiate(Some(NUMBER), Some(id), None), PENDING);
        tab.wait_for("document.querySelector('.state')?.textContent === 'Ringing'");
        tab.wait_for("sound.tone !== null");
        tab
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until the telephone has understood which code the prompt asks for, and returns it.
fn code(tab: &mut Tab) -> String {
    tab.wait_for(&format!("{CAPTION}.startsWith('The prompt asks for ')"));
    let text = tab.run(&format!("return page.evaluate({})", json!(CAPTION)));
    text.as_str().unwrap().chars().filter(char::is_ascii_digit).collect()
}

fn press(tab: &mut Tab, keys: &str) {
    for key in keys.chars() {
        tab.run(&format!("await page.locator('[data-key=\"{key}\"]').click()"));
    }
}

#[test]
fn a_sip_call_is_heard_and_approved_in_the_browser() {
    let simulator = Simulator::start();
    let (abi, id) = (Abi::load(&simulator.config("sip")), fresh_id());
    let mut tab = simulator.rings(&abi, &id);
    tab.click("Pick up");
    tab.wait_for("document.querySelector('.level').value > 0.05");
    let code = code(&mut tab);
    press(&mut tab, &format!("{code}#"));
    assert_eq!(abi.outcome(&id), SUCCESS, "{}", abi.message(&id));
    tab.wait_for("document.querySelector('.state').textContent === 'Ready'");
    // The requests of the call are beside it.
    tab.run("await page.locator('.steps summary', { hasText: 'INVITE sip:' }).first().waitFor()");
    tab.run("await page.locator('.steps summary', { hasText: 'BYE sip:' }).first().waitFor()");
    assert_eq!(abi.shut_down(10_000), 0);
}

#[test]
fn a_declined_call_fails() {
    let simulator = Simulator::start();
    let (abi, id) = (Abi::load(&simulator.config("sip")), fresh_id());
    let mut tab = simulator.rings(&abi, &id);
    tab.click("Decline");
    assert_eq!(abi.outcome(&id), FAILED);
    tab.wait_for("document.querySelector('.state').textContent === 'Ready'");
    assert_eq!(abi.shut_down(10_000), 0);
}

#[test]
fn a_wrong_code_from_the_browser_fails() {
    let simulator = Simulator::start();
    let mut config = simulator.config("sip");
    config["prompts"] = json!({ "attempts": 1 });
    let (abi, id) = (Abi::load(&config), fresh_id());
    let mut tab = simulator.rings(&abi, &id);
    tab.click("Pick up");
    let right = code(&mut tab);
    let other = if right.ends_with('5') { '6' } else { '5' };
    press(&mut tab, &format!("{}{other}#", &right[..right.len() - 1]));
    assert_eq!(abi.outcome(&id), FAILED);
    assert_eq!(abi.shut_down(10_000), 0);
}

#[test]
fn a_studio_call_is_read_and_approved_in_the_browser() {
    let simulator = Simulator::start();
    let (abi, id) = (Abi::load(&simulator.config("twilio")), fresh_id());
    let mut tab = simulator.rings(&abi, &id);
    tab.click("Pick up");
    tab.wait_for(&format!("{CAPTION}.includes(', then the pound key')"));
    let text = tab.run(&format!("return page.evaluate({})", json!(CAPTION)));
    let words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let (_, asked) = text.as_str().unwrap().split_once("press ").unwrap();
    let (asked, _) = asked.split_once(", then the pound key").unwrap();
    let digit = |word: &str| words.iter().position(|known| *known == word).unwrap().to_string();
    let code: String = asked.split(", ").map(digit).collect();
    press(&mut tab, &format!("{code}#"));
    assert_eq!(abi.outcome(&id), SUCCESS, "{}", abi.message(&id));
    tab.run("await page.locator('.steps summary', { hasText: '/Executions' }).first().waitFor()");
    assert_eq!(abi.shut_down(10_000), 0);
}
