//! The settings of a SIP trunk.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use phonegate_approval::policy;
use phonegate_net::loopback::is_loopback_host;
use phonegate_sip::message::Uri;
use schemars::JsonSchema;
use serde::Deserialize;

use super::SipTrunk;
use super::trust::is_loopback_entry;
use crate::backend::{BackendContext, BuildBackend, TelephonyBackend};
use crate::config::{ApprovalConfig, BackendNumbers, BackendSettings, Bounded, ConfigError, Secret};

/// Calls over a SIP trunk.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SipConfig {
    /// The trunk's SIP URI, as `sip:sbc.contoso.local:5061;transport=tls`, or a list of such, tried in their order. A
    /// name without a port is looked up as RFC 3263 says (NAPTR, SRV, A and AAAA records).
    pub trunk: OneOrMany,
    /// A proxy that everything is sent to instead: its SIP URI.
    #[serde(default)]
    pub outbound_proxy: Option<String>,
    /// The user name at the trunk; also the one that authenticates, unless `auth_username` says another.
    #[serde(default)]
    pub username: Option<String>,
    /// The user name for authentication alone.
    #[serde(default)]
    pub auth_username: Option<String>,
    /// The password. Absent: a trunk that asks for one is refused.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Keeps `username` registered at the trunk.
    #[serde(default)]
    pub register: bool,
    /// The number that the callee sees, in E.164. A route may have another one.
    #[serde(default)]
    pub caller_id: Option<String>,
    /// The header that shows it to the trunk.
    #[serde(default)]
    pub caller_id_header: CallerIdHeader,
    /// How the trunk wants numbers.
    #[serde(default)]
    pub number_format: NumberFormat,
    /// Digits that the trunk wants before each number, such as `9` for an outside line.
    #[serde(default)]
    pub number_prefix: Option<String>,
    /// The host part of our own SIP address; absent: the trunk's.
    #[serde(default)]
    pub domain: Option<String>,
    /// The address of this machine that the trunk can reach; absent: the one from which the way to the trunk leads.
    #[serde(default)]
    pub local_address: Option<IpAddr>,
    /// The UDP port for SIP; 0: any. If another process has it, such as the service during a check, any port is used.
    #[serde(default)]
    pub local_port: Bounded<0, 65_535, 0>,
    /// Further addresses from which the trunk sends SIP over UDP: IP addresses, ranges of them (`192.0.2.0/24`) and host
    /// names. The addresses of `trunk` and `outbound_proxy` are always accepted; UDP packets from any other address are
    /// ignored.
    #[serde(default)]
    pub signalling_addresses: Vec<String>,
    /// Allows a trunk, proxy or signalling address on loopback. Any user of this machine could listen there in its place
    /// and approve calls, so without this key such a trunk is a test backend, and a name that resolves to loopback is
    /// not used.
    #[serde(default)]
    pub local_peer: bool,
    /// Whether PhoneGate offers reliable provisional responses (100rel, RFC 3262) and acknowledges them by PRACK. If
    /// false, it treats a response that requires this as an ordinary one.
    #[serde(default)]
    pub support_prack: bool,
    /// The ports for audio.
    #[serde(default)]
    pub rtp_ports: PortRange,
    /// Whether the audio is encrypted (SRTP, keys by SDES). Absent: `required` where the trunk is TLS, else `off`.
    #[serde(default)]
    pub media_encryption: Option<MediaEncryption>,
    /// A PEM file with certificates of authorities that are trusted besides the operating system's, in place of those of
    /// `network.ca_file`.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// A PEM file with the certificate that PhoneGate presents to a trunk that asks for one (mutual TLS), followed by its
    /// intermediate certificates. Needs `client_key`.
    #[serde(default)]
    pub client_certificate: Option<PathBuf>,
    /// The private key of `client_certificate` in PEM: PKCS #8, PKCS #1 or SEC 1, without a passphrase.
    #[serde(default)]
    pub client_key: Option<Secret>,
    /// Whether a call ends as soon as the trunk reports that it is forwarded to another phone: by 181, Diversion or
    /// History-Info. If false, the log reports it.
    #[serde(default)]
    pub refuse_forwarded: bool,
    /// Whether the audio may come from another port of the trunk's media address than the one that the trunk named, as
    /// behind a NAT router. The port is learned from 8 packets of audio in sequence, as long as nothing comes from the
    /// named port, and never from key events. Without SRTP, an attacker who can send from that address before the trunk
    /// does can press keys.
    #[serde(default)]
    pub learn_media_port: bool,
}

impl SipConfig {
    /// Returns what to do if pressed keys are not authenticated, because the trunk has no SRTP over TLS. `None` if they
    /// are authenticated.
    fn unauthenticated_keys(&self) -> Option<&'static str> {
        let trunks = self.trunk.with_paths("");
        let hops = match &self.outbound_proxy {
            Some(proxy) => vec![proxy.as_str()],
            None => trunks.iter().map(|(_, uri)| *uri).collect(),
        };
        let is_tls = |text: &str| match Uri::parse(text) {
            Ok(Uri::Sip(uri)) => {
                uri.is_secure() || uri.transport().is_some_and(|transport| transport.eq_ignore_ascii_case("tls"))
            }
            _ => false,
        };
        if !hops.into_iter().all(is_tls) {
            return Some("if the trunk offers TLS and SRTP, write `transport=tls` into its URI and into the proxy's");
        }
        let is_required = self.media_encryption.is_none_or(|encryption| encryption == MediaEncryption::Required);
        (!is_required).then_some("if the trunk offers SRTP, remove `media_encryption`")
    }
}

