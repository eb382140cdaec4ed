//! What the page shows when the simulator cannot be reached.

use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;

use crate::tab::Tab;
use crate::{EVENT_TIMEOUT, NUMBER, Simulator, answer, shows_state};

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
    shows_state(&mut tab, "No connection");
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
    answer(&simulator, &mut tab, &mut call);
    shows_state(&mut tab, "In call");
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
