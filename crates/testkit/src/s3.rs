use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::http::{self, Response};
use crate::port::Port;
use crate::process::{Launch, Server, process_controls, server_folder};
use crate::sigv4::{self, Signable};
use crate::url::{Authority, credentials, decode, encode};
use crate::{StartError, tools};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// An S3 server with one bucket: VersityGW, or MinIO on request.
#[derive(Debug)]
pub struct S3Server {
    address: String,
    access_key: String,
    secret_key: String,
    region: String,
    bucket: String,
    process: Option<Server>,
}

impl S3Server {
    /// Starts a VersityGW of your own with an empty bucket.
    ///
    /// # Panics
    /// With a [`StartError`] if there is no `versitygw` or it does not start.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// Settings for a server of your own.
    #[must_use]
    pub fn builder() -> S3ServerBuilder {
        S3ServerBuilder::default()
    }

    /// The server that all tests of this process share: `STATEHOUSE_TEST_S3_URL` (see [`url`](Self::url)), else one
    /// started now.
    ///
    /// # Panics
    /// As [`start`](Self::start); also if the server of the URL does not let us make its bucket.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<S3Server> = OnceCell::const_new();
        let start = async || match tools::given("STATEHOUSE_TEST_S3_URL") {
            Some(url) => {
                let server = Self::at(&url);
                let bucket = server.create_bucket(server.bucket()).await;
                bucket.unwrap_or_else(|error| panic!("STATEHOUSE_TEST_S3_URL: {error}"));
                server
            }
            None => Self::start().await,
        };
        SHARED.get_or_init(start).await
    }

    /// The server at `url`, written as [`url`](Self::url) writes it, which somebody else runs.
    #[must_use]
    pub fn at(url: &str) -> Self {
        let Authority { user, password, hosts } = Authority::of(url);
        let path = url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
        let (bucket, query) = path.split_once('?').unwrap_or((path, ""));
        let region = query.split('&').find_map(|pair| pair.strip_prefix("region=")).unwrap_or(DEFAULT_REGION);
        let bucket = if bucket.is_empty() { DEFAULT_BUCKET } else { bucket }.to_owned();
        Self { address: hosts, access_key: user, secret_key: password, region: decode(region), bucket, process: None }
    }

    /// Everything in one text: `http://access-key:secret-key@127.0.0.1:port/bucket?region=us-east-1`.
    #[must_use]
    pub fn url(&self) -> String {
        let credentials = credentials(&self.access_key, &self.secret_key);
        format!("http://{credentials}{}/{}?region={}", self.address, self.bucket, encode(&self.region, ""))
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The root user's access key id.
    #[must_use]
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The root user's secret key.
    #[must_use]
    pub fn secret_key(&self) -> &str {
        &self.secret_key
    }

    /// The region that requests must be signed for.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The bucket that exists from the start.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Makes a bucket; one that is there already stays as it is.
    ///
    /// # Errors
    /// If the server cannot be reached or refuses.
    pub async fn create_bucket(&self, name: &str) -> io::Result<()> {
        let answer = self.request("PUT", &format!("/{name}"), &[], b"").await?;
        let text = answer.text();
        if answer.status == 200 || text.contains("BucketAlreadyOwnedByYou") {
            return Ok(());
        }
        Err(io::Error::other(format!("bucket {name}: {} {text}", answer.status)))
    }

    /// Sends one signed request around any proxy. `target` is `/bucket/key?query`, percent-encoded.
    ///
    /// # Errors
    /// If the server cannot be reached. An error status is an `Ok`.
    pub async fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        let (time, payload) = (sigv4::now(), sigv4::sha256(body));
        let own = [("host", self.address.as_str()), ("x-amz-content-sha256", &payload), ("x-amz-date", &time)];
        let mut headers: Vec<_> =
            own.iter().chain(headers).map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned())).collect();
        headers.sort();
        let scope = format!("{}/{}/s3/aws4_request", &time[..8], self.region);
        let request = Signable { method, target, headers: &headers, payload: &payload };
        let authorization = request.authorization(&self.access_key, &self.secret_key, &time, &scope);
        headers.retain(|(name, _)| name != "host");
        headers.push(("authorization".to_owned(), authorization));
        http::request(&self.address, method, target, &headers, body).await
    }

    process_controls!();

    async fn wait_ready(&self) -> Result<(), StartError> {
        self.process().wait_until(READY_WITHIN, || self.create_bucket(&self.bucket)).await
    }
}

