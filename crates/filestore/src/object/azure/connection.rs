//! Opening a container: which server, with which credentials, and the HTTP client.

use std::sync::Arc;

use object_store::StaticCredentialProvider;
use object_store::azure::{
    AzureAccessKey, AzureConfigKey as Key, AzureCredential, AzureCredentialProvider, MicrosoftAzure,
    MicrosoftAzureBuilder, split_sas,
};
use statehouse_core::{Error, ErrorKind, Result};

use super::super::connection::{Askers, BoxError, Cloud, Native, Ready, http, is_safe, retry};
use super::super::encoding::from_base64;
use super::super::role::Role;
use super::super::server::Server;
use super::super::sign::Signer;
use super::blobs::Blobs;
use super::config::{AzureConfig, AzureCredentials};
use super::sas::Signs;

/// What is taken from the environment, and only if no credentials are given. Not among them: what switches signatures or TLS
/// off, what starts programs, and what our own settings say.
const FROM_ENVIRONMENT: [Key; 12] = [
    Key::AccountName,
    Key::AccessKey,
    Key::SasKey,
    Key::Token,
    Key::ClientId,
    Key::ClientSecret,
    Key::AuthorityId,
    Key::AuthorityHost,
    Key::FederatedTokenFile,
    Key::MsiEndpoint,
    Key::ObjectId,
    Key::MsiResourceId,
];

/// Where a managed identity is asked without TLS, besides this host itself.
const METADATA: &str = "169.254.169.254";

/// A client for the container. Nothing is sent yet.
pub(in super::super) fn build(config: &AzureConfig) -> Result<(Blobs, Native)> {
    config.check()?;
    let shared = &config.shared;
    let refuse =
        |error: BoxError| Error::new(ErrorKind::InvalidConfig, "the settings do not fit together").with_source(error);
    let environment = config.credentials.is_none().then(environment).unwrap_or_default();
    let account = config.account.clone().or_else(|| {
        let found = environment.iter().find(|(key, _)| *key == Key::AccountName);
        found.map(|(_, value)| value.clone())
    });
    let account = account.ok_or_else(|| Error::new(ErrorKind::InvalidConfig, "there is no account: give account=…"))?;
    // It may come from the environment.
    AzureConfig { account: Some(account.clone()), ..config.clone() }.check()?;
    let endpoint = shared.endpoint.clone().unwrap_or_else(|| format!("https://{account}.blob.core.windows.net"));
    let endpoint = endpoint.trim_end_matches('/');
    let url = format!("{endpoint}/{}", shared.bucket);
    let credentials = credentials(config, &account, &environment).map_err(refuse)?;
    let server = Arc::new(Server::new(super::KIND, shared, &url, ""));
    let signer = Signer::Azure { credentials: Arc::clone(&credentials), account: account.clone() };
    let http = http(shared, signer, &server).map_err(refuse)?;
    let builder = MicrosoftAzureBuilder::new()
        .with_account(&account)
        .with_container_name(&shared.bucket)
        .with_endpoint(endpoint.to_owned())
        .with_credentials(credentials)
        .with_http_connector(Ready(http.clone()))
        .with_retry(retry(shared));
    // The wire signs, when everything that is to be signed is there.
    let inner = builder.clone().with_skip_signature(true).build().map_err(|error| refuse(error.into()))?;
    let delegated = builder.build().map_err(|error| refuse(error.into()))?;
    let cloud = Cloud::Azure { signs: signs(config, &environment, &account, delegated) };
    let native = Native { cloud, http, url, server, retries: shared.retries };
    Ok((Blobs { inner, native: native.clone() }, native))
}

/// What the environment says that we take.
fn environment() -> Vec<(Key, String)> {
    let set = std::env::vars_os().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        let key = match name.as_str() {
            // Where hosts say it that have a managed identity at an address of their own.
            "IDENTITY_ENDPOINT" => Some(Key::MsiEndpoint),
            name => name.starts_with("AZURE_").then(|| name.to_ascii_lowercase().parse().ok())?,
        }?;
        Some((key, value)).filter(|(key, value)| FROM_ENVIRONMENT.contains(key) && !value.is_empty())
    });
    set.collect()
}

fn credentials(
    config: &AzureConfig,
    account: &str,
    environment: &[(Key, String)],
) -> Result<AzureCredentialProvider, BoxError> {
    let fixed = |credential| Ok(Arc::new(StaticCredentialProvider::new(credential)) as AzureCredentialProvider);
    let builder = MicrosoftAzureBuilder::new().with_account(account).with_container_name(&config.shared.bucket);
    let builder = match &config.credentials {
        // What is wrong with a key is not repeated: it is a secret.
        Some(AzureCredentials::AccessKey(key)) => {
            let key = AzureAccessKey::try_new(key.expose()).map_err(|_| "the access key is not in base 64")?;
            return fixed(AzureCredential::AccessKey(key));
        }
        Some(AzureCredentials::Sas(sas)) => {
            let pairs = split_sas(sas.expose()).map_err(|_| "the shared access signature is no query")?;
            return fixed(AzureCredential::SASToken(pairs));
        }
        Some(AzureCredentials::Application { tenant_id, client_id, client_secret }) => {
            builder.with_client_secret_authorization(client_id, client_secret.expose(), tenant_id)
        }
        None => {
            let asked = environment.iter().find(|(key, _)| *key == Key::MsiEndpoint);
            asked.map_or(Ok(()), |(_, url)| check_identity(url))?;
            environment.iter().fold(builder, |builder, (key, value)| builder.with_config(*key, value))
        }
    };
    let (askers, seen) = Askers::of(&config.shared);
    let asking = builder.with_http_connector(askers).with_retry(retry(&config.shared)).with_account(account).build()?;
    let inner = Arc::clone(asking.credentials());
    Ok(Arc::new(Role::new(super::KIND, inner, seen, config.shared.timeout)))
}

