//! The page of `phonegate simulate` in Chromium. The pictures are kept in `target/tmp/simulator`.

#[path = "../../tests/support/tab.rs"]
mod tab;

use std::f32::consts::TAU;
use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use phonegate_simulator::ending::{Ending, Keys};
use phonegate_simulator::exchange::{Action, Behaviour, Exchange, IncomingCall};
use phonegate_simulator::view::TelephoneAction;
use phonegate_simulator::web::WebServer;
use serde_json::{Value, json};
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

#[test]
fn a_call_is_answered_heard_and_approved_at_the_page() {
    let simulator = Simulator::start();
    let mut tab = Tab::open(&simulator.url, &json!({}));
    tab.sees("No telephone yet");
    let mut call = simulator.ring();
    tab.sees("From +1 425 555 0100");
    tab.wait_for("document.querySelector('.state').textContent === 'Ringing'");
    tab.click("Turn sound on");
    tab.wait_for("sound.tone !== null && sound.context.state === 'running'");
    tab.click("Pick up");
    simulator.does(&mut call, Action::PickUp);
    tab.wait_for("sound.tone === null");
    for _ in 0..10 {
        call.play(tone());
    }
    tab.wait_for("document.querySelector('.level').value > 0.1");
    call.speak("en-US", "To approve, press 4, 7, 1, then pound.");
    tab.sees("To approve, press 4, 7, 1, then pound.");
    click_keys(&mut tab, "471#");
    simulator.does_each(&mut call, "471#");
    tab.wait_for("document.querySelector('.keys').textContent === '471#'");
    call.end("PhoneGate hung up.");
    tab.wait_for("document.querySelector('.state').textContent === 'Ready'");
    tab.wait_for("document.querySelector('.call .result').textContent === 'PhoneGate hung up.'");
    tab.wait_for("document.querySelector('.level').value === 0");

    let seen = tab.run("return seen");
    assert_eq!(seen["console"], json!([]));
    let origin = simulator.url.split("/?").next().unwrap();
    let is_ours = |url: &Value| url.as_str().unwrap().starts_with(origin) || url.as_str().unwrap().starts_with("data:");
    let requests = seen["requests"].as_array().unwrap();
    assert!(requests.len() > 5 && requests.iter().all(is_ours), "{requests:?}");
}

#[test]
fn a_call_is_handled_by_the_keyboard_alone() {
    let simulator = Simulator::start();
    let mut tab = Tab::open(&simulator.url, &json!({}));
    let mut call = simulator.ring();
    // A telephone that rings takes the focus, unless it is somewhere else.
    tab.wait_for("document.activeElement?.classList.contains('device')");
    tab.run("await page.keyboard.press('Enter')");
    simulator.does(&mut call, Action::PickUp);
    tab.wait_for("document.querySelector('.state').textContent === 'In call'");
    for key in ["4", "*", "#"] {
        tab.run(&format!("await page.keyboard.press('{key}')"));
    }
    simulator.does_each(&mut call, "4*#");
    tab.run("await page.keyboard.press('Escape')");
    simulator.does(&mut call, Action::HangUp);
    call.end("The user hung up.");
    tab.wait_for("document.querySelector('.state').textContent === 'Ready'");

    let mut call = simulator.ring();
    tab.wait_for("document.querySelector('.state').textContent === 'Ringing'");
    tab.run("await page.keyboard.press('Escape')");
    simulator.does(&mut call, Action::Decline);

    // In a text field, keys are text.
    call.end("The user declined.");
    let mut call = simulator.ring();
    tab.wait_for("document.querySelector('.state').textContent === 'Ringing'");
    tab.run("await page.keyboard.press('Enter')");
    simulator.does(&mut call, Action::PickUp);
    tab.run("await page.getByLabel('Another telephone').fill(''); await page.getByLabel('Another telephone').pressSequentially('471#')");
    tab.click("Hang up");
    simulator.does(&mut call, Action::HangUp);
}

