//! The page of `phonegate simulate` in Chromium. The pictures are kept in `target/tmp/simulator`.
//!
//! | module | what it tests |
//! |---|---|
//! | `calls` | what is done at telephones, and what the page shows of calls |
//! | `connection` | what the page shows when the simulator cannot be reached |
//! | `looks` | accessibility, narrow screens, forced colours and motion |

mod calls;
mod connection;
mod looks;
#[path = "../../../tests/support/tab.rs"]
mod tab;

use std::f32::consts::TAU;
use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use phonegate_simulator::ending::{Ending, Keys};
use phonegate_simulator::exchange::{Action, Behaviour, Exchange, IncomingCall};
use phonegate_simulator::web::WebServer;
use serde_json::json;
use tab::Tab;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// Maximum time that a test waits for an event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(60);

const NUMBER: &str = "+14255551212";
const CALLER: &str = "+14255550100";

/// The simulator's telephones and page. The test is their line.
struct Simulator {
    runtime: Runtime,
    exchange: Exchange,
    url: String,
}

impl Simulator {
    fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let behaviour = Behaviour { ending: Ending::ByHand, approve_after: None, keys: Keys::default() };
        let exchange = Exchange::new(behaviour);
        let web = runtime.block_on(WebServer::bind(0, exchange.clone())).unwrap();
        let url = web.url();
        runtime.spawn(web.serve());
        Self { runtime, exchange, url }
    }

    fn ring(&self) -> IncomingCall {
        let _context = self.runtime.enter();
        self.exchange.ring("sip", NUMBER, CALLER).expect("the telephone is idle")
    }

    /// Waits until this was done at the telephone.
    fn does(&self, call: &mut IncomingCall, action: Action) {
        let next = self.runtime.block_on(async { timeout(EVENT_TIMEOUT, call.next()).await });
        assert_eq!(next.expect("something is done at the telephone"), action);
    }

    fn does_each(&self, call: &mut IncomingCall, keys: &str) {
        keys.chars().for_each(|key| self.does(call, Action::Press(key)));
    }
}

fn click_keys(tab: &mut Tab, keys: &str) {
    for key in keys.chars() {
        tab.run(&format!("await page.locator('[data-key=\"{key}\"]').click()"));
    }
}

/// Returns a tenth of a second of a tone, as PCMU in Base64.
fn tone() -> String {
    let samples = (0..800).map(|n| {
        // PCMU by ITU-T G.711: sign, exponent and mantissa of the magnitude plus 132, inverted.
        let sample = (8_000.0 * (TAU * 400.0 * n as f32 / 8_000.0).sin()) as i32;
        let magnitude = sample.unsigned_abs() + 132;
        let exponent = (magnitude >> 7).ilog2();
        let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
        let sign = if sample < 0 { 0x80 } else { 0 };
        !(sign | (exponent << 4) | mantissa) as u8
    });
    BASE64_STANDARD.encode(samples.collect::<Vec<u8>>())
}

/// Waits until the telephone's display shows a state.
fn shows_state(tab: &mut Tab, state: &str) {
    tab.wait_for(&format!("document.querySelector('.state')?.textContent === '{state}'"));
}

/// Picks up on the page.
fn answer(simulator: &Simulator, tab: &mut Tab, call: &mut IncomingCall) {
    tab.click("Pick up");
    simulator.does(call, Action::PickUp);
}

/// Shows a call that has ended and one that is up, and returns the latter.
fn two_calls(simulator: &Simulator, tab: &mut Tab) -> IncomingCall {
    let mut call = simulator.ring();
    call.steps().received(
        "INVITE sip:+14255551212@127.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:39412;branch=z9hG4bK4c1\r\n\
         From: <sip:+14255550100@127.0.0.1>;tag=81f\r\nTo: <sip:+14255551212@127.0.0.1>\r\nCSeq: 1 INVITE",
    );
    call.steps().sent("SIP/2.0 180 Ringing\r\nCSeq: 1 INVITE");
    shows_state(tab, "Ringing");
    answer(simulator, tab, &mut call);
    call.steps().sent("SIP/2.0 200 OK\r\nCSeq: 1 INVITE");
    call.speak("en-US", "This is your organization's sign-in verification. To approve, press 4, 7, 1, then pound.");
    shows_state(tab, "In call");
    click_keys(tab, "471#");
    simulator.does_each(&mut call, "471#");
    call.steps().received("BYE sip:127.0.0.1:5060 SIP/2.0\r\nCSeq: 2 BYE");
    call.end("PhoneGate hung up.");
    shows_state(tab, "Ready");
    simulator.ring()
}

/// Opens all calls and messages.
fn open_all(tab: &mut Tab) {
    tab.run("await page.evaluate('for (const details of document.querySelectorAll(`details`)) details.open = true')");
}

fn picture(tab: &mut Tab, name: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("simulator");
    fs::create_dir_all(&folder).unwrap();
    tab.screenshot(&folder.join(format!("{name}.png")));
}

/// `scripts/screenshot` draws the pictures of the documents by this test.
#[test]
fn the_page_is_seen_in_light_and_in_dark() {
    let brightness = |scheme: &str| {
        let simulator = Simulator::start();
        let options = json!({
            "colorScheme": scheme, "reducedMotion": "reduce", "timezoneId": "UTC",
            "viewport": { "width": 1100, "height": 830 }
        });
        let mut tab = Tab::open(&simulator.url, &options);
        let mut call = two_calls(&simulator, &mut tab);
        shows_state(&mut tab, "Ringing");
        picture(&mut tab, &format!("{scheme}-ringing"));
        tab.click("Turn sound on");
        answer(&simulator, &mut tab, &mut call);
        call.speak("en-US", "To approve, press 2, 0, 9, then pound.");
        tab.sees("To approve, press 2, 0, 9, then pound.");
        click_keys(&mut tab, "20");
        tab.wait_for("document.querySelector('.keys').textContent === '20'");
        tab.run("await page.locator('.call:nth-child(2) > summary').click()");
        tab.run("await page.mouse.move(0, 0); await page.evaluate('document.activeElement.blur(); scrollTo(0, 0)')");
        for _ in 0..15 {
            call.play(tone());
        }
        tab.wait_for("document.querySelector('.level').value > 0.1");
        picture(&mut tab, scheme);
        let colour = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)";
        let colour = tab.run(&format!("return page.evaluate('{colour}')"));
        colour.as_array().unwrap().iter().map(|part| part.as_u64().unwrap()).sum::<u64>() / 3
    };
    let [light, dark] = ["light", "dark"].map(brightness);
    assert!(light > 200 && dark < 60, "{light}, {dark}");
}
