//! A certificate authority and a server certificate that live as long as the server's folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::ends::output_within;
use crate::{StartError, tools};

const MADE_WITHIN: Duration = Duration::from_secs(120);

#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl TlsFiles {
    /// Makes them in `folder` with the `openssl` program.
    pub(crate) fn create(folder: &Path) -> Result<Self, StartError> {
        std::fs::write(folder.join("names.cnf"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n")?;
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
        for line in [
            format!("req -x509 {key} -subj /CN=authority -keyout authority.key -out authority.pem"),
            format!("req -new {key} -subj /CN=localhost -keyout server.key -out server.csr"),
            "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 \
             -extfile names.cnf -out server.pem"
                .to_owned(),
        ] {
            run(folder, &line)?;
        }
        let file = |name| folder.join(name);
        Ok(Self { authority: file("authority.pem"), certificate: file("server.pem"), key: file("server.key") })
    }
}

fn run(folder: &Path, line: &str) -> Result<(), StartError> {
    let openssl = tools::find_program("openssl", &[])?;
    let output = output_within(Command::new(openssl).args(line.split_whitespace()).current_dir(folder), MADE_WITHIN)?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(StartError::new(format!("openssl {line}: {text}")))
}
