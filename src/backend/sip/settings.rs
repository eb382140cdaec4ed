//! The settings of a trunk, and the SIP requests made from them.

use std::sync::Arc;

use phonegate_sip::agent::{NewRegistration, OutboundCall, Transport};
use phonegate_sip::auth::Credentials;
use phonegate_sip::message::Host;
use secrecy::ExposeSecret;

use super::config::{CallerIdHeader, MediaEncryption, SipConfig};
use super::dial_string::DialStringFormat;
use super::driver::FlowSettings;
use super::media::Ports;
use super::target::{Loopback, Server, Target};
use super::trust::TrustedAddresses;
use crate::backend::BackendContext;
use crate::call::{Call, Failure};
use crate::config::{ConfigError, client_identity};

/// Requested lifetime of a registration, in seconds.
const REGISTERED_FOR: u32 = 300;

/// The validated configuration of a trunk.
pub(super) struct Settings {
    pub(super) trunks: Vec<Target>,
    pub(super) proxy: Option<Target>,
    pub(super) credentials: Option<Credentials>,
    pub(super) registers: bool,
    pub(super) loopback: Loopback,
    pub(super) flow: FlowSettings,
    supports_prack: bool,
    pub(super) ports: Arc<Ports>,
    pub(super) learns_port: bool,
    pub(super) refuses_forwarded: bool,
    username: Option<String>,
    caller_id: Option<String>,
    caller_id_header: CallerIdHeader,
    dial_string_format: DialStringFormat,
    domain: Option<String>,
    encryption: Option<MediaEncryption>,
}

impl Settings {
    /// Checks the settings of a trunk.
    ///
    /// # Errors
    /// A setting cannot work, or a secret or certificate cannot be read.
    pub(super) fn new(config: &SipConfig, context: &BackendContext<'_>) -> Result<Self, ConfigError> {
        let (path, base) = (context.path.as_str(), context.base);
        let trunks = config.trunk.with_paths(&format!("{path}.trunk"));
        let trunks = trunks.iter().map(|(path, text)| Target::parse(path, text)).collect::<Result<Vec<_>, _>>()?;
        if trunks.is_empty() {
            return Err(ConfigError::invalid(format!("{path}.trunk"), "is empty; name at least one trunk"));
        }
        let proxy = config.outbound_proxy.as_deref();
        let proxy = proxy.map(|text| Target::parse(&format!("{path}.outbound_proxy"), text)).transpose()?;
        let loopback = match config.local_peer || context.allow_test_backends {
            true => Loopback::Allowed,
            false => Loopback::Refused,
        };
        let credentials = credentials(path, config, base)?;
        if config.register && credentials.is_none() {
            return Err(ConfigError::invalid(format!("{path}.register"), "needs `username` and `password`"));
        }
        for (key, text) in [("username", &config.username), ("domain", &config.domain)] {
            check_plain(&format!("{path}.{key}"), text.as_deref().unwrap_or("x"), "._-+")?;
        }
        check_plain(&format!("{path}.caller_id"), config.caller_id.as_deref().unwrap_or("1"), "+")?;
        let dial_string_format = DialStringFormat::new(path, config, context.numbers)?;
        let first_hops: Vec<&Target> = proxy.as_ref().map_or_else(|| trunks.iter().collect(), |proxy| vec![proxy]);
        let encryption = media_encryption(path, config, &first_hops)?;
        let certificate = config.client_certificate.as_deref();
        let identity = client_identity(path, certificate, config.client_key.as_ref(), base)?;
        if identity.is_some() && !first_hops.iter().any(|hop| hop.may_use_tls()) {
            let problem = "is only for TLS; write transport=tls into the URI of the trunk or of the proxy";
            return Err(ConfigError::invalid(format!("{path}.client_certificate"), problem));
        }
        Ok(Self {
            proxy,
            credentials,
            registers: config.register,
            loopback,
            supports_prack: config.support_prack,
            flow: FlowSettings {
                local_address: config.local_address,
                local_port: u16::try_from(config.local_port.get()).unwrap_or_default(),
                tls: Arc::new(context.network.tls_client((path, config.ca_file.as_deref()), identity, base)?),
                trusted: Arc::new(TrustedAddresses::new(
                    &format!("{path}.signalling_addresses"),
                    &config.signalling_addresses,
                    loopback,
                )?),
            },
            ports: Ports::new(&format!("{path}.rtp_ports"), &config.rtp_ports)?,
            learns_port: config.learn_media_port,
            refuses_forwarded: config.refuse_forwarded,
            username: config.username.clone(),
            caller_id: config.caller_id.clone(),
            caller_id_header: config.caller_id_header,
            dial_string_format,
            domain: config.domain.clone(),
            encryption,
            trunks,
        })
    }

    /// Returns whether the audio of a call over `server` is encrypted. By default, it is if the server is reached over TLS,
    /// which DNS may have chosen.
    pub(super) fn encryption(&self, server: &Server) -> MediaEncryption {
        let is_tls = server.transport == Transport::Tls;
        self.encryption.unwrap_or(if is_tls { MediaEncryption::Required } else { MediaEncryption::Off })
    }

