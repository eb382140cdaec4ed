//! A process of a farm is killed at any moment of a call, and the host repeats the request on another node at once: no
//! phone rings twice for a pending call, and every call ends with a message.

use phonegate::store::{Query, Row};
use support::twilio::{About, Fault, Scenario, Twilio};

use super::*;

/// Processes that are killed at each moment.
const KILLS: u128 = 5;

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Beginning,
    BeforeTheReference,
    Ringing,
    Ended,
}

/// A farm that calls through Twilio, and the node that survives.
struct Site {
    twilio: Twilio,
    farm: Farm,
    node: TestGate,
}

impl Site {
    fn new() -> Self {
        let twilio = Twilio::start();
        let farm = Farm::with(twilio.backend());
        let node = farm.node();
        Self { twilio, farm, node }
    }

    /// Returns how often the number of call n was rung.
    fn rings(&self, n: u128) -> usize {
        let number = number(n).replace(' ', "");
        self.twilio.seen(About::Start).iter().filter(|seen| seen.form["To"] == number).count()
    }

    /// Returns the attempts of call n in Redis, in their order.
    fn attempts(&self, n: u128) -> Vec<Row> {
        let query = Query { id: Some(id(n)), limit: usize::MAX, ..Query::default() };
        self.farm.ask(async |store| store.rows(&query).await).unwrap()
    }

    /// Kills the process that places call n, and repeats the request on the node. `ends` is the event of the call's end.
    fn kill(&self, n: u128, moment: Moment, ends: &str) {
        let mut host = self.farm.process(n);
        // Each process is killed a little later than the one before.
        let later = (n % KILLS) as u64;
        let pause = match moment {
            Moment::Beginning => {
                host.logs("started_call");
                later * 4
            }
            Moment::BeforeTheReference => {
                wait_until("Twilio is asked", || self.rings(n) > 0);
                later * 50
            }
            Moment::Ringing => {
                wait_until("Redis has the reference", || self.attempts(n).iter().any(|row| row.placed.is_some()));
                later * 100
            }
            Moment::Ended => {
                host.logs(ends);
                later * 3
            }
        };
        host.kill_after(pause);
        self.node.initiate(id(n), &number(n));
    }

    /// Waits for the end of call n, and compares it with how often its number was rung.
    fn settle(&self, n: u128, moment: Moment) -> (Moment, CallStatus, String) {
        let (status, text) = self.node.ends(id(n));
        let mut attempts = Vec::new();
        wait_until(&format!("Redis has the end of call {n}, {moment:?}: {status:?} {text}"), || {
            attempts = self.attempts(n);
            attempts.iter().all(|attempt| attempt.ended.is_some())
        });
        let rung = self.rings(n);
        let what = format!("{moment:?}: {status:?} {text}, rung {rung} times for {attempts:?}");
        assert!(rung <= attempts.len(), "{what}");
        // No attempt began before the previous one had ended.
        assert!(attempts.is_sorted_by(|one, next| one.ended <= Some(next.started)), "{what}");
        match status {
            CallStatus::Success => assert!(rung > 0 && text.is_empty(), "{what}"),
            _ => assert!(text.ends_with(')'), "{what}"),
        }
        if matches!(moment, Moment::Beginning | Moment::BeforeTheReference) {
            assert_eq!(attempts.len(), 1, "{what}");
        }
        (moment, status, text)
    }
}

/// Kills processes at two moments, one after the other, of calls that end with this text and this event. Returns their
/// ends.
fn killed_at(site: &Site, moments: [Moment; 2], word: &str, ends: &str) -> Vec<(Moment, CallStatus, String)> {
    site.twilio.play(Scenario { polls: Some(2), ..Scenario::ends(word) });
    let [one, other] = [1..=KILLS, KILLS + 1..=2 * KILLS];
    for (moment, calls) in moments.into_iter().zip([one.clone(), other.clone()]) {
        calls.for_each(|n| site.kill(n, moment, ends));
    }
    let calls = moments.into_iter().zip([one, other]).flat_map(|(moment, calls)| calls.map(move |n| (moment, n)));
    let ended = calls.clone().map(|(moment, n)| site.settle(n, moment)).collect();
    let rung: usize = calls.map(|(_, n)| site.rings(n)).sum();
    println!("{} processes killed, {rung} rings, none while another one was pending", 2 * KILLS);
    ended
}

#[test]
fn a_repeat_after_a_kill_before_the_ring_never_rings_again() {
    let site = Site::new();
    // Slow enough that the process is killed meanwhile.
    (0..4 * KILLS).for_each(|_| site.twilio.fail(About::Start, Fault::Slow(Duration::from_secs(3))));
    let moments = [Moment::Beginning, Moment::BeforeTheReference];
    for (moment, _, text) in killed_at(&site, moments, "APPROVED", "verified") {
        let is_known = matches!(moment, Moment::BeforeTheReference);
        assert!(!is_known || text.ends_with("(Interrupted)"), "{moment:?}: {text}");
    }
}

/// A call that rings, or has ended, has the outcome that the user chose, whichever process drives it.
fn a_repeat_of_a_call_that_rings_or_has_ended(word: &str, ends: &str, outcome: (CallStatus, &str)) {
    let site = Site::new();
    // In this order: a process whose call has ended may shut down before it is killed, which ends a call that it has
    // claimed from a killed one.
    for (moment, status, text) in killed_at(&site, [Moment::Ended, Moment::Ringing], word, ends) {
        assert_eq!(status, outcome.0, "{moment:?}: {text}");
        assert!(text.contains(outcome.1), "{moment:?}: {text}");
    }
}

#[test]
fn a_repeat_of_an_approved_call_rings_only_after_its_end() {
    a_repeat_of_a_call_that_rings_or_has_ended("APPROVED", "verified", (CallStatus::Success, ""));
}

#[test]
fn a_repeat_of_a_refused_call_rings_only_after_its_end() {
    a_repeat_of_a_call_that_rings_or_has_ended("WRONG_KEY", "failed", (CallStatus::Failed, "(WrongKey"));
}
