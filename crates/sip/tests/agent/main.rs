//! The agent against peers, in virtual time.
//!
//! A story is a test that plays the peer step by step: see [`net::story`]. Most stories are played over UDP and TCP, and
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
mod stories_calls;
mod stories_connections;
mod stories_forks;
mod stories_limits;
mod stories_races;
mod stories_registration;
mod stories_reliable;
mod stories_requests;
mod stories_retries;
mod stories_ringing;
mod stories_sessions;
mod stories_syntax;
mod stories_timers;
