//! The agent against peers, in virtual time.
//!
//! A scenario is a test that plays the peer step by step: see [`net::scenario`]. Most scenarios are played over UDP and TCP, and
//! many over all paths: by IPv6, through loose and strict routers, with a challenge at each request. The network
//! inspects each message of the agent as a strict peer would. If a test fails, it shows what was sent.
//!
//! `seeds` plays thousands of calls over bad networks, each from one number. `PHONEGATE_SIP_SEEDS` sets how many seeds
//! are played, `PHONEGATE_SIP_SEED` plays one of them, and `PHONEGATE_SIP_WITHOUT` leaves features out of it.

mod net;
mod seeds;

mod attacks_floods;
mod attacks_redirects;
mod attacks_requests;
mod scenarios_calls;
mod scenarios_connections;
mod scenarios_forks;
mod scenarios_late_answers;
mod scenarios_limits;
mod scenarios_races;
mod scenarios_registration;
mod scenarios_reliable;
mod scenarios_requests;
mod scenarios_retries;
mod scenarios_ringing;
mod scenarios_sessions;
mod scenarios_syntax;
mod scenarios_timers;
