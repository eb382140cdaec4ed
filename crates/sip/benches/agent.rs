//! Measures calls of an agent in virtual time: throughput, memory per call, and leaks. Prints one table.
//!
//! The server is a few lines of text, so that nearly all the time is the agent's.

#[path = "../tests/support/server.rs"]
mod server;

use std::time::{Duration, Instant};

use phonegate_sip::agent::{CallEvent, CallId, Config, Event, FlowId, UserAgent};
use server::{Server, agent, outbound_call};

/// Number of calls that are placed one after the other.
const CALLS: u32 = 100_000;

/// Number of concurrent calls.
const AT_ONCE: usize = 10_000;

fn main() {
    let (mut agent, flow) = agent(Config { max_calls: AT_ONCE, ..Config::default() });
    let start = Instant::now();
    let messages = place_and_end(&mut agent, flow);
    let took = start.elapsed();
    let left = agent.usage();
    let before = resident();
    let (mut agent, flow) = agent_for_many();
    let ids = hold(&mut agent, flow);
    let per_call = resident().saturating_sub(before) / AT_ONCE;
    println!("{:44} {:>14}", "calls in virtual time, one after the other", CALLS);
    println!("{:44} {:>14.0}", "calls a second", f64::from(CALLS) / took.as_secs_f64());
    println!("{:44} {:>14.0}", "messages a second, read and written", messages as f64 / took.as_secs_f64());
    let rest = left.calls + left.client_transactions + left.server_transactions + left.timers + left.events;
    println!("{:44} {:>14}", "calls, transactions, timers, events left", rest);
    println!("{:44} {:>14}", "answered calls at once", ids.len());
    println!("{:44} {:>14}", "bytes of memory a call", per_call);
    assert_eq!(rest, 0, "something was left: {left:?}");
}

/// Places calls, each of which is answered and hung up, and runs until no timer is left. Returns the number of
/// messages.
fn place_and_end(agent: &mut UserAgent, flow: FlowId) -> u64 {
    let mut server = Server::default();
    let mut now = Duration::ZERO;
    for _ in 0..CALLS {
        now += Duration::from_millis(100);
        agent.handle_timeout(now);
        let id = agent.place_call(now, flow, outbound_call()).expect("there is room");
        server.exchange(agent, flow, now);
        assert!(answered(agent, id), "each call is answered");
        agent.hang_up(now, id);
        server.exchange(agent, flow, now);
        while agent.poll_event().is_some() {}
    }
    while let Some(at) = agent.next_timeout() {
        agent.handle_timeout(at);
        server.exchange(agent, flow, at);
    }
    server.messages
}

fn answered(agent: &mut UserAgent, id: CallId) -> bool {
    let mut events = std::iter::from_fn(|| agent.poll_event());
    events.any(|event| matches!(event, Event::Call(call, CallEvent::Established(_)) if call == id))
}

fn agent_for_many() -> (UserAgent, FlowId) {
    agent(Config { max_calls: AT_ONCE, ..Config::default() })
}

/// Places calls that are answered and not hung up.
fn hold(agent: &mut UserAgent, flow: FlowId) -> Vec<CallId> {
    let mut server = Server::default();
    let mut ids = Vec::new();
    for _ in 0..AT_ONCE {
        ids.push(agent.place_call(Duration::ZERO, flow, outbound_call()).expect("there is room"));
        server.exchange(agent, flow, Duration::ZERO);
        while agent.poll_event().is_some() {}
    }
    ids
}

/// Returns the resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS is in it");
    let kilobytes: usize = line.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    kilobytes * 1024
}
