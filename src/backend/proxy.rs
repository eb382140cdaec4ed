//! The way out to a provider: which proxy, and who says so.
//!
//! In this order: `network.proxy`; the environment variables `HTTPS_PROXY` and `NO_PROXY` of the service; on Windows the
//! machine's settings for services, those of `netsh winhttp set proxy`; else none. What users set in their browsers is
//! not looked at: a service has no browser.

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Proxy;
use url::Url;

use crate::config::{ConfigError, NetworkConfig};
use crate::platform::{self, MachineProxy};

/// What `network.proxy` says where there is to be none, whatever environment and machine say.
const NONE: &str = "none";

/// The proxy to a provider, and words about it that show no password. None for the direct way.
pub(super) type WayOut = Option<(Proxy, String)>;

/// Chooses the way out to a provider.
///
/// # Errors
/// Where whoever comes first names no proxy that can be used.
pub(super) fn way_out(network: &NetworkConfig, provider: &Url) -> Result<WayOut, ConfigError> {
    // Errors do not show what was set: it may have a password.
    let invalid = |problem: String| ConfigError::invalid("network.proxy", problem);
    match network.proxy.as_deref() {
        Some(NONE) => return Ok(None),
        Some(address) => {
            return through(address, "network.proxy")
                .map_err(|problem| invalid(format!("{problem}; \"none\" is for no proxy")));
        }
        None => {}
    }
    // What environment and machine say is for the encrypted way alone.
    let Some(host) = provider.host_str().filter(|_| provider.scheme() == "https") else { return Ok(None) };
    if let Some((variable, address)) = from_environment() {
        if is_exempt(provider) {
            return Ok(None);
        }
        return through(&address, variable).map_err(|problem| {
            invalid(format!("is not set, and the environment variable {variable} {problem}; mend it, or say it here"))
        });
    }
    match platform::machine_proxy().and_then(|machine| for_host(&machine, host)) {
        None => Ok(None),
        Some(address) => through(&address, "WinHTTP").map_err(|problem| {
            invalid(format!("is not set, and the machine's (`netsh winhttp show proxy`) {problem}; say it here"))
        }),
    }
}

fn through(address: &str, source: &str) -> Result<WayOut, String> {
    let unusable = || "is not an address like http://proxy.contoso.local:3128".to_owned();
    let whole = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let url = Url::parse(&whole).map_err(|_| unusable())?;
    let Some(host) = url.host_str() else { return Err(unusable()) };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{}; other schemes are not spoken", unusable()));
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        // A backslash begins a path, as in CONTOSO\user.
        return Err(format!("{}; in its user and password, write \\ as %5C, # as %23, / as %2F, ? as %3F", unusable()));
    }
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let words = format!("through the proxy {}://{host}{port} ({source})", url.scheme());
    let proxy = Proxy::all(url).map_err(|_| unusable())?;
    Ok(Some((proxy, words)))
}

fn from_environment() -> Option<(&'static str, String)> {
    let read = |name| std::env::var(name).ok().filter(|address| !address.is_empty()).map(|address| (name, address));
    ["HTTPS_PROXY", "https_proxy"].into_iter().find_map(read)
}

/// Is it among the hosts of `NO_PROXY`?
fn is_exempt(provider: &Url) -> bool {
    let exceptions = ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    // Any proxy will do: it is asked whether it would be used.
    let matcher = Matcher::builder().all("http://proxy").no(exceptions).build();
    provider.as_str().parse().is_ok_and(|provider| matcher.intercept(&provider).is_none())
}

/// The proxy for HTTPS among those of WinHTTP. None where the host is reached without it.
/// <https://learn.microsoft.com/windows/win32/api/winhttp/ns-winhttp-winhttp_proxy_info>
fn for_host(machine: &MachineProxy, host: &str) -> Option<String> {
    let list = |text: &str| -> Vec<String> {
        text.to_ascii_lowercase().split([';', ' ']).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
    };
    if list(&machine.bypass).iter().any(|pattern| bypasses(pattern, host)) {
        return None;
    }
    // Not in lower case: there may be a password in it.
    let entries = || machine.proxies.split([';', ' ']).filter(|entry| !entry.is_empty());
    let named = |entry: &&str| entry.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https="));
    let named = entries().find(named).and_then(|entry| entry.get(6..));
    named.or_else(|| entries().find(|entry| !entry.contains('='))).map(str::to_owned)
}

/// Does an entry of WinHTTP's list mean this host? `*` in it stands for anything; scheme and port do not matter here.
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
    fn the_proxy_for_https_is_found_in_each_form_of_winhttp() {
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
    fn a_host_of_winhttps_exceptions_is_reached_without_the_proxy() {
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
    fn no_password_is_shown() {
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
            match through(address, "HTTPS_PROXY") {
                Ok(way) => {
                    let (_, words) = way.unwrap();
                    assert_eq!(Some(words), shown.map(|shown| format!("through the proxy {shown} (HTTPS_PROXY)")));
                }
                Err(problem) => assert!(shown.is_none() && !problem.contains("hush"), "{address}: {problem}"),
            }
        }
    }
}
