use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::port::Port;
use crate::process::{Launch, Server, server_folder};
use crate::{StartError, tools};

/// The version that is installed and tested against.
const FOLDER: &str = "opensearch-3.8.0";
/// The oldest JVM that it runs on.
const OLDEST_JAVA: u32 = 21;

/// Short starts and little memory count more here than speed at work; the rest is what the distribution's own program
/// gives. That one starts two more JVMs before, to ask for a password and to put these together.
const JVM_OPTIONS: [&str; 21] = [
    "-Xms512m",
    "-Xmx512m",
    "-Xss1m",
    "-XX:MaxDirectMemorySize=256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "--add-modules=jdk.incubator.vector",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1",
    "-Dfile.encoding=UTF-8",
    "-Djava.awt.headless=true",
    "-Djava.locale.providers=SPI,CLDR",
    "-Djna.nosys=true",
    "-Dio.netty.noUnsafe=true",
    "-Dio.netty.noKeySetOptimization=true",
    "-Dio.netty.recycler.maxCapacityPerThread=0",
    "-Dio.netty.allocator.numDirectArenas=0",
    "-Dlog4j.shutdownHookEnabled=false",
    "-Dlog4j2.disable.jmx=true",
    "-Dopensearch.distribution.type=zip",
    "-Dopensearch.bundled_jdk=false",
];

const LOGGING: &str = "\
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
";

/// A node before it is started.
#[derive(Debug)]
pub(super) struct NodeConfig {
    pub(super) http: Port,
    pub(super) transport: Port,
    settings: String,
    folder: TempDir,
}

impl NodeConfig {
    pub(super) fn alone() -> Result<Self, StartError> {
        let mut config = Self::new("statehouse")?;
        config.set("discovery.type", "single-node");
        Ok(config)
    }

    pub(super) fn new(name: &str) -> Result<Self, StartError> {
        let folder = server_folder("opensearch")?;
        let (http, transport) = (Port::reserve()?, Port::reserve()?);
        let mut config = Self { http, transport, settings: String::new(), folder };
        for (name, value) in config.first(name) {
            config.set(name, &value);
        }
        Ok(config)
    }

    fn first(&self, name: &str) -> [(&'static str, String); 8] {
        let path = |name| self.folder.path().join(name).display().to_string();
        [
            ("cluster.name", "statehouse".to_owned()),
            ("node.name", name.to_owned()),
            ("network.host", "127.0.0.1".to_owned()),
            ("http.port", self.http.text()),
            ("transport.port", self.transport.text()),
            ("path.data", path("data")),
            ("path.logs", path("logs")),
            // A developer's disk may be nearly full.
            ("cluster.routing.allocation.disk.threshold_enabled", "false".to_owned()),
        ]
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.settings.push_str(&format!("{name}: {value}\n"));
    }

    pub(super) fn spawn(self) -> Result<Server, StartError> {
        let folder = self.folder.path();
        let (opensearch, java) = (find_opensearch()?, find_java()?);
        let (config, temporary) = (folder.join("config"), folder.join("tmp"));
        fs::create_dir(&config)?;
        fs::create_dir(&temporary)?;
        fs::write(config.join("opensearch.yml"), &self.settings)?;
        fs::write(config.join("log4j2.properties"), LOGGING)?;
        // It lies in the distribution's `bin`, if need be at the end of a link.
        let program = opensearch.canonicalize()?;
        let home = program.ancestors().nth(2).unwrap_or(&program).display();
        let mut args: Vec<OsString> = JVM_OPTIONS.map(OsString::from).into();
        args.extend([
            format!("-javaagent:{home}/agent/opensearch-agent.jar").into(),
            format!("-Djava.io.tmpdir={}", temporary.display()).into(),
            format!("-Dopensearch.path.home={home}").into(),
            format!("-Dopensearch.path.conf={}", config.display()).into(),
            "-cp".into(),
            format!("{home}/lib/*").into(),
            "org.opensearch.bootstrap.OpenSearch".into(),
        ]);
        let launch =
            Launch { name: "opensearch", program: java.join("bin/java"), args, env: Vec::new(), refuses_root: true };
        Server::spawn(launch, self.folder, vec![self.http, self.transport])
    }
}

/// The program that starts OpenSearch: on the PATH or in the tool cache.
///
/// # Errors
/// The command that installs it, if it is nowhere.
pub fn find_opensearch() -> Result<PathBuf, StartError> {
    tools::find_program("opensearch", &[tools::tool_cache().join(FOLDER).join("bin")])
}

/// The home of a JVM that OpenSearch runs on: `JAVA_HOME`, else the newest in `/usr/lib/jvm`.
///
/// # Errors
/// The command that installs one, if there is none that is new enough.
pub fn find_java() -> Result<PathBuf, StartError> {
    let given = std::env::var_os("JAVA_HOME").map(PathBuf::from);
    if let Some(home) = given.filter(|home| version(home) >= Some(OLDEST_JAVA)) {
        return Ok(home);
    }
    let installed = Path::new("/usr/lib/jvm").read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = installed.filter_map(|home| Some((version(&home)?, home))).max();
    newest.filter(|(version, _)| *version >= OLDEST_JAVA).map(|(_, home)| home).ok_or_else(|| {
        StartError::new(format!(
            "OpenSearch needs a JVM of version {OLDEST_JAVA} or newer in JAVA_HOME or /usr/lib/jvm; \
             install it with: cargo xtask services install"
        ))
    })
}

/// The major version of the JVM in `home`, from its `release` file: `JAVA_VERSION="25.0.1"`.
fn version(home: &Path) -> Option<u32> {
    let release = fs::read_to_string(home.join("release")).ok()?;
    let line = release.lines().find_map(|line| line.strip_prefix("JAVA_VERSION="))?;
    line.trim_matches('"').split(['.', '-', '+']).next()?.parse().ok()
}
