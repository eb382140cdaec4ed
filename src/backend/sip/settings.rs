//! The trunk's settings, and the requests that they make.

use std::sync::Arc;

use phonegate_sip::agent::{NewRegistration, OutboundCall, Transport};
use phonegate_sip::auth::Credentials;
use phonegate_sip::message::Host;
use secrecy::ExposeSecret;

use super::config::{CallerIdHeader, MediaEncryption, SipConfig};
use super::dialling::Dialling;
use super::driver::FlowSettings;
use super::media::Ports;
use super::peer::{Peer, Server};
use super::trust::TrustedAddresses;
use crate::backend::BackendContext;
use crate::call::{Failure, PhoneNumber};
use crate::config::{ConfigError, client_identity};

/// How long a contact is registered, in seconds.
const REGISTERED_FOR: u32 = 300;

/// What a trunk's configuration says, checked.
pub(super) struct Settings {
    pub(super) trunks: Vec<Peer>,
    pub(super) proxy: Option<Peer>,
    pub(super) credentials: Option<Credentials>,
    pub(super) registers: bool,
    pub(super) flow: FlowSettings,
    supports_prack: bool,
    pub(super) ports: Arc<Ports>,
    pub(super) learns_port: bool,
    pub(super) refuses_forwarded: bool,
    username: Option<String>,
    caller_id: Option<String>,
    caller_id_header: CallerIdHeader,
    dialling: Dialling,
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
        let trunks = trunks.iter().map(|(path, text)| Peer::parse(path, text)).collect::<Result<Vec<_>, _>>()?;
        if trunks.is_empty() {
            return Err(ConfigError::invalid(format!("{path}.trunk"), "is empty; name at least one trunk"));
        }
        let proxy = config.outbound_proxy.as_deref();
        let proxy = proxy.map(|text| Peer::parse(&format!("{path}.outbound_proxy"), text)).transpose()?;
        let credentials = credentials(path, config, base)?;
        if config.register && credentials.is_none() {
            return Err(ConfigError::invalid(format!("{path}.register"), "needs `username` and `password`"));
        }
        for (key, text) in [("username", &config.username), ("domain", &config.domain)] {
            plain(&format!("{path}.{key}"), text.as_deref().unwrap_or("x"), "._-+")?;
        }
        plain(&format!("{path}.caller_id"), config.caller_id.as_deref().unwrap_or("1"), "+")?;
        let dialling = Dialling::new(path, config, context.numbers)?;
        let first_hops: Vec<&Peer> = proxy.as_ref().map_or_else(|| trunks.iter().collect(), |proxy| vec![proxy]);
        let encryption = config.media_encryption;
        if encryption == Some(MediaEncryption::Required) && !first_hops.iter().all(|hop| hop.is_tls()) {
            let problem =
                "`required` sends the keys to the trunk, which must not be readable on the way: use transport=tls";
            return Err(ConfigError::invalid(format!("{path}.media_encryption"), problem));
        }
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
            supports_prack: config.support_prack,
            flow: FlowSettings {
                local_address: config.local_address,
                local_port: u16::try_from(config.local_port.get()).unwrap_or_default(),
                tls: Arc::new(context.network.tls_client((path, config.ca_file.as_deref()), identity, base)?),
                trusted: Arc::new(TrustedAddresses::new(
                    &format!("{path}.signalling_addresses"),
                    &config.signalling_addresses,
                )?),
            },
            ports: Ports::new(&format!("{path}.rtp_ports"), &config.rtp_ports)?,
            learns_port: config.learn_media_port,
            refuses_forwarded: config.refuse_forwarded,
            username: config.username.clone(),
            caller_id: config.caller_id.clone(),
            caller_id_header: config.caller_id_header,
            dialling,
            domain: config.domain.clone(),
            encryption,
            trunks,
        })
    }

    /// Whether the audio of a call over `server` is encrypted: DNS may have chosen TLS where the URI did not.
    pub(super) fn encryption(&self, server: &Server) -> MediaEncryption {
        let is_tls = server.transport == Transport::Tls;
        self.encryption.unwrap_or(if is_tls { MediaEncryption::Required } else { MediaEncryption::Off })
    }

    /// The call of a number at a trunk, and what it offers.
    ///
    /// # Errors
    /// As [`Dialling::dialled`].
    pub(super) fn call(&self, number: &PhoneNumber, trunk: &Peer, servers: &[Server]) -> Result<OutboundCall, Failure> {
        // In a URI, `#` must be escaped.
        let dialled = self.dialling.dialled(number)?.replace('#', "%23");
        let mut headers = Vec::new();
        if let Some(caller_id) = &self.caller_id {
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
            from: self.from(trunk),
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

    /// The registration at a trunk; with `registers_contact` the contact is kept there.
    pub(super) fn registration(&self, trunk: &Peer, registers_contact: bool) -> NewRegistration {
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

    /// Our own address at a trunk, in From.
    fn from(&self, trunk: &Peer) -> String {
        let shown = match self.caller_id_header {
            CallerIdHeader::From => self.caller_id.as_deref().or(self.username.as_deref()),
            CallerIdHeader::PAssertedIdentity | CallerIdHeader::RemotePartyId => self.username.as_deref(),
        };
        self.address(shown.unwrap_or("phonegate"), trunk)
    }

    fn contact_user(&self) -> String {
        self.username.clone().unwrap_or_default()
    }

    /// The proxy as a loose route.
    fn routes(&self) -> Vec<String> {
        self.proxy.iter().map(|proxy| format!("{};lr", proxy.uri)).collect()
    }

    fn address(&self, user: &str, trunk: &Peer) -> String {
        let host = self.domain.clone().unwrap_or_else(|| trunk.host());
        format!("sip:{user}@{host}")
    }
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

/// Checks that a text can stand in a SIP address as it is.
fn plain(path: &str, text: &str, besides: &str) -> Result<(), ConfigError> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || besides.contains(c)) {
        return Ok(());
    }
    Err(ConfigError::invalid(path, format_args!("may have letters, digits and {besides} alone")))
}
