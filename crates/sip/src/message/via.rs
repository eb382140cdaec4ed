//! The values of Via.

use std::net::IpAddr;

use super::error::HeaderProblem;
use super::params::Params;
use super::scan;
use super::uri::{Host, parse_host_port};

/// One hop of a message: `SIP/2.0/UDP host:port;branch=…` (RFC 3261, 20.42).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    transport: String,
    host: Host,
    port: Option<u16>,
    params: Params,
    branch: Option<String>,
}

impl Via {
    /// Reads one value. Blanks around the slashes and the colon are allowed.
    ///
    /// # Errors
    /// The protocol is not SIP/2.0, the sent-by is not a host, or `branch` occurs twice, is empty or too long.
    pub fn parse(text: &str) -> Result<Self, HeaderProblem> {
        let semicolon = scan::find(text, b";", false).map_err(|_| HeaderProblem::Malformed)?;
        let (head, params) = semicolon.map_or((text, ""), |semicolon| scan::split_around(text, semicolon));
        let mut parts = head.splitn(3, '/').map(scan::trim);
        let (Some(protocol), Some("2.0"), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(HeaderProblem::Malformed);
        };
        let (transport, sent_by) = rest.split_once(scan::is_blank).ok_or(HeaderProblem::Malformed)?;
        if !protocol.eq_ignore_ascii_case("SIP") || !scan::is_token(transport.as_bytes()) {
            return Err(HeaderProblem::Malformed);
        }
        let (host, port) = parse_host_port(scan::trim(sent_by)).map_err(HeaderProblem::Uri)?;
        let params = Params::parse(params, false)?;
        let branch = params.identifier("branch")?;
        Ok(Self { transport: transport.to_ascii_uppercase(), host, port, params, branch })
    }

    /// Returns the transport in capitals: `UDP`, `TCP`, `TLS` or another token.
    pub fn transport(&self) -> &str {
        &self.transport
    }

    /// Returns the host of sent-by.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the port of sent-by, if one is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Returns the parameter `branch`. Peers that follow RFC 2543 send none.
    pub fn branch(&self) -> Option<&str> {
        self.branch.as_deref()
    }

    /// Returns the parameter `rport` (RFC 3581).
    pub fn rport(&self) -> Rport {
        match self.params.get("rport") {
            None => Rport::Absent,
            Some(port) => scan::small_number(port).map_or(Rport::Requested, Rport::Port),
        }
    }

    /// Returns the parameter `received`. An IPv6 address may have brackets (RFC 5118, 4.5).
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.get("received")?;
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        inner.unwrap_or(text).parse().ok()
    }

    /// Returns the parameter `maddr` as it was written.
    pub fn maddr(&self) -> Option<&str> {
        self.params.get("maddr")
    }

    /// Returns all parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }
}

/// The parameter `rport` of a Via (RFC 3581, 3 and 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rport {
    /// The parameter is missing.
    Absent,
    /// The parameter has no value (`;rport`), an empty one (`;rport=`), or one that is no port.
    Requested,
    /// The port that the request came from.
    Port(u16),
}
