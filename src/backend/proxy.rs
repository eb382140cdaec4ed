//! The way out to providers: which proxy, and who says so.
//!
//! In this order: `network.proxy`; the environment variables `HTTPS_PROXY` and `NO_PROXY` of the service; on Windows the
//! machine's settings for services, those of `netsh winhttp set proxy`; else none. What users set in their browsers is
//! not looked at: a service has no browser.

use reqwest::{NoProxy, Proxy};
use url::Url;

use crate::config::{ConfigError, NetworkConfig};
use crate::platform::{self, MachineProxy};

/// What `network.proxy` says where there is to be none, whatever environment and machine say.
const NONE: &str = "none";

/// A proxy, and words about it that show no password.
pub(super) struct WayOut {
    pub(super) proxy: Option<Proxy>,
    /// Such as `through the proxy http://proxy:3128 (HTTPS_PROXY)`; empty where there is none.
    pub(super) words: String,
}

impl WayOut {
    const DIRECT: Self = Self { proxy: None, words: String::new() };

    fn through(address: &str, proxy: Proxy, source: &str) -> Self {
        Self { proxy: Some(proxy), words: format!("through the proxy {} ({source})", without_user(address)) }
    }
}

/// Chooses the way out.
///
/// # Errors
/// Where whoever comes first names no proxy that can be used.
pub(super) fn way_out(network: &NetworkConfig) -> Result<WayOut, ConfigError> {
    // An error of the library's would show the proxy's password.
    let invalid = |problem: &str| ConfigError::invalid("network.proxy", problem);
    match network.proxy.as_deref() {
        Some(NONE) => return Ok(WayOut::DIRECT),
        Some(address) => {
            let proxy = Proxy::all(address)
                .map_err(|_| invalid("is not a URL like http://proxy.contoso.local:3128, and not \"none\""))?;
            return Ok(WayOut::through(address, proxy, "network.proxy"));
        }
        None => {}
    }
    if let Some((variable, address)) = from_environment() {
        let proxy = Proxy::https(&address).map_err(|_| {
            invalid(&format!(
                "is not set, and the environment variable {variable} is not a URL like \
                 http://proxy.contoso.local:3128; mend it, or say here which proxy (\"none\": none)"
            ))
        })?;
        return Ok(WayOut::through(&address, proxy.no_proxy(NoProxy::from_env()), variable));
    }
    match platform::machine_proxy().as_ref().and_then(for_https) {
        Some((address, exceptions)) => {
            let proxy = Proxy::https(&address).map_err(|_| {
                invalid("is not set, and the machine's proxy (`netsh winhttp show proxy`) cannot be used; say it here")
            })?;
            Ok(WayOut::through(&address, proxy.no_proxy(exceptions), "WinHTTP"))
        }
        None => Ok(WayOut::DIRECT),
    }
}

fn from_environment() -> Option<(&'static str, String)> {
    let read = |name| std::env::var(name).ok().filter(|address| !address.is_empty()).map(|address| (name, address));
    ["HTTPS_PROXY", "https_proxy"].into_iter().find_map(read)
}

/// The proxy for HTTPS among those of WinHTTP, and what is reached without it.
/// <https://learn.microsoft.com/windows/win32/api/winhttp/ns-winhttp-winhttp_proxy_info>
fn for_https(machine: &MachineProxy) -> Option<(String, Option<NoProxy>)> {
    let entries = || machine.proxies.split([';', ' ']).filter(|entry| !entry.is_empty());
    let named = entries().find_map(|entry| entry.strip_prefix("https="));
    let address = named.or_else(|| entries().find(|entry| !entry.contains('=')))?;
    // `<local>` is for names without a dot, which no provider has.
    let hosts = machine.bypass.split([';', ' ']).filter(|host| !host.starts_with('<'));
    let exceptions: Vec<_> = hosts.map(|host| host.strip_prefix('*').unwrap_or(host)).collect();
    Some((address.to_owned(), NoProxy::from_string(&exceptions.join(","))))
}

fn without_user(address: &str) -> String {
    let whole = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let Ok(mut url) = Url::parse(&whole) else {
        return "that cannot be shown".to_owned();
    };
    // They fail where an address cannot have them; then it has none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(proxies: &str) -> Option<String> {
        for_https(&MachineProxy { proxies: proxies.to_owned(), bypass: String::new() }).map(|(address, _)| address)
    }

    #[test]
    fn the_proxy_for_https_is_found_in_each_form_of_winhttp() {
        for (proxies, expected) in [
            ("proxy:3128", Some("proxy:3128")),
            ("http://proxy:3128", Some("http://proxy:3128")),
            ("http=one:80;https=two:3128", Some("two:3128")),
            ("https=two:3128 http=one:80", Some("two:3128")),
            ("http=one:80;proxy:3128", Some("proxy:3128")),
            ("http=one:80", None),
            ("", None),
        ] {
            assert_eq!(address(proxies).as_deref(), expected, "{proxies}");
        }
    }

    #[test]
    fn no_password_is_shown() {
        for (address, shown) in [
            ("http://me:hush@proxy:3128", "http://proxy:3128"),
            ("me:hush@proxy:3128", "http://proxy:3128"),
            ("proxy:3128", "http://proxy:3128"),
            ("http://me:hush@[", "that cannot be shown"),
        ] {
            assert_eq!(without_user(address), shown);
        }
    }
}
