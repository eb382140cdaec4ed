//! Connections to other machines: TLS, HTTPS, proxies, name look-ups. Changes no global state.
//!
//! | module | what it does |
//! |---|---|
//! | [`tls`] | TLS client settings |
//! | [`https_client`] | an HTTPS client with timeouts and bounded replies |
//! | [`proxy`] | chooses the proxy for a URL |
//! | [`lookup`] | name look-ups that use few threads |
//! | [`loopback`] | which hosts and addresses are this machine |

#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice
)]
#![warn(missing_docs, unreachable_pub)]

pub mod https_client;
pub mod lookup;
pub mod loopback;
pub mod proxy;
pub mod tls;
