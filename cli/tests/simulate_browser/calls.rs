//! What is done at telephones, and what the page shows of calls.

use std::time::Duration;

use phonegate_simulator::exchange::Action;
use phonegate_simulator::view::TelephoneAction;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::tab::Tab;
use crate::{CALLER, NUMBER, Simulator, answer, click_keys, shows_state, tone};

#[test]
fn a_call_is_answered_heard_and_approved_at_the_page() {
    let simulator = Simulator::start();
    let mut tab = Tab::open(&simulator.url, &json!({}));
    tab.sees("No telephone yet");
    let mut call = simulator.ring();
    tab.sees("From +1 425 555 0100");
    shows_state(&mut tab, "Ringing");
    tab.click("Turn sound on");
    tab.wait_for("sound.tone !== null && sound.context.state === 'running'");
    answer(&simulator, &mut tab, &mut call);
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
    shows_state(&mut tab, "Ready");
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
    shows_state(&mut tab, "In call");
    for key in ["4", "*", "#"] {
        tab.run(&format!("await page.keyboard.press('{key}')"));
    }
    simulator.does_each(&mut call, "4*#");
    tab.run("await page.keyboard.press('Escape')");
    simulator.does(&mut call, Action::HangUp);
    call.end("The user hung up.");
    shows_state(&mut tab, "Ready");

    let mut call = simulator.ring();
    shows_state(&mut tab, "Ringing");
    tab.run("await page.keyboard.press('Escape')");
    simulator.does(&mut call, Action::Decline);

    // In a text field, keys are text.
    call.end("The user declined.");
    let mut call = simulator.ring();
    shows_state(&mut tab, "Ringing");
    tab.run("await page.keyboard.press('Enter')");
    simulator.does(&mut call, Action::PickUp);
    tab.run("await page.getByLabel('Another telephone').fill(''); await page.getByLabel('Another telephone').pressSequentially('471#')");
    tab.click("Hang up");
    simulator.does(&mut call, Action::HangUp);
}

/// The first request is slow, so that a later one could overtake it on another connection.
#[test]
fn keys_arrive_in_the_order_in_which_they_are_pressed() {
    let simulator = Simulator::start();
    let mut tab = Tab::open(&simulator.url, &json!({}));
    let mut call = simulator.ring();
    answer(&simulator, &mut tab, &mut call);
    shows_state(&mut tab, "In call");
    tab.run(
        "await page.route('**/actions*', async (route) => {
           if (route.request().postDataJSON().key === '4') await page.waitForTimeout(500);
           await route.continue();
         })",
    );
    click_keys(&mut tab, "471#");
    simulator.does_each(&mut call, "471#");
}

#[test]
fn a_key_that_is_held_is_pressed_once() {
    let simulator = Simulator::start();
    let mut tab = Tab::open(&simulator.url, &json!({}));
    let mut call = simulator.ring();
    tab.wait_for("document.activeElement?.classList.contains('device')");
    let hold = |tab: &mut Tab, key: &str| {
        tab.run(&format!(
            "for (let n = 0; n < 3; n += 1) await page.keyboard.down('{key}'); await page.keyboard.up('{key}')"
        ));
    };
    hold(&mut tab, "Enter");
    simulator.does(&mut call, Action::PickUp);
    shows_state(&mut tab, "In call");
    hold(&mut tab, "4");
    hold(&mut tab, "7");
    simulator.does_each(&mut call, "47");
    hold(&mut tab, "Escape");
    simulator.does(&mut call, Action::HangUp);
    assert_eq!(tab.run("return page.evaluate('document.getElementById(\"problem\").textContent')"), "");
}

#[test]
fn a_double_click_is_one_click() {
    let simulator = Simulator::start();
    let mut tab = Tab::open(&simulator.url, &json!({}));
    let mut call = simulator.ring();
    let clicks = |tab: &mut Tab, name: &str| {
        // Two clicks before anything else happens.
        tab.run(&format!(
            "await page.getByRole('button', {{ name: '{name}' }}).evaluate((button) => {{ button.click(); button.click(); }})"
        ));
    };
    shows_state(&mut tab, "Ringing");
    clicks(&mut tab, "Pick up");
    simulator.does(&mut call, Action::PickUp);
    shows_state(&mut tab, "In call");
    clicks(&mut tab, "Hang up");
    simulator.does(&mut call, Action::HangUp);
    call.end("The user hung up.");
    shows_state(&mut tab, "Ready");
    assert_eq!(tab.run("return seen.requests.filter((url) => url.includes('/actions')).length"), 2);
    let _call = simulator.ring();
    shows_state(&mut tab, "Ringing");
    clicks(&mut tab, "Decline");
    tab.click("Decline");
    assert_eq!(tab.run("return seen.requests.filter((url) => url.includes('/actions')).length"), 3);
}

/// As when other tabs with the page have all connections that a browser opens.
#[test]
fn a_request_without_a_reply_is_reported_and_not_repeated() {
    let simulator = Simulator::start();
    let mut tab = Tab::open(&simulator.url, &json!({}));
    let mut call = simulator.ring();
    answer(&simulator, &mut tab, &mut call);
    shows_state(&mut tab, "In call");
    tab.run("await page.route('**/actions*', () => {})");
    click_keys(&mut tab, "47");
    tab.run("await page.getByRole('checkbox').check()");
    tab.sees("The simulator does not reply.");
    assert_eq!(tab.run("return page.getByRole('checkbox').isChecked()"), false, "it shows what the simulator knows");
    tab.run("await page.unroute('**/actions*')");
    click_keys(&mut tab, "1#");
    simulator.does_each(&mut call, "1#");
    tab.wait_for("document.getElementById('problem').hidden");
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
    shows_state(&mut tab, "Busy");
    let _context = simulator.runtime.enter();
    assert!(simulator.exchange.ring("sip", NUMBER, CALLER).is_err(), "a busy telephone rejects calls");
    tab.sees("The telephone is busy.");
    tab.run("await page.getByRole('checkbox').uncheck()");
    tab.run("await page.getByRole('combobox').selectOption('busy')");
    shows_state(&mut tab, "Ready");
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
