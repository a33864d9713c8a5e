use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::http;
use crate::port::Port;
use crate::process::{Launch, Server, process_controls, server_folder};
use crate::sigv4::hmac;
use crate::url::decode;
use crate::{StartError, tools};

const READY_WITHIN: Duration = Duration::from_secs(60);

const ACCOUNT: &str = "statehouse";
const KEY: &[u8] = b"statehouse-key-of-the-tests-only";
const CONTAINER: &str = "statehouse";

const PROGRAM: &str = "azurite-blob";

/// Where npm puts it in the tool cache.
const SCRIPT: &str = "azurite/node_modules/azurite/dist/src/blob/main.js";

/// The program, and what it has to be called with: `azurite-blob` on the PATH, or Node.js and the script in the tool cache.
///
/// # Errors
/// The command that installs it, if it is nowhere.
pub fn find_azurite() -> Result<(PathBuf, Vec<OsString>), StartError> {
    let script = tools::tool_cache().join(SCRIPT);
    if !script.exists() {
        return Ok((tools::find_program(PROGRAM, &[])?, Vec::new()));
    }
    Ok((tools::find_program("node", &[])?, vec![script.into()]))
}

/// Azurite, an emulator of Azure Blob Storage, with one container. It writes what it has acknowledged to its disk some
/// seconds later, unlike Azure.
#[derive(Debug)]
pub struct AzureServer {
    address: String,
    process: Option<Server>,
}

impl AzureServer {
    /// Starts one of your own with an empty container.
    ///
    /// # Panics
    /// With a [`StartError`] if there is no `azurite-blob` or it does not start.
    pub async fn start() -> Self {
        Self::try_start().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The server that all tests of this process share: `STATEHOUSE_TEST_AZURE_URL` (see [`url`](Self::url)), else one
    /// started now.
    ///
    /// # Panics
    /// As [`start`](Self::start); also if the server of the URL does not let us make its container.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<AzureServer> = OnceCell::const_new();
        let start = async || match tools::given("STATEHOUSE_TEST_AZURE_URL") {
            Some(url) => {
                let server = Self::at(&url);
                let container = server.create_container(CONTAINER).await;
                container.unwrap_or_else(|error| panic!("STATEHOUSE_TEST_AZURE_URL: {error}"));
                server
            }
            None => Self::start().await,
        };
        SHARED.get_or_init(start).await
    }

    /// The server at `url`, written as [`url`](Self::url) writes it, which somebody else runs.
    #[must_use]
    pub fn at(url: &str) -> Self {
        let place = url.split_once("://").map_or(url, |(_, rest)| rest);
        let address = place.split(['/', '?']).next().unwrap_or_default();
        Self { address: decode(address), process: None }
    }

    /// Starts one of your own with an empty container.
    ///
    /// # Errors
    /// If the program is missing or does not start.
    pub async fn try_start() -> Result<Self, StartError> {
        let folder = server_folder("azure")?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data)?;
        let port = Port::reserve()?;
        let (program, mut args) = find_azurite()?;
        let address = port.address();
        let number = address.port().to_string();
        let flags = ["--blobHost", "127.0.0.1", "--silent", "--disableTelemetry", "--skipApiVersionCheck"];
        args.extend(flags.map(OsString::from));
        args.extend(["--blobPort".into(), number.into(), "--location".into(), data.into()]);
        let env = vec![("AZURITE_ACCOUNTS", OsString::from(format!("{ACCOUNT}:{}", base64(KEY))))];
        let launch = Launch { name: PROGRAM, program, args, env, refuses_root: false };
        let process = Some(Server::spawn(launch, folder, vec![port])?);
        let server = Self { address: address.to_string(), process };
        server.wait_ready().await?;
        Ok(server)
    }

    /// Where it is: `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `http://127.0.0.1:port/account`, where its account's blobs are.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}/{ACCOUNT}", self.address)
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The name of its account.
    #[must_use]
    pub const fn account(&self) -> &'static str {
        ACCOUNT
    }

    /// The key of its account, in base 64.
    #[must_use]
    pub fn access_key(&self) -> String {
        base64(KEY)
    }

    /// The container that exists from the start.
    #[must_use]
    pub const fn container(&self) -> &'static str {
        CONTAINER
    }

    /// Makes a container; one that is there already stays as it is.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses.
    pub async fn create_container(&self, name: &str) -> io::Result<()> {
        let target = format!("/{ACCOUNT}/{name}?restype=container");
        let answer = self.request("PUT", &target, &[], b"").await?;
        let text = answer.text();
        if answer.status == 201 || text.contains("ContainerAlreadyExists") {
            return Ok(());
        }
        Err(io::Error::other(format!("container {name}: {} {text}", answer.status)))
    }

    /// Sends one signed request around any proxy. `target` is `/account/container/name?query`, percent-encoded, with the
    /// parameters in the order of their names; `headers` are lower-case `x-ms-` ones, in the order of theirs, before
    /// `x-ms-version`.
    ///
    /// # Errors
    /// If the server cannot be reached. An error status is an `Ok`.
    pub async fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<http::Response> {
        let all: Vec<_> = headers.iter().chain(&[("x-ms-version", "2021-12-02")]).collect();
        let canonical: String = all.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = query.split('&').filter(|pair| !pair.is_empty());
        let query: String = query.map(|pair| format!("\n{}", decode(&pair.replacen('=', ":", 1)))).collect();
        let length = if body.is_empty() { String::new() } else { body.len().to_string() };
        // https://learn.microsoft.com/en-us/rest/api/storageservices/authorize-with-shared-key
        let text = format!("{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n{canonical}/{ACCOUNT}{path}{query}");
        let mut headers: Vec<_> = all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        headers.push(("authorization".to_owned(), format!("SharedKey {ACCOUNT}:{}", base64(&hmac(KEY, &text)))));
        http::request(&self.address, method, target, &headers, body).await
    }

    process_controls!();

    async fn wait_ready(&self) -> Result<(), StartError> {
        self.process().wait_until(READY_WITHIN, || self.create_container(CONTAINER)).await
    }
}

/// [RFC 4648](https://www.rfc-editor.org/rfc/rfc4648#section-4).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let letter = (bits >> (18 - 6 * at) & 63) as usize;
            text.push(if at <= three.len() { char::from(LETTERS[letter]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_as_azure_writes_it() {
        assert_eq!(base64(KEY), "c3RhdGVob3VzZS1rZXktb2YtdGhlLXRlc3RzLW9ubHk=");
        assert_eq!(base64(b"ab"), "YWI=");
        assert_eq!(base64(b"a"), "YQ==");
    }
}
