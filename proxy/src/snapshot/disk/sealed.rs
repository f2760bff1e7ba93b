//! Signing secrets, certificates' keys and webhooks' secrets on their way to the disk and back: in the files they stand
//! sealed, by a key of this proxy alone.

use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use clearway_config::{SealingKey, seal::KEY_BYTES, sync::v1};
use prost::Message as _;
use zeroize::{Zeroize as _, Zeroizing};

use crate::data_dir::write_private;

/// What seals, and opens what it has sealed.
#[derive(Debug, Clone)]
pub(super) struct Vault(SealingKey);

impl Vault {
    /// The key in this file, which is made where it is missing.
    pub(super) fn open(file: &Path) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
        let key = match fs::read_to_string(file).map(Zeroizing::new) {
            Ok(text) => text.trim().parse().map_err(|why| io::Error::new(ErrorKind::InvalidData, why)).map_err(named)?,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let key = SealingKey::new(fresh());
                write_private(file, format!("{}\n", *key.reveal()).as_bytes()).map_err(named)?;
                key
            }
            Err(e) => return Err(named(e)),
        };
        Ok(Self(key))
    }

    /// Before it is written: no signing secret, no certificate's key and no webhook's secret is left in clear.
    pub(super) fn seal(&self, changes: &mut v1::Changes) {
        for credential in changes.credentials.iter_mut().filter(|credential| !credential.signing_secret.is_empty()) {
            let plain = Zeroizing::new(std::mem::take(&mut credential.signing_secret));
            credential.sealed_signing_secret = self.0.seal(&context(credential), fresh(), &plain);
        }
        for certificate in changes.certificates.iter_mut().filter(|certificate| !certificate.key.is_empty()) {
            let plain = Zeroizing::new(std::mem::take(&mut certificate.key));
            certificate.sealed_key = self.0.seal(&context_of_certificate(certificate), fresh(), &plain);
        }
        for webhook in &mut changes.webhooks {
            let Some(mut secrets) = webhook.secrets.take() else { continue };
            let plain = Zeroizing::new(secrets.encode_to_vec());
            wipe(&mut secrets);
            webhook.sealed_secrets = self.0.seal(&context_of_webhook(webhook), fresh(), &plain);
        }
    }

    /// After it was read: whether all of it opened. A key whose signing secret did not is held without, and so refused;
    /// a certificate without its key is not shown, and to a webhook without its secrets nothing is posted.
    pub(super) fn unseal(&self, changes: &mut v1::Changes) -> bool {
        let mut opened = true;
        for credential in changes.credentials.iter_mut().filter(|credential| !credential.sealed_signing_secret.is_empty()) {
            let sealed = std::mem::take(&mut credential.sealed_signing_secret);
            match self.0.open(&context(credential), &sealed) {
                Ok(plain) => credential.signing_secret = plain.to_vec(),
                Err(_) => opened = false,
            }
        }
        for certificate in changes.certificates.iter_mut().filter(|certificate| !certificate.sealed_key.is_empty()) {
            let sealed = std::mem::take(&mut certificate.sealed_key);
            match self.0.open(&context_of_certificate(certificate), &sealed) {
                Ok(plain) => certificate.key = plain.to_vec(),
                Err(_) => opened = false,
            }
        }
        for webhook in changes.webhooks.iter_mut().filter(|webhook| !webhook.sealed_secrets.is_empty()) {
            let sealed = std::mem::take(&mut webhook.sealed_secrets);
            let plain = self.0.open(&context_of_webhook(webhook), &sealed).ok();
            webhook.secrets = plain.and_then(|plain| v1::WebhookSecrets::decode(plain.as_slice()).ok());
            opened &= webhook.secrets.is_some();
        }
        opened
    }
}

/// It opens for its own key and secret only.
fn context(credential: &v1::Credential) -> Vec<u8> {
    [b"signing_secret\0", credential.key_id.as_slice(), credential.hash.as_slice()].concat()
}

/// It opens for its own certificate only.
fn context_of_certificate(certificate: &v1::Certificate) -> Vec<u8> {
    [b"certificate\0", certificate.name.as_bytes(), b"\0", certificate.chain.as_slice()].concat()
}

/// It opens for its own webhook only, and as that stands: whoever can change these files cannot have a secret sent to
/// another receiver.
fn context_of_webhook(webhook: &v1::Webhook) -> Vec<u8> {
    debug_assert!(webhook.secrets.is_none() && webhook.sealed_secrets.is_empty(), "the rest of it is the context");
    [b"webhook\0".as_slice(), &webhook.encode_to_vec()].concat()
}

fn wipe(secrets: &mut v1::WebhookSecrets) {
    for secret in &mut secrets.signing {
        secret.hmac_key.zeroize();
        secret.ed25519_seed.zeroize();
    }
    secrets.authorization.zeroize();
    secrets.client_key.zeroize();
    secrets.oauth_client_secret.zeroize();
}

fn fresh() -> [u8; KEY_BYTES] {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes or nothing here is safe");
    bytes
}
