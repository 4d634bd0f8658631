//! Debian's archives: what there is, and that it is what Debian signed.
//!
//! InRelease → signature ([`signature`]) → [`release`] → Packages by its hash → [`index`]
//! → [`solve`]
//!
//! Every step trusts only what the one before it vouches for, down to the SHA-256 of each
//! package. An archive that is too old, or older than the one seen last, is refused: somebody may
//! be holding back updates.

pub mod control;
pub mod date;
pub mod index;
pub mod relation;
pub mod release;
pub mod signature;
pub mod solve;
pub mod version;

mod fetch;

use crate::digest;
use crate::manifest::Packages;
pub use fetch::{CopyError, FetchError, Transport};
use index::Index;
use release::Release;
use signature::{Keyring, SignatureError};
use std::io::Read;

/// The largest Release file that is accepted.
const MAX_RELEASE: u64 = 16 << 20;
/// The largest index file that is accepted, once it is unpacked.
const MAX_INDEX: u64 = 512 << 20;
/// How far the archive's clock may be ahead of this machine's, in seconds.
const CLOCK_SKEW: u64 = 24 * 60 * 60;

/// One suite of one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its address, without a slash at the end.
    pub url: String,
    /// The suite, such as `trixie-updates`.
    pub suite: String,
    /// Parts of it, such as `main`.
    pub components: Vec<String>,
}

/// What a suite said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Which suite.
    pub source: Source,
    /// When it was made, in seconds since 1970.
    pub date: u64,
    /// SHA-256 of the signed text.
    pub release: String,
    /// Who signed it.
    pub signers: Vec<String>,
}

/// Why an archive is not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It cannot be reached.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Nobody who is trusted signed it.
    #[error("{url} is not trusted")]
    Signature {
        /// The address of the signed text.
        url: String,
        /// Why not.
        source: SignatureError,
    },
    /// The signed text is not a Release file.
    #[error("{url} is not a Release file: {reason}")]
    Release {
        /// Its address.
        url: String,
        /// Why not.
        reason: &'static str,
    },
    /// It is of another suite than was asked for.
    #[error("{url} is of {found}, not of {wanted}")]
    Suite {
        /// The address.
        url: String,
        /// The names it has.
        found: String,
        /// The one that was asked for.
        wanted: String,
    },
    /// It no longer counts.
    #[error(
        "{url} counted until {until} only: the mirror is out of date, or somebody holds back updates"
    )]
    OutOfDate {
        /// The address.
        url: String,
        /// The last day.
        until: String,
    },
    /// It is of a time to come.
    #[error("{url} is of {date}, which is yet to come: is this machine's clock right?")]
    Future {
        /// The address.
        url: String,
        /// Its day.
        date: String,
    },
    /// It is older than the one that was seen last.
    #[error(
        "{url} is of {date}, older than the one of {seen} in the lock: somebody may be holding back updates"
    )]
    WentBack {
        /// The address.
        url: String,
        /// Its day.
        date: String,
        /// The day in the lock.
        seen: String,
    },
    /// It has no such component or architecture.
    #[error("{url} has no packages of {component} for {architecture}")]
    NoIndex {
        /// The address of the suite.
        url: String,
        /// The component.
        component: String,
        /// The architecture.
        architecture: String,
    },
    /// A file is not what the signed text says.
    #[error("{url} is not what the archive signed: its SHA-256 is {got}, not {want}")]
    WrongHash {
        /// The address of the file.
        url: String,
        /// The digest it has.
        got: String,
        /// The digest it should have.
        want: String,
    },
    /// An index file cannot be unpacked.
    #[error("{url} cannot be unpacked: {reason}")]
    Unpack {
        /// Its address.
        url: String,
        /// Why not.
        reason: String,
    },
}

/// The suites that a manifest's packages come from, the one that counts first.
#[must_use]
pub fn sources(packages: &Packages) -> Vec<Source> {
    let suite = packages.suite.as_str();
    let components: Vec<String> = packages.components.iter().map(ToString::to_string).collect();
    let snapshot = |mirror: &str| match &packages.snapshot {
        Some(snapshot) => format!("{}/{snapshot}", mirror.trim_end_matches('/')),
        None => mirror.trim_end_matches('/').to_owned(),
    };
    let mirrors = [
        (&packages.mirror, ""),
        (&packages.mirror, "-updates"),
        (&packages.security_mirror, "-security"),
    ];
    mirrors
        .map(|(mirror, what)| Source {
            url: snapshot(mirror.as_str()),
            suite: format!("{suite}{what}"),
            components: components.clone(),
        })
        .into()
}

