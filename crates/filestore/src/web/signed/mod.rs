//! URLs that allow one thing for a while, to whoever has them.

mod format;
mod grant;
mod keys;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use statehouse_core::{Clock, Error, ErrorKind, KeyRing, Result, SystemClock};

pub(super) use self::grant::Grant;
use self::grant::{path, read};
use self::keys::{has_signed, sign};
use super::disposition::Disposition;
use crate::digest::Digest;
use crate::files::Files;
use crate::options::{PresignOptions, Presigned, Verb};

/// The longest time that a URL is good for, as on S3.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const USUAL: Duration = Duration::from_secs(300);

/// Signs URLs for the files of one namespace, and knows them again: a browser then reads or stores one file without a login, for a while.
///
/// [`FileServer::signed`](crate::FileServer::signed) serves them, on any backend and on any replica that has the same keys. A URL is for
/// one method, one file, and what else it was signed with; the keys' owner, a namespace and a purpose are part of it, so that a URL of one
/// tenant or one use opens nothing of another. A URL whose signature is not right, and one that has expired, is answered 403.
///
/// What was signed cannot be taken back before it expires, but by taking its key away. Whoever has the URL can use it as often, so keep
/// it as short-lived as its use allows; [`SignPut::create`] makes an upload one that replaces nothing. When a URL expires is by the clock of the
/// host that serves it: hosts' clocks that differ by a minute shorten or lengthen a URL by that.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use http::HeaderValue;
/// use statehouse_core::{KeyRing, ManualClock, Namespace, Secret};
/// use statehouse_filestore::{Digest, Disposition, FileServer, Files, MemoryFileStore, SignedUrls};
///
/// # fn main() -> statehouse_core::Result<()> {
/// let scans = Files::new(Arc::new(MemoryFileStore::new()), Namespace::new("clinic.scans")?);
/// # let secret = "s".repeat(32);
/// let keys = KeyRing::new("2026-11", Secret::new(secret))?;
/// let urls = SignedUrls::new(scans, keys, "https://clinic.example/scans").with_purpose("letters to patients");
///
/// let download = urls.get("p42/chest.png").valid_for(Duration::from_secs(600)).file_name("Röntgen.png").url()?;
/// assert!(download.starts_with("https://clinic.example/scans/p42/chest.png?expires="));
/// let shown = urls.get("p42/letter.html").disposition(Disposition::Inline).url()?;
/// let upload = urls.put("p42/knee.png").content_type("image/png").max_len(10 << 20).create().url()?;
/// let exactly = urls.put("p42/note.txt").len(5).sha256(Digest::of(b"12345")).url()?;
/// # drop((shown, upload, exactly));
///
/// // Where they lead: `Router::new().nest_service("/scans", server)` of axum
/// let server = FileServer::signed(urls.clone()).with_max_upload(50 << 20);
/// let server = server.with_cache_control(HeaderValue::from_static("private, no-store"));
/// # drop(server);
///
/// // In a test, by a clock that it moves
/// let urls = urls.with_clock(ManualClock::default());
/// # drop(urls);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct SignedUrls {
    files: Files,
    keys: KeyRing,
    purpose: Arc<str>,
    base: Arc<str>,
    clock: Arc<dyn Clock>,
}

impl SignedUrls {
    /// URLs for these files that begin with `base`, where a [`FileServer`](crate::FileServer) is: `https://clinic.example/scans` or
    /// `/scans`.
    #[must_use]
    pub fn new(files: Files, keys: KeyRing, base: impl AsRef<str>) -> Self {
        let base = base.as_ref().trim_end_matches('/').into();
        Self { files, keys, purpose: "".into(), base, clock: Arc::new(SystemClock::default()) }
    }

    /// For this purpose only: URLs for another one are not known here. None unless told.
    #[must_use]
    pub fn with_purpose(mut self, purpose: impl Into<Arc<str>>) -> Self {
        self.purpose = purpose.into();
        self
    }

