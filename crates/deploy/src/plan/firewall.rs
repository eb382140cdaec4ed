//! Lists the rules of Windows Firewall that calls over a SIP trunk need. They are shown but not created: many sites set
//! them by group policy, and only the administrator knows from which addresses the trunk sends audio.

use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

use phonegate::backend::sip::SipConfig;
use phonegate::config::Config;

use crate::find::PROGRAM;

/// The port of a trunk whose URI names none.
const SIP_PORT: u16 = 5060;

/// Returns the commands for the SIP trunks in use: one for signalling to a fixed UDP port, one for audio, which is always
/// UDP. The hosts of trunks are resolved.
pub(super) fn rules(config: &Config, service_folder: &Path) -> Vec<String> {
    let program = service_folder.join(PROGRAM);
    let mut rules = Vec::new();
    for (name, backend) in config.in_use() {
        let Some(trunk) = backend.settings::<SipConfig>() else { continue };
        let remote = remote_addresses(trunk);
        let rule = |what: &str, ports: String| {
            format!(
                "netsh advfirewall firewall add rule name=\"PhoneGate {name} {what}\" dir=in action=allow protocol=UDP \
                 localport={ports} remoteip={remote} program=\"{}\"",
                program.display()
            )
        };
        let port = trunk.local_port.get();
        if port != 0 && targets(trunk).any(|target| !target.is_stream) {
            rules.push(rule("SIP", port.to_string()));
        }
        rules.push(rule("audio", format!("{}-{}", trunk.rtp_ports.first.get(), trunk.rtp_ports.last.get())));
    }
    rules
}

/// A trunk or proxy.
struct Target<'a> {
    host: &'a str,
    port: u16,
    /// Whether it is reached over TCP or TLS. PhoneGate opens these connections, so they need no inbound rule.
    is_stream: bool,
}

fn targets(trunk: &SipConfig) -> impl Iterator<Item = Target<'_>> {
    let uris = match &trunk.outbound_proxy {
        Some(proxy) => vec![proxy.as_str()],
        None => trunk.trunk.with_paths("").into_iter().map(|(_, uri)| uri).collect(),
    };
    uris.into_iter().map(target)
}

/// Parses a SIP URI, which the configuration has validated.
fn target(uri: &str) -> Target<'_> {
    let (scheme, rest) = uri.split_once(':').unwrap_or(("sip", uri));
    let (place, parameters) = rest.split_once([';', '?']).unwrap_or((rest, ""));
    let place = place.rsplit('@').next().unwrap_or(place);
    let (host, port) = match place.strip_prefix('[').and_then(|place| place.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let parameters = parameters.to_ascii_lowercase();
    let is_stream = scheme.eq_ignore_ascii_case("sips")
        || parameters.split(';').any(|parameter| matches!(parameter, "transport=tcp" | "transport=tls"));
    Target { host, port: port.and_then(|port| port.parse().ok()).unwrap_or(SIP_PORT), is_stream }
}

/// Returns the addresses from which the gate accepts SIP, in the syntax of `remoteip`: the trunks, the proxy and
/// `signalling_addresses`. A host that cannot be resolved becomes a placeholder for the administrator to replace.
fn remote_addresses(trunk: &SipConfig) -> String {
    let trunks = trunk.trunk.with_paths("").into_iter().map(|(_, uri)| target(uri));
    let signalling = trunk.signalling_addresses.iter().map(|host| (host.as_str(), SIP_PORT));
    let hosts = targets(trunk).chain(trunks).map(|Target { host, port, .. }| (host, port)).chain(signalling);
    let mut addresses: Vec<String> = Vec::new();
    for (host, port) in hosts {
        let found: Vec<IpAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![address.to_canonical()],
            Err(_) => {
                (host, port).to_socket_addrs().map(|found| found.map(|one| one.ip()).collect()).unwrap_or_default()
            }
        };
        match found.is_empty() {
            true => addresses.push(format!("ADDRESSES-OF-{host}")),
            false => addresses.extend(found.iter().map(ToString::to_string)),
        }
    }
    addresses.sort();
    addresses.dedup();
    addresses.join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn rules_of(trunk: &str) -> Vec<String> {
        let config = format!(
            r#"{{ "use": ["trunk"], "numbers": {{ "default_country": "US" }}, "backends": {{
                 "trunk": {{ "type": "sip", {trunk}, "rtp_ports": {{ "first": 20000, "last": 20099 }} }},
                 "not-in-use": {{ "type": "sip", "trunk": "sip:192.0.2.99" }} }} }}"#
        );
        rules(&phonegate::config::parse(&config, &phonegate::TYPES).unwrap(), Path::new("service"))
    }

    #[test]
    fn a_rule_admits_only_the_trunk_to_only_the_service() {
        let rules = rules_of(r#""trunk": "sip:192.0.2.10", "local_port": 5070"#);
        let program = Path::new("service").join("Microsoft.ResourceManagement.Service.exe");
        let rule = |what: &str, ports: &str| {
            format!(
                "netsh advfirewall firewall add rule name=\"PhoneGate trunk {what}\" dir=in action=allow protocol=UDP \
                 localport={ports} remoteip=192.0.2.10 program=\"{}\"",
                program.display()
            )
        };
        assert_eq!(rules, [rule("SIP", "5070"), rule("audio", "20000-20099")]);
    }

    #[test]
    fn signalling_needs_a_rule_only_for_a_fixed_udp_port() {
        for (trunk, count) in [
            (r#""trunk": "sip:192.0.2.10""#, 1),
            (r#""trunk": "sip:192.0.2.10;transport=tcp", "local_port": 5070"#, 1),
            (r#""trunk": "sips:192.0.2.10", "local_port": 5070"#, 1),
            (r#""trunk": "sip:192.0.2.10;transport=udp", "local_port": 5070"#, 2),
        ] {
            assert_eq!(rules_of(trunk).len(), count, "{trunk}");
        }
    }

    #[test]
    fn rules_admit_every_address_of_the_trunk() {
        for (trunk, remote) in [
            (r#""trunk": ["sip:192.0.2.11:5080", "sip:[2001:db8::1]:5061;transport=tls"]"#, "192.0.2.11,2001:db8::1"),
            (r#""trunk": "sip:192.0.2.10", "outbound_proxy": "sip:192.0.2.7""#, "192.0.2.10,192.0.2.7"),
            (r#""trunk": "sip:pbx.invalid", "outbound_proxy": "sip:192.0.2.7""#, "192.0.2.7,ADDRESSES-OF-pbx.invalid"),
            (
                r#""trunk": "sip:192.0.2.10", "signalling_addresses": ["::ffff:192.0.2.8", "2001:db8::2", "sbc.invalid"]"#,
                "192.0.2.10,192.0.2.8,2001:db8::2,ADDRESSES-OF-sbc.invalid",
            ),
            (r#""trunk": "sip:pbx.invalid""#, "ADDRESSES-OF-pbx.invalid"),
        ] {
            let rules = rules_of(trunk);
            assert!(rules.iter().all(|rule| rule.contains(&format!(" remoteip={remote} "))), "{rules:?}");
        }
    }
}
