//! The settings of rustls, made of those of the owner.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::{ALL_VERSIONS, ClientConfig};

use super::client_certificate;
use super::clock_tolerant::{ClockTolerantVerifier, LastVerifiedChain, Time};
use super::explain::explain;
use super::trust::Trust;
use crate::clock::ClockOffset;
use crate::uplink::settings::{Settings, TlsSettings};

/// Where Linux systems keep the certificates of the public authorities.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Sessions that are kept to be resumed: the server's, and those of a few other servers of files.
const SESSIONS: usize = 4;

/// The settings of rustls. They are made with the first connection. As long as a file cannot be
/// read, it is tried again with each.
pub(in super::super) struct LazyConfig {
    settings: TlsSettings,
    clock_offset: ClockOffset,
    last_verified: LastVerifiedChain,
    made: OnceLock<Arc<ClientConfig>>,
}

impl LazyConfig {
    /// The chain that was verified last is kept in `last_verified`.
    pub(in super::super) fn new(settings: &Settings, last_verified: LastVerifiedChain) -> Self {
        let (settings, clock_offset) = (settings.tls.clone(), settings.clock_offset.clone());
        Self { settings, clock_offset, last_verified, made: OnceLock::new() }
    }

    /// # Errors
    /// A message that names the file which cannot be read, or holds what cannot be used.
    pub(in super::super) fn get(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.made.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.make()?);
        Ok(Arc::clone(self.made.get_or_init(|| config)))
    }

    fn make(&self) -> Result<ClientConfig, String> {
        let Self { settings, clock_offset, last_verified, .. } = self;
        let (clock, last_verified) = (clock_offset.clone(), last_verified.clone());
        let verifier = ClockTolerantVerifier::new(trust(settings)?, clock.clone(), last_verified);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_details(provider, Arc::new(Time(clock)))
            .with_protocol_versions(ALL_VERSIONS)
            .map_err(|error| explain(&error))?
            .dangerous() // a verifier of our own, which asks webpki
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &settings.client {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let (chain, key) = client_certificate::load(files)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| client_certificate::unusable(files, &error))?
            }
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(config)
    }
}

/// Whether the files that TLS needs can be used, if it is needed. Warns of a key that everybody may
/// read.
///
/// # Errors
/// A message that names the file.
pub(in super::super) fn check(settings: &Settings) -> Result<(), String> {
    if !settings.url.starts_with("https:") && !settings.https_elsewhere {
        return Ok(());
    }
    LazyConfig::new(settings, LastVerifiedChain::default()).get()?;
    if let Some(files) = &settings.tls.client {
        client_certificate::warn_of_readers(files);
    }
    Ok(())
}

fn trust(settings: &TlsSettings) -> Result<Trust, String> {
    let TlsSettings { ca, pins, .. } = settings;
    let path = match ca {
        Some(path) => path,
        None if pins.is_empty() => Path::new(SYSTEM_CA),
        None => return Ok(Trust::in_keys(pins.clone())),
    };
    let pem = std::fs::read(path).map_err(|error| {
        format!(
            "[tls] ca: cannot read the certificates to trust, {}: {error}; https:// needs them",
            path.display()
        )
    })?;
    Trust::in_certificates(&pem, pins.clone())
        .ok_or_else(|| format!("[tls] ca: {} holds no certificate in PEM form", path.display()))
}
