//! The trunk's settings, and the requests that they make.

use std::path::Path;
use std::sync::Arc;

use rsipstack::dialog::invitation::InviteOption;
use rsipstack::sip::{Header, Param, Transport, Uri, typed};

use super::dialling::Dialling;
use super::digest::Credentials;
use super::link::{Link, LinkSettings};
use super::media::Ports;
use super::peer::{Peer, Server};
use super::trust::TrustedAddresses;
use crate::backend::tls;
use crate::call::{Failure, PhoneNumber};
use crate::config::{CallerIdHeader, ConfigError, MediaEncryption, NetworkConfig, NumbersConfig, SipConfig};

/// The methods that we answer (RFC 3261, section 20.5).
const ALLOWED: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE";

/// What a trunk's configuration says, checked.
pub(super) struct Settings {
    pub(super) trunks: Vec<Peer>,
    pub(super) proxy: Option<Peer>,
    pub(super) credentials: Option<Credentials>,
    pub(super) registers: bool,
    pub(super) link: LinkSettings,
    pub(super) ports: Arc<Ports>,
    pub(super) learns_port: bool,
    username: Option<String>,
    caller_id: Option<String>,
    caller_id_header: CallerIdHeader,
    dialling: Dialling,
    domain: Option<String>,
    encryption: Option<MediaEncryption>,
}

impl Settings {
    /// Reads the settings that stand at `path`. Relative files lie in `base`.
    pub(super) fn new(
        path: &str,
        config: &SipConfig,
        (network, numbers): (&NetworkConfig, &NumbersConfig),
        base: &Path,
    ) -> Result<Self, ConfigError> {
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
        let dialling = Dialling::new(path, config, numbers)?;
        let first_hops: Vec<&Peer> = proxy.as_ref().map_or_else(|| trunks.iter().collect(), |proxy| vec![proxy]);
        let encryption = config.media_encryption;
        if encryption == Some(MediaEncryption::Required) && !first_hops.iter().all(|hop| hop.is_tls()) {
            let problem =
                "`required` sends the keys to the trunk, which must not be readable on the way: use transport=tls";
            return Err(ConfigError::invalid(format!("{path}.media_encryption"), problem));
        }
        Ok(Self {
            proxy,
            credentials,
            registers: config.register,
            link: LinkSettings {
                local_address: config.local_address,
                local_port: u16::try_from(config.local_port.get()).unwrap_or_default(),
                tls: Arc::new(tls::client((path, config.ca_file.as_deref()), network, base)?),
                trusted: Arc::new(TrustedAddresses::new(
                    &format!("{path}.signalling_addresses"),
                    &config.signalling_addresses,
                )?),
                supports_prack: config.support_prack,
            },
            ports: Ports::new(&format!("{path}.rtp_ports"), &config.rtp_ports)?,
            learns_port: config.learn_media_port,
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

    /// Where a number is called at a trunk.
    ///
    /// # Errors
    /// As [`Dialling::dialled`].
    pub(super) fn target(&self, number: &PhoneNumber, trunk: &Peer) -> Result<Uri, Failure> {
        let mut uri = trunk.uri.clone();
        uri.auth = Some(self.dialling.dialled(number)?.into());
        Ok(uri)
    }

    /// Our own address at a trunk.
    pub(super) fn us(&self, trunk: &Peer) -> Result<Uri, String> {
        let shown = match self.caller_id_header {
            CallerIdHeader::From => self.caller_id.as_deref().or(self.username.as_deref()),
            CallerIdHeader::PAssertedIdentity | CallerIdHeader::RemotePartyId => self.username.as_deref(),
        };
        self.address(shown.unwrap_or("phonegate"), trunk)
    }

    /// The address that is registered.
    pub(super) fn registered(&self, trunk: &Peer) -> Result<Uri, String> {
        self.address(self.username.as_deref().unwrap_or("phonegate"), trunk)
    }

    /// The user part of our Contact.
    pub(super) fn contact_user(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The INVITE for a call over `link`.
    pub(super) fn invite(
        &self,
        link: &Link,
        trunk: &Peer,
        target: &Uri,
        offer: String,
        more: Vec<Header>,
        call_id: String,
    ) -> Result<InviteOption, String> {
        let mut headers = vec![Header::Supported("timer".into()), Header::Allow(ALLOWED.into())];
        if let Some(caller_id) = &self.caller_id {
            let shown = self.address(caller_id, trunk)?;
            match self.caller_id_header {
                CallerIdHeader::From => {}
                CallerIdHeader::PAssertedIdentity => {
                    headers.push(Header::PAssertedIdentity(format!("<{shown}>").into()))
                }
                CallerIdHeader::RemotePartyId => headers.push(Header::Other(
                    "Remote-Party-ID".to_owned(),
                    format!("<{shown}>;party=calling;screen=no;privacy=off"),
                )),
            }
        }
        headers.extend(more);
        Ok(InviteOption {
            caller: self.us(trunk)?,
            callee: target.clone(),
            destination: Some(link.destination()),
            offer: Some(offer.into_bytes()),
            contact: link.contact(self.contact_user())?,
            headers: Some(headers),
            support_prack: self.link.supports_prack,
            call_id: Some(call_id),
            route_set: self.proxy.iter().map(route).collect(),
            ..InviteOption::default()
        })
    }

    fn address(&self, user: &str, trunk: &Peer) -> Result<Uri, String> {
        let host = self.domain.clone().unwrap_or_else(|| trunk.host());
        Uri::try_from(format!("sip:{user}@{host}").as_str()).map_err(|error| error.to_string())
    }
}

fn route(proxy: &Peer) -> typed::Route {
    let mut uri = proxy.uri.clone();
    uri.params.push(Param::Lr);
    typed::Route { display_name: None, uri, params: Vec::new() }
}

fn credentials(path: &str, config: &SipConfig, base: &Path) -> Result<Option<Credentials>, ConfigError> {
    let Some(password) = &config.password else { return Ok(None) };
    match config.auth_username.as_ref().or(config.username.as_ref()) {
        Some(username) => {
            let password = password.resolve(base, &format!("{path}.password"))?;
            Ok(Some(Credentials { username: username.clone(), password }))
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
