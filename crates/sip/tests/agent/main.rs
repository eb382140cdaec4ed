//! The agent against peers, in virtual time.

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