#[test]
fn telephones_are_added_and_set_at_the_page() {
    let simulator = Simulator::start();
    let mut tab = Tab::open(&simulator.url, &json!({}));
    tab.run("await page.getByLabel('Another telephone').fill('alice'); await page.keyboard.press('Enter')");
    tab.sees("This is not a telephone number");
    tab.run("await page.getByLabel('Another telephone').fill('+1 425 555 1212'); await page.keyboard.press('Enter')");
    tab.wait_for("document.querySelector('.number')?.textContent === '+1 425 555 1212'");
    tab.wait_for("document.getElementById('problem').hidden");
    tab.run("await page.getByRole('checkbox').check()");
    tab.wait_for("document.querySelector('.state').textContent === 'Busy'");
    let _context = simulator.runtime.enter();
    assert!(simulator.exchange.ring("sip", NUMBER, CALLER).is_err(), "a busy telephone rejects calls");
    tab.sees("The telephone is busy.");
    tab.run("await page.getByRole('checkbox').uncheck()");
    tab.run("await page.getByRole('combobox').selectOption('busy')");
    tab.wait_for("document.querySelector('.state').textContent === 'Ready'");
    let call = loop {
        // The request with the ending is on its way.
        let mut call = simulator.ring();
        let next = simulator.runtime.block_on(async { timeout(Duration::from_millis(500), call.next()).await });
        if next == Ok(Action::Decline) {
            break call;
        }
    };
    assert!(tab.run("return page.getByRole('combobox').inputValue()") == "busy");
    call.end("Declined.");
}

