//! A certificate for trying things out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

use crate::setting::BadSetting;

/// Browsers take no server certificate that is valid for longer than 398 days.
const VALID: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Clocks differ.
const BEFORE: Duration = Duration::from_secs(60 * 60);

/// Makes a key and a certificate for this machine's name and the loopback names.
///
/// # Errors
/// The system's random numbers failed.
pub(super) fn make() -> Result<Arc<CertifiedKey>, BadSetting> {
    let failed = |error: &dyn std::fmt::Display| BadSetting::new("--self-signed", "", error);
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut params = CertificateParams::new(vec!["localhost".into()]).map_err(|error| failed(&error))?;
    if let Ok(name) = machine.as_str().try_into() {
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    for address in [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)] {
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    params.distinguished_name.push(DnType::CommonName, machine);
    let now = SystemTime::now();
    params.not_before = (now - BEFORE).into();
    params.not_after = (now + VALID).into();
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
    let der = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let key = any_supported_type(&der).map_err(|error| failed(&error))?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
}

/// SHA-256 over the certificate, in pairs of digits.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let pairs: Vec<_> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}
