//! Chooses the proxy for a URL.
//!
//! In this order: the setting; the environment variables `HTTPS_PROXY` and `NO_PROXY` of this process; on Windows, the
//! machine's settings for services, which `netsh winhttp set proxy` changes; none. A user's browser settings are not
//! read. Only https URLs of other machines use a proxy: a proxy would see all of a request by http, and its own machine in
//! place of this one.

use hyper_util::client::proxy::matcher::Matcher;
use phonegate_os::MachineProxy;
use reqwest::Proxy;
use url::Url;

use crate::loopback::is_loopback_url;

/// The value of the setting that disables proxies, whatever the environment and the machine say.
const NONE: &str = "none";

/// A proxy to use.
#[derive(Debug)]
pub struct ProxyChoice {
    /// The proxy, for every request by https.
    pub proxy: Proxy,
    /// The proxy's address and its origin, without the password.
    pub description: String,
}

/// The origin of a proxy's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyOrigin {
    /// The caller's setting.
    Setting,
    /// This environment variable.
    Environment(&'static str),
    /// The machine's settings of WinHTTP.
    Machine,
}

/// An address that cannot be used as a proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct ProxyError {
    /// The origin of the address.
    pub origin: ProxyOrigin,
    /// The problem, without the address: it may have a password.
    pub problem: String,
}

/// Returns the proxy for requests to `target`. `None`: connect directly. `setting_name` describes the setting.
///
/// A URL of this machine, or without encryption, is never requested through a proxy.
///
/// # Errors
/// If the first origin that names a proxy names one that cannot be used.
pub fn proxy_for(setting: Option<&str>, setting_name: &str, target: &Url) -> Result<Option<ProxyChoice>, ProxyError> {
    let choose = |address: &str, name: &str, origin: ProxyOrigin| {
        parse(address, name).map(Some).map_err(|problem| ProxyError { origin, problem })
    };
    match setting {
        Some(NONE) => return Ok(None),
        // An address that cannot be used is an error even if it is not used.
        Some(address) => {
            let choice = choose(address, setting_name, ProxyOrigin::Setting)?;
            return Ok(choice.filter(|_| may_use_proxy(target)));
        }
        None => {}
    }
    let Some(host) = target.host_str().filter(|_| may_use_proxy(target)) else { return Ok(None) };
    if let Some((variable, address)) = from_environment() {
        return match is_exempt(target) {
            true => Ok(None),
            false => choose(&address, variable, ProxyOrigin::Environment(variable)),
        };
    }
    match phonegate_os::machine_proxy().and_then(|machine| for_host(&machine, host)) {
        None => Ok(None),
        Some(address) => choose(&address, "WinHTTP", ProxyOrigin::Machine),
    }
}

/// Returns whether requests to a URL may go through a proxy.
fn may_use_proxy(target: &Url) -> bool {
    target.scheme() == "https" && !is_loopback_url(target)
}

fn parse(address: &str, origin: &str) -> Result<ProxyChoice, String> {
    let unusable = || "is not an address like http://proxy.contoso.local:3128".to_owned();
    let whole = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let url = Url::parse(&whole).map_err(|_| unusable())?;
    let Some(host) = url.host_str() else { return Err(unusable()) };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{}; other schemes are not supported", unusable()));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        // A backslash begins a path, as in CONTOSO\user.
        return Err(format!("{}; in its user and password, write \\ as %5C, # as %23, / as %2F, ? as %3F", unusable()));
    }
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let description = format!("through the proxy {}://{host}{port} ({origin})", url.scheme());
    let proxy = Proxy::https(url).map_err(|_| unusable())?;
    Ok(ProxyChoice { proxy, description })
}

fn from_environment() -> Option<(&'static str, String)> {
    let read = |name| std::env::var(name).ok().filter(|address| !address.is_empty()).map(|address| (name, address));
    ["HTTPS_PROXY", "https_proxy"].into_iter().find_map(read)
}

/// Returns whether `NO_PROXY` names the host.
fn is_exempt(target: &Url) -> bool {
    let exceptions = ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    // The address does not matter: the matcher only decides whether a proxy would be used.
    let matcher = Matcher::builder().all("http://proxy").no(exceptions).build();
    target.as_str().parse().is_ok_and(|target| matcher.intercept(&target).is_none())
}

/// Returns the proxy for HTTPS among those of WinHTTP. `None` if the host is to be reached without it.
/// <https://learn.microsoft.com/windows/win32/api/winhttp/ns-winhttp-winhttp_proxy_info>
fn for_host(machine: &MachineProxy, host: &str) -> Option<String> {
    let list = |text: &str| -> Vec<String> {
        text.to_ascii_lowercase().split([';', ' ']).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
    };
    if list(&machine.bypass).iter().any(|pattern| bypasses(pattern, host)) {
        return None;
    }
    // Not lowered in case: it may contain a password.
    let entries = || machine.proxies.split([';', ' ']).filter(|entry| !entry.is_empty());
    let named = |entry: &&str| entry.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https="));
    let named = entries().find(named).and_then(|entry| entry.get(6..));
    named.or_else(|| entries().find(|entry| !entry.contains('='))).map(str::to_owned)
}