#[test]
fn text_of_a_call_is_never_markup() {
    let simulator = Simulator::start();
    let mut tab = Tab::open(&simulator.url, &json!({}));
    let markup = "<img src=x onerror=\"document.body.id='run'\"><script>document.body.id='run'</script>";
    let _context = simulator.runtime.enter();
    let call = simulator.exchange.ring("sip", markup, markup).unwrap();
    assert!(simulator.exchange.act(markup, &serde_json::from_str(r#"{"action":"pick_up"}"#).unwrap()));
    call.event(markup);
    call.steps().received(&format!("INVITE sip:{markup}\r\nFrom: {markup}"));
    call.speak(markup, markup);
    call.end(markup);
    simulator.exchange.report_problem(markup, markup);
    tab.run("await page.locator('#problems').getByText('<script>').waitFor()");
    tab.wait_for("document.querySelector('.result')?.textContent.startsWith('<img')");
    tab.run("await page.locator('.steps summary').click()");
    tab.run("await page.getByText('From: <img').waitFor()");
    assert_eq!(tab.run("return page.evaluate('document.body.id + document.images.length')"), "0");
    assert_eq!(tab.run("return seen.console"), json!([]));
}

#[test]
fn the_page_connects_again_and_says_so() {
    let simulator = Simulator::start();
    simulator.exchange.add(NUMBER);
    let mut tab = Tab::open("about:blank", &json!({}));
    tab.run("await page.route('**/updates*', (route) => route.abort())");
    tab.run(&format!("await page.goto({})", json!(simulator.url)));
    tab.sees("The connection to the simulator is lost.");
    tab.run("await page.unroute('**/updates*')");
    tab.wait_for("document.getElementById('problem').hidden && document.querySelector('.number') !== null");
    simulator.runtime.shutdown_timeout(Duration::from_secs(1));
    tab.sees("The connection to the simulator is lost.");
    tab.wait_for("document.querySelector('.state').textContent === 'No connection'");
}

/// Whether nothing can be done on the page.
const IS_OFF: &str = "document.querySelector('.state').textContent === 'No connection' && \
    [...document.querySelectorAll('.device button, .device input, .device select, #add button')].every((one) => one.disabled)";

#[test]
fn the_page_says_that_the_simulator_has_ended() {
    let simulator = Simulator::start();
    let mut tab = Tab::open(&simulator.url, &json!({}));
    let mut call = simulator.ring();
    tab.click("Turn sound on");
    tab.click("Pick up");
    simulator.does(&mut call, Action::PickUp);
    tab.wait_for("document.querySelector('.state').textContent === 'In call'");
    simulator
        .runtime
        .block_on(async { timeout(EVENT_TIMEOUT, simulator.exchange.end()).await })
        .expect("it is received");
    drop(simulator);
    tab.sees("The simulator has ended. To go on, start it again");
    tab.wait_for(IS_OFF);
    tab.wait_for("document.querySelector('.result').textContent === 'no connection'");
    assert_eq!(tab.run("return page.evaluate('updates.readyState')"), 2, "it does not connect again");
}

/// The token of the page is not that of the simulator that runs at its address now.
#[test]
fn a_page_of_an_earlier_simulator_says_so() {
    let simulator = Simulator::start();
    simulator.exchange.add(NUMBER);
    let mut tab = Tab::open(&simulator.url, &json!({}));
    tab.wait_for("document.querySelector('.number') !== null");
    tab.run("await page.evaluate('updates.close()')");
    tab.run("await page.route('**/*token=*', (route) => route.fulfill({ status: 403, body: 'The token is wrong.' }))");
    tab.run("await page.evaluate('connect()')");
    tab.sees("Another simulator runs at this address now.");
    tab.wait_for(IS_OFF);
}

/// This computer may have no voices, so the test provides one. A sentence ends when the test says so.
#[test]
fn a_telephone_that_hangs_up_leaves_others_speaking() {
    let simulator = Simulator::start();
    let mut tab = Tab::open(&simulator.url, &json!({}));
    tab.run(
        "await page.evaluate(() => {
           window.said = [];
           const voice = { getVoices: () => [{ lang: 'en-US', localService: true }] };
           voice.speak = (utterance) => { voice.now = utterance; said.push(utterance.text); };
           voice.cancel = () => { const { now } = voice; said.push('cancelled'); setTimeout(() => now.onerror?.()); };
           Object.defineProperty(window, 'speechSynthesis', { value: voice });
           window.SpeechSynthesisUtterance = class { constructor(text) { this.text = text; } };
         })",
    );
    tab.click("Turn sound on");
    let _context = simulator.runtime.enter();
    let numbers = ["+14255551201", "+14255551202", "+14255551203"];
    let [first, second, third] = numbers.map(|number| {
        let call = simulator.exchange.ring("sip", number, CALLER).unwrap();
        assert!(simulator.exchange.act(number, &TelephoneAction::PickUp));
        call
    });
    first.speak("en-US", "One.");
    second.speak("en-US", "Two.");
    third.speak("en-US", "Three.");
    first.speak("en-US", "Four.");
    tab.wait_for("sound.sentences.length === 3");
    let said = |tab: &mut Tab| tab.run("return page.evaluate('said')");
    // It waits, so nothing is cancelled.
    second.end("Hung up.");
    tab.wait_for("sound.sentences.length === 2");
    assert_eq!(said(&mut tab), json!(["One."]));
    // It speaks, and has one more sentence.
    first.end("Hung up.");
    tab.wait_for("said.length === 3");
    assert_eq!(said(&mut tab), json!(["One.", "cancelled", "Three."]));
    third.speak("en-US", "Five.");
    tab.wait_for("sound.sentences.length === 1");
    tab.run("await page.evaluate('speechSynthesis.now.onend()')");
    tab.wait_for("said.length === 4");
    assert_eq!(said(&mut tab), json!(["One.", "cancelled", "Three.", "Five."]));
}

/// Shows a call that has ended and one that is up, and returns the latter.
fn two_calls(simulator: &Simulator, tab: &mut Tab) -> IncomingCall {
    let mut call = simulator.ring();
    call.steps().received(
        "INVITE sip:+14255551212@127.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:39412;branch=z9hG4bK4c1\r\n\
         From: <sip:+14255550100@127.0.0.1>;tag=81f\r\nTo: <sip:+14255551212@127.0.0.1>\r\nCSeq: 1 INVITE",
    );
    call.steps().sent("SIP/2.0 180 Ringing\r\nCSeq: 1 INVITE");
    tab.wait_for("document.querySelector('.state')?.textContent === 'Ringing'");
    tab.click("Pick up");
    simulator.does(&mut call, Action::PickUp);
    call.steps().sent("SIP/2.0 200 OK\r\nCSeq: 1 INVITE");
    call.speak("en-US", "This is your organization's sign-in verification. To approve, press 4, 7, 1, then pound.");
    tab.wait_for("document.querySelector('.state').textContent === 'In call'");
    click_keys(tab, "471#");
    simulator.does_each(&mut call, "471#");
    call.steps().received("BYE sip:127.0.0.1:5060 SIP/2.0\r\nCSeq: 2 BYE");
    call.end("PhoneGate hung up.");
    tab.wait_for("document.querySelector('.state').textContent === 'Ready'");
    simulator.ring()
}

/// Opens all calls and messages.
fn open_all(tab: &mut Tab) {
    tab.run("await page.evaluate('for (const details of document.querySelectorAll(`details`)) details.open = true')");
}

#[test]
fn axe_finds_nothing_in_light_and_in_dark() {
    for scheme in ["light", "dark"] {
        let simulator = Simulator::start();
        let options = json!({ "colorScheme": scheme, "reducedMotion": "reduce" });
        let mut tab = Tab::open(&simulator.url, &options);
        tab.sees("No telephone yet");
        assert_eq!(tab.inaccessible(), json!([]), "without telephones, {scheme}");
        let mut call = two_calls(&simulator, &mut tab);
        tab.run("await page.locator('.call summary').first().click()");
        tab.wait_for("document.querySelector('.state').textContent === 'Ringing'");
        assert_eq!(tab.inaccessible(), json!([]), "ringing, {scheme}");
        tab.click("Turn sound on");
        tab.click("Pick up");
        simulator.does(&mut call, Action::PickUp);
        call.speak("en-US", "Press pound.");
        tab.sees("Press pound.");
        simulator.exchange.report_problem("4255551212", "The number is not in E.164.");
        tab.sees("4255551212: The number is not in E.164.");
        open_all(&mut tab);
        assert_eq!(tab.inaccessible(), json!([]), "in a call, {scheme}");
        tab.run("await page.route('**/updates*', (route) => route.abort())");
        drop(call);
        simulator.runtime.shutdown_timeout(Duration::from_secs(1));
        tab.sees("The connection to the simulator is lost.");
        assert_eq!(tab.inaccessible(), json!([]), "without a connection, {scheme}");
    }
}

#[test]
fn the_page_fits_a_narrow_screen() {
    let simulator = Simulator::start();
    let mut tab = Tab::open(&simulator.url, &json!({ "viewport": { "width": 360, "height": 740 } }));
    let width = "document.documentElement.scrollWidth";
    assert_eq!(tab.run(&format!("return page.evaluate('{width}')")), 360);
    let _call = two_calls(&simulator, &mut tab);
    open_all(&mut tab);
    assert_eq!(tab.run(&format!("return page.evaluate('{width}')")), 360);
    picture(&mut tab, "narrow");
}

#[test]
fn nothing_moves_if_the_user_wants_less_motion() {
    for (motion, moves) in [("reduce", false), ("no-preference", true)] {
        let simulator = Simulator::start();
        let mut tab = Tab::open(&simulator.url, &json!({ "reducedMotion": motion }));
        let _call = simulator.ring();
        tab.wait_for("document.querySelector('.state')?.textContent === 'Ringing'");
        assert_eq!(tab.run("return page.evaluate('document.getAnimations().length > 0')"), moves, "{motion}");
    }
}

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
        tab.wait_for("document.querySelector('.state').textContent === 'Ringing'");
        picture(&mut tab, &format!("{scheme}-ringing"));
        tab.click("Turn sound on");
        tab.click("Pick up");
        simulator.does(&mut call, Action::PickUp);
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

fn picture(tab: &mut Tab, name: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("simulator");
    fs::create_dir_all(&folder).unwrap();
    tab.screenshot(&folder.join(format!("{name}.png")));
}