    /// With this clock in place of the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// A URL to read a file, also in parts. Whether there is one is not looked at.
    pub fn get(&self, name: impl Into<String>) -> SignGet<'_> {
        SignGet(Sign { urls: self, name: name.into(), valid_for: USUAL, grant: Grant::until(0) })
    }

    /// A URL to store a file. Without a [content type](SignPut::content_type) it stores that of its request.
    pub fn put(&self, name: impl Into<String>) -> SignPut<'_> {
        SignPut(Sign { urls: self, name: name.into(), valid_for: USUAL, grant: Grant::until(0) })
    }

    /// The files.
    #[must_use]
    pub const fn files(&self) -> &Files {
        &self.files
    }

    fn seconds(&self) -> u64 {
        self.clock.now().as_micros() / 1_000_000
    }

    fn message(&self, grant: &Grant, verb: Verb, name: &str, key: &str) -> Vec<u8> {
        grant.message(verb, &[self.files.namespace().as_str(), &self.purpose, name], key)
    }

    /// What a request is allowed, if it is.
    pub(super) fn check(&self, method: &Method, name: &str, query: &str) -> Result<Grant, Denied> {
        let verb = match *method {
            Method::PUT => Verb::Put,
            _ => Verb::Get,
        };
        let claimed = read(query).ok_or(Denied::Unsigned)?;
        let message = self.message(&claimed.grant, verb, name, &claimed.key);
        if !has_signed(&self.keys, &claimed.key, &message, &claimed.signature) {
            return Err(Denied::Forged);
        }
        match self.seconds() < claimed.grant.expires {
            true => Ok(claimed.grant),
            false => Err(Denied::Expired),
        }
    }
}

/// Why a request is not allowed; for the log, and never for who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    Unsigned,
    Forged,
    Expired,
}

#[derive(Clone, Debug)]
struct Sign<'a> {
    urls: &'a SignedUrls,
    name: String,
    valid_for: Duration,
    grant: Grant,
}

impl Sign<'_> {
    fn url(mut self, verb: Verb) -> Result<String> {
        self.urls.files.key(&self.name)?;
        if self.valid_for.is_zero() || self.valid_for > LONGEST {
            return Err(Error::invalid_input("a signed URL is good for more than no time and at most 7 days"));
        }
        crate::described::check_type(self.grant.content_type.as_deref())?;
        let whole = self.valid_for.as_secs() + u64::from(self.valid_for.subsec_nanos() > 0);
        self.grant.expires = self.urls.seconds() + whole;
        let (key, _) = self.urls.keys.newest();
        let signature = sign(&self.urls.keys, &self.urls.message(&self.grant, verb, &self.name, key));
        let (base, path, query) = (&self.urls.base, path(&self.name), self.grant.query(key, &signature));
        if query.len() > grant::LONGEST {
            return Err(Error::invalid_input("the file's name for the browser, or its type, is too long for a URL"));
        }
        Ok(format!("{base}/{path}?{query}"))
    }
}

/// A URL to read a file that is being described; [`url`](Self::url) signs it.
#[derive(Clone, Debug)]
#[must_use = "nothing is signed until `url`"]
pub struct SignGet<'a>(Sign<'a>);

