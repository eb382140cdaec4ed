//! Which hosts and addresses are this machine.
//!
//! Every user of a machine can listen at its loopback addresses, so the other side of a connection to one may be any
//! user's program. In doubt, these functions return true. Code that allows something for loopback alone, such as HTTP
//! without TLS, needs a stricter test: a name below `localhost` may resolve to an address of another machine.

use std::net::IpAddr;

use url::{Host, Url};

/// Returns whether an address is this machine: one of `127.0.0.0/8`, `::1`, their forms as IPv4-mapped addresses, or an
/// unspecified address, which Linux connects to loopback.
pub fn is_loopback(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}

/// Returns whether a host is this machine: `localhost`, a name below it (RFC 6761, section 6.3), or an address for which
/// [`is_loopback`] returns true. An IPv6 address may be in brackets. Looks up no name.
pub fn is_loopback_host(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return is_loopback(address);
    }
    match Host::parse(host) {
        Ok(host) => is_loopback_in_url(&host),
        Err(_) => is_localhost(&host.to_ascii_lowercase()),
    }
}

/// Returns whether the host of a URL is this machine, as [`is_loopback_host`] does.
pub fn is_loopback_url(url: &Url) -> bool {
    url.host().is_some_and(|host| is_loopback_in_url(&host))
}

fn is_loopback_in_url<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Domain(name) => is_localhost(name.as_ref()),
        Host::Ipv4(address) => is_loopback((*address).into()),
        Host::Ipv6(address) => is_loopback((*address).into()),
    }
}

/// Returns whether a name in lower case is `localhost` or below it.
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn every_form_of_this_machine_is_loopback() {
        for host in [
            "127.0.0.1",
            "127.255.255.254",
            "127.1",
            "0x7f000001",
            "2130706433",
            "0.0.0.0",
            "::1",
            "[::1]",
            "[::]",
            "::ffff:127.0.0.1",
            "[::ffff:127.8.9.10]",
            "[::ffff:7f00:1]",
            "localhost",
            "LocalHost.",
            "pbx.localhost",
            "a.b.LOCALHOST.",
        ] {
            assert!(is_loopback_host(host), "{host}");
            let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
            let url = Url::parse(&format!("https://{host}:8443/x")).unwrap();
            assert!(is_loopback_url(&url), "{url}");
        }
    }

    #[test]
    fn other_hosts_are_not_loopback() {
        for host in [
            "128.0.0.1",
            "126.255.255.255",
            "192.0.2.1",
            "2001:db8::1",
            "[::2]",
            "[::ffff:192.0.2.1]",
            "localhost.contoso.com",
            "notlocalhost",
            "sbc.contoso.local",
            "sbc_1.contoso.local",
            "",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