    /// Returns the request for a call at a trunk, without its SDP offer.
    ///
    /// # Errors
    /// As [`DialStringFormat::dial_string`].
    pub(super) fn call(&self, call: &Call, trunk: &Target, servers: &[Server]) -> Result<OutboundCall, Failure> {
        // In a URI, `#` must be escaped.
        let dialled = self.dial_string_format.dial_string(&call.number)?.replace('#', "%23");
        let mut headers = Vec::new();
        let caller_id = call.caller_id.as_deref().or(self.caller_id.as_deref());
        if let Some(caller_id) = caller_id {
            let shown = self.address(caller_id, trunk);
            match self.caller_id_header {
                CallerIdHeader::From => {}
                CallerIdHeader::PAssertedIdentity => {
                    headers.push(("P-Asserted-Identity".to_owned(), format!("<{shown}>")));
                }
                CallerIdHeader::RemotePartyId => headers
                    .push(("Remote-Party-ID".to_owned(), format!("<{shown}>;party=calling;screen=no;privacy=off"))),
            }
        }
        let uri = trunk.uri.to_string();
        let (scheme, rest) = uri.split_once(':').unwrap_or(("sip", ""));
        let own_hosts = servers.iter().map(|server| Host::Ip(server.address.ip()));
        Ok(OutboundCall {
            target: format!("{scheme}:{dialled}@{rest}"),
            to: format!("{scheme}:{dialled}@{}", trunk.host()),
            from: self.from(caller_id, trunk),
            from_name: String::new(),
            contact_user: self.contact_user(),
            routes: self.routes(),
            headers,
            offer: Vec::new(),
            credentials: self.credentials.clone(),
            reliable_provisional: self.supports_prack,
            session_interval: None,
            trunk: own_hosts.chain([trunk.uri.host().clone()]).collect(),
        })
    }

    /// Returns the request for a registration at a trunk. Without `registers_contact`, it is a query.
    pub(super) fn registration(&self, trunk: &Target, registers_contact: bool) -> NewRegistration {
        NewRegistration {
            registrar: trunk.uri.to_string(),
            address: self.address(self.username.as_deref().unwrap_or("phonegate"), trunk),
            contact_user: self.contact_user(),
            routes: self.routes(),
            expires: REGISTERED_FOR,
            credentials: self.credentials.clone(),
            registers_contact,
        }
    }

    /// Returns the URI of From at a trunk.
    fn from(&self, caller_id: Option<&str>, trunk: &Target) -> String {
        let shown = match self.caller_id_header {
            CallerIdHeader::From => caller_id.or(self.username.as_deref()),
            CallerIdHeader::PAssertedIdentity | CallerIdHeader::RemotePartyId => self.username.as_deref(),
        };
        self.address(shown.unwrap_or("phonegate"), trunk)
    }

    fn contact_user(&self) -> String {
        self.username.clone().unwrap_or_default()
    }

    /// Returns the outbound proxy as a loose route.
    fn routes(&self) -> Vec<String> {
        self.proxy.iter().map(|proxy| format!("{};lr", proxy.uri)).collect()
    }

    fn address(&self, user: &str, trunk: &Target) -> String {
        let host = self.domain.clone().unwrap_or_else(|| trunk.host());
        format!("sip:{user}@{host}")
    }
}

/// Reads `media_encryption`, which can be required only if the signalling is encrypted.
fn media_encryption(
    path: &str,
    config: &SipConfig,
    first_hops: &[&Target],
) -> Result<Option<MediaEncryption>, ConfigError> {
    let encryption = config.media_encryption;
    if encryption == Some(MediaEncryption::Required) && !first_hops.iter().all(|hop| hop.is_tls()) {
        let problem = "`required` sends the SRTP keys in the signalling, which must be encrypted: use transport=tls";
        return Err(ConfigError::invalid(format!("{path}.media_encryption"), problem));
    }
    Ok(encryption)
}

fn credentials(path: &str, config: &SipConfig, base: &std::path::Path) -> Result<Option<Credentials>, ConfigError> {
    let Some(password) = &config.password else { return Ok(None) };
    match config.auth_username.as_ref().or(config.username.as_ref()) {
        Some(username) => {
            let password = password.resolve(base, &format!("{path}.password"))?;
            let credentials = Credentials::new(username, password.expose_secret());
            let unusable = |error| ConfigError::invalid(format!("{path}.password"), error);
            credentials.map(Some).map_err(unusable)
        }
        None => Err(ConfigError::invalid(format!("{path}.username"), "is missing, but there is a `password`")),
    }
}

/// Checks that a text needs no escape in a SIP URI.
fn check_plain(path: &str, text: &str, others: &str) -> Result<(), ConfigError> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c)) {
        return Ok(());
    }
    Err(ConfigError::invalid(path, format_args!("may contain only letters, digits and {others}")))
}