impl SignGet<'_> {
    /// Sets how long it is good for: at most 7 days; 5 minutes unless told.
    pub const fn valid_for(mut self, time: Duration) -> Self {
        self.0.valid_for = time;
        self
    }

    /// Sets the name under which a browser saves the file, in place of the [stored](crate::Put::content_disposition) one.
    pub fn file_name(mut self, name: impl Into<String>) -> Self {
        self.0.grant.file_name = Some(name.into());
        self
    }

    /// Sets whether a browser shows the file or saves it.
    pub const fn disposition(mut self, disposition: Disposition) -> Self {
        self.0.grant.disposition = Some(disposition);
        self
    }

    /// Signs it for the store's own server instead, which then sends the file itself: with the capability
    /// [`PRESIGNED`](crate::capability::PRESIGNED), on S3. Purpose and key have no part in it; the file is saved, unless it is to be
    /// shown [inline](Disposition::Inline). With [`Disposition::Stored`] and no name the server says what was stored with the file,
    /// and of one that was stored without a disposition nothing: a browser then shows what it can. The file's stored
    /// [cache control](crate::Put::cache_control) it sends in any case.
    ///
    /// # Errors
    /// As [`FileStore::presign_with`](crate::FileStore::presign_with).
    pub async fn presigned(self) -> Result<Presigned> {
        let Sign { urls, name, valid_for, grant } = self.0;
        let mut options = PresignOptions::new(Verb::Get, valid_for);
        let file_name = grant.file_name.as_deref().unwrap_or_else(|| name.rsplit('/').next().unwrap_or_default());
        // What type the file has is not known here.
        let disposition = grant.disposition.unwrap_or(Disposition::Safe);
        if disposition != Disposition::Stored || grant.file_name.is_some() {
            let header = disposition.header(None, file_name);
            options.disposition = header.to_str().ok().map(ToOwned::to_owned);
        }
        let key = urls.files.key(&name)?;
        urls.files.store().presign_with(&key, options).await
    }

    /// Signs it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for a name that no file has, another time, or a
    /// [name](Self::file_name) that is too long for a URL: some 4,000 bytes as it is written there.
    pub fn url(self) -> Result<String> {
        self.0.url(Verb::Get)
    }
}

/// A URL to store a file that is being described; [`url`](Self::url) signs it.
#[derive(Clone, Debug)]
#[must_use = "nothing is signed until `url`"]
pub struct SignPut<'a>(Sign<'a>);

impl SignPut<'_> {
    /// Sets how long it is good for: at most 7 days; 5 minutes unless told. An upload that has begun in time may last longer.
    pub const fn valid_for(mut self, time: Duration) -> Self {
        self.0.valid_for = time;
        self
    }

    /// Sets the type that the request must have and that is stored.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.0.grant.content_type = Some(content_type.into());
        self
    }

    /// Sets how many bytes must be stored.
    pub const fn len(mut self, bytes: u64) -> Self {
        self.0.grant.len = Some(bytes);
        self
    }

    /// Sets how many bytes may be stored; else what the server takes at most.
    pub const fn max_len(mut self, bytes: u64) -> Self {
        self.0.grant.max_len = Some(bytes);
        self
    }

    /// Sets the digest that the content must have.
    pub const fn sha256(mut self, digest: Digest) -> Self {
        self.0.grant.sha256 = Some(digest);
        self
    }

    /// Stores it only if there is no such file, so that it replaces nothing. Whoever has the URL can store it again once the file has been
    /// deleted, until the URL expires: sign for a name that is used once, as one with a random part.
    pub const fn create(mut self) -> Self {
        self.0.grant.create = true;
        self
    }

    /// Signs it for the store's own server instead, which then takes the file itself: with the capability
    /// [`PRESIGNED`](crate::capability::PRESIGNED), on S3. Purpose and key have no part in it. S3 stores the `Content-Disposition` and
    /// `Cache-Control` that the upload has, whoever sends it: where that matters, say both when the file is read.
    ///
    /// # Errors
    /// As [`FileStore::presign_with`](crate::FileStore::presign_with); [`Unsupported`](statehouse_core::ErrorKind::Unsupported) with
    /// [`max_len`](Self::max_len), and with [`len`](Self::len) but no [`sha256`](Self::sha256): S3 has no word for them.
    pub async fn presigned(self) -> Result<Presigned> {
        let Sign { urls, name, valid_for, grant } = self.0;
        if grant.max_len.is_some() {
            let message = "an upload to S3 is signed for a digest, and for no greatest length";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let mut options = PresignOptions::new(Verb::Put, valid_for);
        (options.content_type, options.len) = (grant.content_type, grant.len);
        (options.sha256, options.create) = (grant.sha256, grant.create);
        let key = urls.files.key(&name)?;
        urls.files.store().presign_with(&key, options).await
    }

    /// Signs it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](statehouse_core::ErrorKind::InvalidInput) for a name that no file has, another time, or a type that
    /// is none or too long for a URL.
    pub fn url(self) -> Result<String> {
        self.0.url(Verb::Put)
    }
}