/// What these credentials sign in advance. Of what the environment says, one goes before the other as `object_store` has them.
fn signs(config: &AzureConfig, environment: &[(Key, String)], account: &str, delegated: MicrosoftAzure) -> Signs {
    let found = |wanted: Key| environment.iter().find(|(key, _)| *key == wanted).map(|(_, value)| value.as_str());
    let application = found(Key::ClientId).is_some()
        && found(Key::AuthorityId).is_some()
        && (found(Key::ClientSecret).is_some() || found(Key::FederatedTokenFile).is_some());
    let key = match &config.credentials {
        Some(AzureCredentials::AccessKey(key)) => Some(key.expose()),
        Some(AzureCredentials::Sas(_)) => return Signs::Nothing,
        Some(AzureCredentials::Application { .. }) => None,
        None if found(Key::Token).is_some() => None,
        None if found(Key::AccessKey).is_some() => found(Key::AccessKey),
        None if found(Key::SasKey).is_some() && !application => return Signs::Nothing,
        None => None,
    };
    match key.and_then(from_base64) {
        Some(key) => Signs::Key { account: account.to_owned(), key },
        None => Signs::Delegated(Box::new(delegated)),
    }
}

/// Refuses to take a host's identity over a network without TLS.
fn check_identity(url: &str) -> Result<(), BoxError> {
    let url: ::http::Uri = url.parse()?;
    if is_safe(&url) || url.host() == Some(METADATA) {
        return Ok(());
    }
    Err("IDENTITY_ENDPOINT must begin with https://, or be an address of this host".into())
}

#[cfg(test)]
mod tests {
    use statehouse_core::Secret;

    use super::*;

    #[test]
    fn an_identity_comes_without_tls_from_its_own_host_only() {
        for url in
            ["http://127.0.0.1:41000/msi/token", "http://localhost:42356/x", "https://h/x", "http://169.254.169.254/x"]
        {
            assert!(check_identity(url).is_ok(), "{url}");
        }
        for url in ["http://vault.internal/x", "http://169.254.169.253/x", "http://127.0.0.1@example.org/x", "/x"] {
            let environment = [(Key::MsiEndpoint, url.to_owned())];
            let config = AzureConfig::new("clinicfiles", "scans");
            assert!(credentials(&config, "clinicfiles", &environment).is_err(), "{url}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_refused_and_not_repeated() {
        let config = AzureConfig::new("clinicfiles", "scans");
        let wrong = config.with_credentials(AzureCredentials::AccessKey(Secret::new("hunter2!")));
        let error = build(&wrong).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }

    #[test]
    fn credentials_that_are_given_leave_the_environment_alone() {
        let config = AzureConfig::new("clinicfiles", "scans");
        let given = config.with_credentials(AzureCredentials::AccessKey(Secret::new("aHVudGVyMg==")));
        let environment = [(Key::MsiEndpoint, "http://vault.internal/x".to_owned())];
        assert!(credentials(&given, "clinicfiles", &environment).is_ok());
    }

    #[test]
    fn what_signs_is_what_asks() {
        let key = || "aHVudGVyMg==".to_owned();
        let signed = |environment: &[(Key, String)]| {
            let config = AzureConfig::new("clinicfiles", "scans");
            let builder = MicrosoftAzureBuilder::new().with_account("clinicfiles").with_container_name("scans");
            let builder = builder.with_http_connector(Askers::of(&config.shared).0);
            let delegated = builder.with_access_key(key()).build().unwrap();
            format!("{:?}", signs(&config, environment, "clinicfiles", delegated))
        };
        let sas = || (Key::SasKey, "sv=1&sig=x".to_owned());
        let application = [Key::ClientId, Key::AuthorityId, Key::ClientSecret].map(|key| (key, "x".to_owned()));
        assert_eq!(signed(&[]), "Delegated");
        assert_eq!(signed(&[(Key::AccessKey, key()), sas()]), "Key");
        assert_eq!(signed(&[(Key::Token, "x".to_owned()), (Key::AccessKey, key())]), "Delegated");
        assert_eq!(signed(&[sas()]), "Nothing");
        assert_eq!(signed(&[&application[..], &[sas()]].concat()), "Delegated");
    }
}