/// Returns whether an entry of WinHTTP's bypass list matches a host. `*` matches anything; scheme and port are ignored.
fn bypasses(pattern: &str, host: &str) -> bool {
    if pattern == "<local>" {
        return !host.contains('.');
    }
    let pattern = pattern.split_once("://").map_or(pattern, |(_, rest)| rest);
    let pattern = match pattern.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => pattern,
    };
    matches(pattern, host)
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text
            .strip_prefix(before)
            .is_some_and(|rest| (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| matches(after, rest)))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const HOST: &str = "studio.twilio.com";

    fn proxy(proxies: &str, bypass: &str) -> Option<String> {
        for_host(&MachineProxy { proxies: proxies.to_owned(), bypass: bypass.to_owned() }, HOST)
    }

    #[test]
    fn this_machine_and_http_use_no_proxy() {
        for (target, is_used) in [
            ("https://studio.twilio.com/v2", true),
            ("https://192.168.1.2:8443", true),
            ("https://localhost.contoso.com", true),
            ("http://studio.twilio.com", false),
            ("http://127.0.0.1:8080/calls", false),
            ("https://127.0.0.1:8443", false),
            ("https://127.1.2.3", false),
            ("https://[::1]:8443", false),
            ("https://[::ffff:127.0.0.1]", false),
            ("https://localhost:8443", false),
            ("https://LOCALHOST.", false),
            ("https://calls.localhost", false),
        ] {
            let target = Url::parse(target).unwrap();
            let choice = proxy_for(Some("http://proxy:3128"), "network.proxy", &target).unwrap();
            assert_eq!(choice.is_some(), is_used, "{target}");
            assert!(proxy_for(Some("none"), "network.proxy", &target).unwrap().is_none());
            assert!(proxy_for(Some("socks5://proxy"), "network.proxy", &target).is_err(), "{target}");
        }
    }

    #[test]
    fn finds_the_https_proxy_in_each_form_of_winhttp() {
        for (proxies, expected) in [
            ("proxy:3128", Some("proxy:3128")),
            ("http://proxy:3128", Some("http://proxy:3128")),
            ("http=one:80;https=two:3128", Some("two:3128")),
            ("HTTPS=two:3128 HTTP=one:80", Some("two:3128")),
            ("http=one:80;proxy:3128", Some("proxy:3128")),
            ("http=one:80", None),
            ("", None),
        ] {
            assert_eq!(proxy(proxies, "<local>;*.contoso.local").as_deref(), expected, "{proxies}");
        }
    }

    #[test]
    fn bypasses_the_proxy_for_hosts_of_winhttps_list() {
        for (bypass, exempt) in [
            ("<local>", false),
            ("*.twilio.com", true),
            ("*.Twilio.Com;<local>", true),
            ("https://studio.twilio.com:443", true),
            ("twilio.com", false),
            ("*twilio.com", true),
            ("studio.*", true),
            ("s*o.tw*.com", true),
            ("s*o.tw*.org", false),
            ("*", true),
            ("[::1];192.168.*", false),
        ] {
            assert_eq!(proxy("proxy:3128", bypass).is_none(), exempt, "{bypass}");
        }
        assert!(
            bypasses("<local>", "studio") && bypasses("192.168.*", "192.168.1.2") && bypasses("[::1]:8443", "[::1]")
        );
    }

    #[test]
    fn descriptions_and_errors_show_no_password() {
        for (address, shown) in [
            ("http://me:hush@proxy:3128", Some("http://proxy:3128")),
            ("me:hush@proxy:3128", Some("http://proxy:3128")),
            (r"http://CONTOSO%5Cme:hush@proxy:3128", Some("http://proxy:3128")),
            ("https://proxy", Some("https://proxy")),
            (r"http://CONTOSO\me:hush@proxy:3128", None),
            ("http://me:12#34@proxy:3128", None),
            ("http://me:hush@[", None),
            ("http://me:hush@", None),
            ("htpp://me:hush@proxy:3128", None),
            ("socks5://me:hush@proxy:3128", None),
        ] {
            match parse(address, "HTTPS_PROXY") {
                Ok(choice) => {
                    assert_eq!(
                        Some(choice.description),
                        shown.map(|shown| format!("through the proxy {shown} (HTTPS_PROXY)"))
                    );
                }
                Err(problem) => assert!(shown.is_none() && !problem.contains("hush"), "{address}: {problem}"),
            }
        }
    }
}
