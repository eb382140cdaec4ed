//! Certificates from an authority that no system trusts.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

/// A server's certificate, its key, and the certificate of its authority.
pub struct Issued {
    pub certificate: Certificate,
    pub key: KeyPair,
    /// The authority's certificate, in PEM.
    pub authority: String,
}

/// A new one for `localhost`.
pub fn for_localhost() -> Issued {
    for_host("localhost")
}

/// A new one for a host.
pub fn for_host(host: &str) -> Issued {
    for_hosts(&[host])
}

/// A new one for several hosts.
pub fn for_hosts(hosts: &[&str]) -> Issued {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Contoso CA");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    let certificate = params.signed_by(&key, &authority).unwrap();
    Issued { certificate, key, authority: authority.pem() }
}
