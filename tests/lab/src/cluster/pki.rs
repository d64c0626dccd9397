//! The cluster's certificates: one authority per lab, valid for as long as a lab may live.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

/// The cluster's certificate authority.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pub(super) certificate: String,
    /// Its key, PEM: the controller manager signs with it.
    pub(super) key: String,
}

/// A certificate and its key, PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    /// Makes a new one.
    pub(super) fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = params("lab-ca", None)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate, key: key_pem })
    }

    /// A client's certificate: Kubernetes takes the common name for the user and the organization
    /// for a group.
    pub(super) fn client(&self, user: &str, group: Option<&str>) -> Result<Pair> {
        let mut params = params(user, group)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    /// A server's certificate for these addresses and names.
    pub(super) fn server(&self, name: &str, addresses: &[&str], names: &[&str]) -> Result<Pair> {
        let mut params = params(name, None)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for address in addresses {
            params.subject_alt_names.push(SanType::IpAddress(address.parse::<IpAddr>()?));
        }
        for name in names {
            params.subject_alt_names.push(SanType::DnsName((*name).try_into()?));
        }
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Result<Pair> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    }
}

impl Pair {
    /// Writes `NAME.crt` and `NAME.key`.
    pub(super) fn write(&self, dir: &Path, name: &str) -> Result<()> {
        write_secret(&dir.join(format!("{name}.crt")), &self.certificate)?;
        write_secret(&dir.join(format!("{name}.key")), &self.key)
    }
}

/// Writes the pair that signs and checks service account tokens.
pub(super) fn write_token_keys(dir: &Path) -> Result<()> {
    let key = KeyPair::generate()?;
    write_secret(&dir.join("tokens.key"), &key.serialize_pem())?;
    write_secret(&dir.join("tokens.pub"), &key.public_key_pem())
}

/// Writes a file that only its owner reads.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("write {}", path.display()))?;
    Ok(std::io::Write::write_all(&mut file, text.as_bytes())?)
}

fn params(name: &str, group: Option<&str>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).context("make a certificate")?;
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    // the node's clock may be a little behind
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(365);
    Ok(params)
}