impl BackendSettings for SipConfig {
    fn secrets(&self) -> Vec<(&'static str, Option<&Secret>)> {
        vec![("password", self.password.as_ref()), ("client_key", self.client_key.as_ref())]
    }

    fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    fn is_local_test(&self) -> bool {
        // A URI that cannot be read is refused elsewhere.
        let is_local = |uri: &str| match Uri::parse(uri) {
            Ok(Uri::Sip(uri)) => is_loopback_host(&uri.host().to_string()),
            _ => false,
        };
        let trunks = self.trunk.with_paths("");
        let mut uris = trunks.iter().map(|(_, uri)| *uri).chain(self.outbound_proxy.as_deref());
        !self.local_peer
            && (uris.any(is_local) || self.signalling_addresses.iter().any(|entry| is_loopback_entry(entry)))
    }

    fn plays_recordings(&self) -> bool {
        true
    }

    fn can_change_caller_id(&self) -> bool {
        true
    }

    /// Refuses a trunk that dials numbers without their country if it is asked to call numbers of more than one calling
    /// code: in Germany, +49 4255 551212 would be dialled as the American 425 555 1212.
    fn check_numbers(&self, path: &str, numbers: BackendNumbers<'_>) -> Result<(), ConfigError> {
        if self.number_format != NumberFormat::National {
            return Ok(());
        }
        let codes: Vec<_> = numbers.calling_codes()?.iter().map(|code| format!("+{code}")).collect();
        if codes.len() <= 1 {
            return Ok(());
        }
        Err(ConfigError::invalid(
            format!("{path}.number_format"),
            format_args!(
                "`national` drops the country, but this backend is asked to call {}: a number of one country could ring a \
                 phone in another; use e164_plus or e164, or give the backend only countries with one country code, by \
                 `routes` or `numbers`",
                codes.join(", ")
            ),
        ))
    }

    fn check_pins(&self, path: &str, approval: &ApprovalConfig) -> Result<(), ConfigError> {
        let what_to_do = match self.unauthenticated_keys() {
            Some(what_to_do) if !approval.allow_plain_pin => what_to_do,
            _ => return Ok(()),
        };
        let method = policy::Method::from(approval.method).name();
        let problem = format_args!(
            "has no SRTP over TLS, so anyone who can read its packets learns the PINs that `{method}` asks for; \
             {what_to_do}, or set \"allow_plain_pin\": true in `approval`"
        );
        Err(ConfigError::invalid(path, problem))
    }

    fn warnings(&self) -> Vec<String> {
        let warning = self.unauthenticated_keys().map(|what_to_do| {
            format!(
                "keys are not authenticated: without SRTP over TLS, an attacker who can read and forge packets between \
                 PhoneGate and the trunk can approve calls; {what_to_do}"
            )
        });
        warning.into_iter().collect()
    }
}

impl BuildBackend for SipConfig {
    fn build(&self, context: &BackendContext<'_>) -> Result<Arc<dyn TelephonyBackend>, ConfigError> {
        Ok(Arc::new(SipTrunk::new(self, context)?))
    }
}

/// A text, or a list of texts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// One.
    One(String),
    /// A list, in the order in which its texts are tried.
    Many(Vec<String>),
}

impl OneOrMany {
    /// Each text with its place below `path`.
    pub fn with_paths(&self, path: &str) -> Vec<(String, &str)> {
        match self {
            Self::One(text) => vec![(path.to_owned(), text.as_str())],
            Self::Many(texts) => {
                texts.iter().enumerate().map(|(index, text)| (format!("{path}[{index}]"), text.as_str())).collect()
            }
        }
    }
}

/// Where the caller id is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallerIdHeader {
    /// In From.
    #[default]
    From,
    /// In P-Asserted-Identity (RFC 3325); From has the user name.
    PAssertedIdentity,
    /// In Remote-Party-ID, which older PBXs know; From has the user name.
    RemotePartyId,
}

/// How a number is written in the request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NumberFormat {
    /// `+14255551212`.
    #[default]
    E164Plus,
    /// `14255551212`.
    E164,
    /// `4255551212`: the number within its country, without the trunk prefix.
    National,
}

/// A range of ports, both ends included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PortRange {
    /// The first port.
    pub first: Bounded<1024, 65_534, 20_000>,
    /// The last port. Each call takes two.
    pub last: Bounded<1025, 65_535, 29_999>,
}

/// Whether the audio is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MediaEncryption {
    /// A call without encryption fails.
    Required,
    /// It is offered, and used where the other side takes it.
    Optional,
    /// It is not offered.
    Off,
}
