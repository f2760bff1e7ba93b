//! One order from the account to the stored certificate.

use std::error::Error;

use clearway_config::settings::process::AcmeSettings;
use instant_acme::{
    Account, AccountBuilder, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::{challenges::Challenges, store::Store};
use crate::tls::certificate::Certificate;

pub(super) type Failure = Box<dyn Error + Send + Sync>;

/// The authority is asked again and again for so long, further and further apart.
const POLLS: RetryPolicy = RetryPolicy::new().timeout(std::time::Duration::from_secs(240));

/// Gets a certificate for the names of the settings and stores it.
pub(super) async fn obtain(settings: &AcmeSettings, store: &Store, challenges: &Challenges) -> Result<(), Failure> {
    let account = account(settings, store).await?;
    let names: Vec<_> = settings.domains.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    prove(&mut order, challenges).await?;
    if order.poll_ready(&POLLS).await? != OrderStatus::Ready {
        return Err("the authority refused the order".into());
    }
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(settings.domains.clone())?;
    params.distinguished_name = DistinguishedName::new();
    order.finalize_csr(params.serialize_request(&key)?.der()).await?;
    let chain = order.poll_certificate(&POLLS).await?;
    let key = key.serialize_pem();
    // What is stored can be served.
    let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes())?;
    if let Some(missing) = settings.domains.iter().find(|name| !certificate.covers(name)) {
        return Err(format!("the authority's certificate is not for {missing}").into());
    }
    store.keep_certificate(&chain, &key)?;
    Ok(())
}

/// The account that was made here before, or a new one. It is on disk before it is used.
async fn account(settings: &AcmeSettings, store: &Store) -> Result<Account, Failure> {
    let builder = builder(settings)?;
    if let Some(credentials) = store.account(&settings.directory_url)? {
        return Ok(builder.from_credentials(credentials).await?);
    }
    let contact: Vec<_> = settings.contact.iter().map(String::as_str).collect();
    let new =
        NewAccount { contact: &contact, terms_of_service_agreed: settings.terms_of_service_agreed, only_return_existing: false };
    let (account, credentials) = builder.create(&new, settings.directory_url.clone(), None).await?;
    store.keep_account(&settings.directory_url, credentials)?;
    Ok(account)
}

fn builder(settings: &AcmeSettings) -> Result<AccountBuilder, Failure> {
    Ok(match &settings.ca_file {
        Some(file) => Account::builder_with_root(file)?,
        None => Account::builder()?,
    })
}

/// Answers the challenge of each name that is not proved yet, and says that it may be looked for.
async fn prove(order: &mut Order, challenges: &Challenges) -> Result<(), Failure> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            status => return Err(format!("the authority has an authorization that is {status:?}").into()),
        }
        let mut challenge =
            authorization.challenge(ChallengeType::Http01).ok_or("the authority does not offer HTTP-01 for a name")?;
        challenges.expect(&challenge.token, challenge.key_authorization().as_str());
        challenge.set_ready().await?;
    }
    Ok(())
}
