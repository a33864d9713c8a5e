//! Why a bucket cannot be opened, where the error alone does not tell: the wrong side of TLS looks like a broken
//! connection, or like an answer of no S3 server.

use statehouse_core::{Error, ErrorKind};

use super::config::S3Config;
use super::connection::Clients;
use super::server::Server;
use super::tls::is_spoken;

/// The error of opening, with its cause where another look finds one.
pub(super) async fn explain(error: Error, config: &S3Config, server: &Server) -> Error {
    let open = [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::Unexpected].contains(&error.kind());
    // What answers at a proxy is not the server.
    if !open || server.proxy.is_some() {
        return error;
    }
    match wrong_side(config, server).await {
        Some(message) => Error::new(ErrorKind::InvalidConfig, message),
        None => error,
    }
}

/// What is wrong with the endpoint's scheme, if the server shows that it is. It is asked without credentials.
async fn wrong_side(config: &S3Config, server: &Server) -> Option<String> {
    let (plain, host) = (server.is_plain(), server.host());
    let client = Clients::of(config).direct().ok()?;
    let asked = if plain { "https" } else { "http" };
    let limit = config.connect_timeout.min(config.timeout);
    let answer = client.get(format!("{asked}://{host}/")).timeout(limit).send().await;
    let meant = match &answer {
        // What some say at a port for TLS to those who do not speak it.
        Ok(answer) => plain || answer.status() != reqwest::StatusCode::BAD_REQUEST,
        Err(error) => plain && is_spoken(error),
    };
    let message = match plain {
        true => format!("{server} speaks TLS: write endpoint=https://{host}"),
        false => {
            format!(
                "{server} does not speak TLS: write endpoint=http://{host} and allow_http=true, or set up TLS there"
            )
        }
    };
    meant.then_some(message)
}