/// Reads the signed list of packages of every source. `now` is in seconds since 1970; `seen` says
/// when a suite that was seen before was made.
pub fn read(
    sources: &[Source],
    architecture: &str,
    keyring: &Keyring,
    now: u64,
    transport: &Transport,
    seen: impl Fn(&Source) -> Option<u64>,
    progress: &mut dyn FnMut(&str),
) -> Result<(Vec<Origin>, Index), ArchiveError> {
    let mut origins = Vec::new();
    let mut index = Index::default();
    for (number, source) in sources.iter().enumerate() {
        progress(&format!("{} {}", source.url, source.suite));
        let base = format!("{}/dists/{}", source.url, source.suite);
        let url = format!("{base}/InRelease");
        let signed = transport.read(&url, MAX_RELEASE)?;
        let (origin, release) = check(source, &url, &signed, keyring, now)?;
        if let Some(seen) = seen(source).filter(|seen| origin.date < *seen) {
            let (date, seen) = (date::format(origin.date), date::format(seen));
            return Err(ArchiveError::WentBack { url, date, seen });
        }
        for component in &source.components {
            let text = packages_file(&base, component, architecture, &release, transport)?;
            index.add(number, text, architecture);
        }
        origins.push(origin);
    }
    Ok((origins, index))
}

/// Checks a signed text: who signed it, what it is of, and whether it still counts.
fn check(
    source: &Source,
    url: &str,
    signed: &[u8],
    keyring: &Keyring,
    now: u64,
) -> Result<(Origin, Release), ArchiveError> {
    let url = url.to_owned();
    let signed = String::from_utf8_lossy(signed);
    let text = match keyring.verify(&signed, now) {
        Ok(text) => text,
        Err(source) => return Err(ArchiveError::Signature { url, source }),
    };
    let release = match Release::parse(&text.text) {
        Ok(release) => release,
        Err(reason) => return Err(ArchiveError::Release { url, reason }),
    };
    if !release.names.contains(&source.suite) {
        let (found, wanted) = (release.names.join(" or "), source.suite.clone());
        return Err(ArchiveError::Suite { url, found, wanted });
    }
    if release.date > now + CLOCK_SKEW {
        return Err(ArchiveError::Future { url, date: date::format(release.date) });
    }
    if let Some(until) = release.valid_until.filter(|until| *until < now) {
        return Err(ArchiveError::OutOfDate { url, until: date::format(until) });
    }
    let origin = Origin {
        source: source.clone(),
        date: release.date,
        release: digest::of_bytes(text.text.as_bytes()),
        signers: text.signers,
    };
    Ok((origin, release))
}

/// The text of a component's index file.
fn packages_file(
    base: &str,
    component: &str,
    architecture: &str,
    release: &Release,
    transport: &Transport,
) -> Result<String, ArchiveError> {
    let plain = format!("{component}/binary-{architecture}/Packages");
    let forms = [".xz", ".gz", ""].map(|form| format!("{plain}{form}"));
    let found = forms.iter().find_map(|path| Some((path, release.files.get(path)?)));
    let Some((path, (size, want))) = found else {
        return Err(ArchiveError::NoIndex {
            url: base.to_owned(),
            component: component.to_owned(),
            architecture: architecture.to_owned(),
        });
    };
    // By its hash a file is there even while the mirror is being updated.
    let url = match (release.by_hash, path.rsplit_once('/')) {
        (true, Some((directory, _))) => format!("{base}/{directory}/by-hash/SHA256/{want}"),
        _ => format!("{base}/{path}"),
    };
    let packed = transport.read(&url, *size)?;
    let got = digest::of_bytes(&packed);
    if got != *want {
        return Err(ArchiveError::WrongHash { url, got, want: want.clone() });
    }
    let broken = |reason: String| ArchiveError::Unpack { url: url.clone(), reason };
    let reader: Box<dyn Read> = match path.rsplit('.').next() {
        Some("xz") => Box::new(liblzma::read::XzDecoder::new(packed.as_slice())),
        Some("gz") => Box::new(flate2::read::GzDecoder::new(packed.as_slice())),
        _ => Box::new(packed.as_slice()),
    };
    let mut text = Vec::new();
    let mut limited = reader.take(MAX_INDEX + 1);
    limited.read_to_end(&mut text).map_err(|error| broken(error.to_string()))?;
    if text.len() as u64 > MAX_INDEX {
        return Err(broken("it is larger than 512 MiB".to_owned()));
    }
    String::from_utf8(text).map_err(|_| broken("it is not UTF-8".to_owned()))
}
