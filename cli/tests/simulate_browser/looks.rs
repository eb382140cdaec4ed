//! Accessibility, narrow screens, forced colours and motion.

use std::time::Duration;

use serde_json::json;

use crate::tab::Tab;
use crate::{Simulator, answer, open_all, picture, shows_state, two_calls};

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
        shows_state(&mut tab, "Ringing");
        assert_eq!(tab.inaccessible(), json!([]), "ringing, {scheme}");
        tab.click("Turn sound on");
        answer(&simulator, &mut tab, &mut call);
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
        shows_state(&mut tab, "Ringing");
        assert_eq!(tab.run("return page.evaluate('document.getAnimations().length > 0')"), moves, "{motion}");
    }
}

#[test]
fn the_progress_of_a_call_is_announced() {
    let simulator = Simulator::start();
    let mut tab = Tab::open(&simulator.url, &json!({}));
    let announces = |tab: &mut Tab, text: &str| {
        tab.wait_for(&format!("document.querySelector('[role=status]').textContent === '{text}'"));
    };
    let mut call = simulator.ring();
    announces(&mut tab, "Telephone +1 425 555 1212 rings.");
    answer(&simulator, &mut tab, &mut call);
    announces(&mut tab, "Telephone +1 425 555 1212 is in a call.");
    call.end("PhoneGate hung up.");
    announces(&mut tab, "Call to +1 425 555 1212: PhoneGate hung up.");
}

#[test]
fn the_focus_stays_at_a_telephone_whose_call_ends() {
    let simulator = Simulator::start();
    let mut tab = Tab::open(&simulator.url, &json!({}));
    let mut call = simulator.ring();
    answer(&simulator, &mut tab, &mut call);
    shows_state(&mut tab, "In call");
    tab.run("await page.locator('[data-key=\"5\"]').focus()");
    call.end("PhoneGate hung up.");
    shows_state(&mut tab, "Ready");
    // A disabled button loses the focus when the page is drawn next.
    tab.run("await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100))))");
    assert_eq!(tab.run("return page.evaluate('document.activeElement.className')"), "device");
}

#[test]
fn each_button_has_an_edge_in_forced_colours() {
    let simulator = Simulator::start();
    let mut tab = Tab::open(&simulator.url, &json!({ "forcedColors": "active" }));
    let _call = simulator.ring();
    shows_state(&mut tab, "Ringing");
    picture(&mut tab, "forced-colours");
    tab.wait_for(
        "[...document.querySelectorAll('button')].every((one) => parseFloat(getComputedStyle(one).borderTopWidth) > 0)",
    );
}