const DEFAULT_REGION: &str = "us-east-1";
const DEFAULT_BUCKET: &str = "statehouse";

/// Settings of an [`S3Server`].
#[derive(Debug)]
pub struct S3ServerBuilder {
    program: Program,
    access_key: String,
    secret_key: String,
    region: String,
    bucket: String,
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug)]
enum Program {
    VersityGw,
    MinIo,
}

impl Default for S3ServerBuilder {
    fn default() -> Self {
        Self {
            program: Program::VersityGw,
            access_key: "statehouse".to_owned(),
            secret_key: "statehouse-secret".to_owned(),
            region: DEFAULT_REGION.to_owned(),
            bucket: DEFAULT_BUCKET.to_owned(),
            data: None,
        }
    }
}

impl S3ServerBuilder {
    /// MinIO in place of VersityGW: a second opinion.
    #[must_use]
    pub const fn minio(mut self) -> Self {
        self.program = Program::MinIo;
        self
    }

    /// The root user's keys. MinIO wants at least 3 and 8 characters.
    #[must_use]
    pub fn credentials(mut self, access_key: &str, secret_key: &str) -> Self {
        access_key.clone_into(&mut self.access_key);
        secret_key.clone_into(&mut self.secret_key);
        self
    }

    /// The region, instead of `us-east-1`.
    #[must_use]
    pub fn region(mut self, region: &str) -> Self {
        region.clone_into(&mut self.region);
        self
    }

    /// The name of the bucket that is made, instead of `statehouse`.
    #[must_use]
    pub fn bucket(mut self, name: &str) -> Self {
        name.clone_into(&mut self.bucket);
        self
    }

    /// The folder that it keeps its files in, which is made, instead of a temporary one: such as on a
    /// [`SmallDisk`](crate::SmallDisk).
    #[must_use]
    pub fn data_in(mut self, folder: impl Into<PathBuf>) -> Self {
        self.data = Some(folder.into());
        self
    }

    /// Starts the server; returns when it has its bucket.
    ///
    /// # Panics
    /// With a [`StartError`] if the program is missing or does not start.
    pub async fn start(self) -> S3Server {
        self.try_start().await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts the server; returns when it has its bucket.
    ///
    /// # Errors
    /// If the program is missing or does not start.
    pub async fn try_start(self) -> Result<S3Server, StartError> {
        let folder = server_folder("s3")?;
        let data = self.data.clone().unwrap_or_else(|| folder.path().join("data"));
        std::fs::create_dir(&data)?;
        let port = Port::reserve()?;
        let address = port.address().to_string();
        let name = self.program.name();
        let program = tools::find_program(name, &[])?;
        let args = self.program.args(&address, data.into());
        let launch = Launch { name, program, args, env: self.env(), refuses_root: false };
        let process = Some(Server::spawn(launch, folder, vec![port])?);
        let Self { access_key, secret_key, region, bucket, .. } = self;
        let server = S3Server { address, access_key, secret_key, region, bucket, process };
        server.wait_ready().await?;
        Ok(server)
    }

    fn env(&self) -> Vec<(&'static str, OsString)> {
        let names = match self.program {
            Program::VersityGw => ["ROOT_ACCESS_KEY", "ROOT_SECRET_KEY", "VGW_REGION"],
            Program::MinIo => ["MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "MINIO_REGION"],
        };
        let values = [&self.access_key, &self.secret_key, &self.region];
        // MinIO's console would listen on every address of the machine.
        let no_console = matches!(self.program, Program::MinIo).then(|| ("MINIO_BROWSER", "off".into()));
        names.into_iter().zip(values.map(OsString::from)).chain(no_console).collect()
    }
}

impl Program {
    const fn name(self) -> &'static str {
        match self {
            Self::VersityGw => "versitygw",
            Self::MinIo => "minio",
        }
    }

    fn args(self, address: &str, data: OsString) -> Vec<OsString> {
        match self {
            // Keep-alive is off by default, unlike on S3.
            Self::VersityGw => {
                vec!["--port".into(), address.into(), "--keep-alive".into(), "--quiet".into(), "posix".into(), data]
            }
            Self::MinIo => vec!["server".into(), "--quiet".into(), "--address".into(), address.into(), data],
        }
    }
}
