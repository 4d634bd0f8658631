//! What a configuration names by its address: includes, contents of files, keys.
//!
//! address → what the root has already, else the network, else what was kept → bytes
//!
//! Bytes whose hash the configuration gives are taken wherever they are: a machine that has them
//! boots without the network. Those without a hash are asked for at every boot; where nobody
//! answers, the last answer counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cloud_config::{Config, Include};
use host::http::{Fetch, FetchError, Request};

use crate::ledger::sha256;

/// The most that one address may answer with: it is held in memory.
pub const LIMIT: u64 = 32 << 20;
/// How long one address may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// The most that a download may have: it is written as it comes.
const DOWNLOAD_LIMIT: u64 = 8 << 30;
/// How long a download may take: less than a boot that is watched over.
const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(240);
/// Where answers are kept, below the root.
const KEPT: &str = "/var/lib/coreos-init/fetched";

/// Something to get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The address.
    pub url: String,
    /// What the bytes must hash to, in hex.
    pub sha256: Option<String>,
    /// Headers of the request.
    pub headers: Vec<(String, String)>,
    /// The file of the root that it becomes.
    pub path: Option<String>,
}

impl From<&Include> for Wanted {
    fn from(include: &Include) -> Wanted {
        let (url, sha256) = (include.url.clone(), include.sha256.clone());
        Wanted { url, sha256, headers: Vec::new(), path: None }
    }
}

/// What a configuration wants, includes left out.
pub fn wanted(config: &Config) -> Vec<Wanted> {
    let files = config.write_files.iter().filter_map(|file| {
        let source = file.source.as_ref()?;
        Some(Wanted {
            url: source.url.clone(),
            sha256: Some(source.sha256.clone()),
            headers: source.headers.clone(),
            path: Some(file.path.value.clone()),
        })
    });
    let keys = config.users.iter().flat_map(|user| &user.key_sources).map(|source| Wanted {
        url: source.url.clone(),
        sha256: None,
        headers: Vec::new(),
        path: None,
    });
    files.chain(keys).collect()
}

/// The files of a root, as far as they are read before anything is planned for it.
pub trait Files: std::fmt::Debug {
    /// The content of the regular file at an absolute path; none if there is none of at most
    /// [`LIMIT`] bytes.
    fn file(&self, path: &str) -> Option<Vec<u8>>;
}

impl Files for &Path {
    fn file(&self, path: &str) -> Option<Vec<u8>> {
        read(&self.join(path.trim_start_matches('/')))
    }
}

/// Asks the network for one thing.
pub type Get<'g> = dyn FnMut(&Wanted) -> Result<Vec<u8>, String> + 'g;

/// Gets things, from the root or from the network.
pub struct Fetcher<'g> {
    files: &'g dyn Files,
    get: &'g mut Get<'g>,
    /// Where answers are kept.
    keep: Option<PathBuf>,
    used: BTreeSet<String>,
}

impl std::fmt::Debug for Fetcher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("files", &self.files).finish_non_exhaustive()
    }
}

impl<'g> Fetcher<'g> {
    /// `files` are those of the root. Answers are kept below the root `keep` for when nobody
    /// answers, if there is one.
    pub fn new(files: &'g dyn Files, keep: Option<&Path>, get: &'g mut Get<'g>) -> Fetcher<'g> {
        let keep = keep.map(|root| root.join(KEPT.trim_start_matches('/')));
        Fetcher { files, get, keep, used: BTreeSet::new() }
    }

    /// The bytes, or why there are none.
    pub fn fetch(&mut self, wanted: &Wanted) -> Result<Vec<u8>, String> {
        let name = sha256(wanted.url.as_bytes())[..32].to_string();
        let kept = format!("{KEPT}/{name}");
        self.used.insert(name.clone());
        let fits = |bytes: &Vec<u8>| match &wanted.sha256 {
            Some(hash) => sha256(bytes) == *hash,
            None => false,
        };
        let places = wanted.path.iter().chain([&kept]).filter(|_| wanted.sha256.is_some());
        if let Some(bytes) = places.filter_map(|place| self.files.file(place)).find(fits) {
            return Ok(bytes);
        }
        let answer = (self.get)(wanted).and_then(|bytes| match &wanted.sha256 {
            Some(hash) if sha256(&bytes) != *hash => Err(format!(
                "what {} answers is not what was asked for: its SHA-256 is {}",
                host::http::redacted(&wanted.url),
                sha256(&bytes)
            )),
            _ => Ok(bytes),
        });
        match answer {
            Ok(bytes) => {
                // A file of the root is kept as itself.
                if let (Some(directory), None) = (&self.keep, &wanted.path) {
                    keep(&directory.join(name), &bytes);
                }
                Ok(bytes)
            }
            Err(why) if wanted.sha256.is_none() => self.files.file(&kept).ok_or(why),
            Err(why) => Err(why),
        }
    }

    /// Everything that a configuration wants, by address.
    pub fn fetch_all(&mut self, config: &Config) -> BTreeMap<String, Result<Vec<u8>, String>> {
        let mut answers = BTreeMap::new();
        for wanted in wanted(config) {
            let answer = self.fetch(&wanted);
            answers.insert(wanted.url, answer);
        }
        answers
    }

    /// What was asked for so far also counts as wanted.
    #[must_use]
    pub fn after(self, used: BTreeSet<String>) -> Fetcher<'g> {
        Fetcher { used, ..self }
    }

    /// What was asked for, as it is kept.
    pub fn into_used(self) -> BTreeSet<String> {
        self.used
    }

    /// Forgets what was kept and is wanted no more.
    pub fn forget_others(self) {
        let Some(directory) = &self.keep else { return };
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            if !self.used.contains(&*entry.file_name().to_string_lossy()) {
                // What cannot be removed is in nobody's way.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Asks over HTTP, with the certificate authorities in `roots`.
///
/// # Errors
/// Why not, in one line without what may be secret in the address.
pub fn over_http(wanted: &Wanted, roots: &Path) -> Result<Vec<u8>, String> {
    let headers = headers(wanted);
    let request = Request { headers: &headers, ..Request::get(&wanted.url) };
    let how =
        Fetch { limit: LIMIT, deadline: DEADLINE, roots: roots.to_path_buf(), ..Fetch::default() };
    host::http::request(&request, &how).map_err(|error| host::error::chain(&error))
}

/// The same for what does not fit the memory: it is written to `file` as it comes, behind what is
/// there from an earlier time.
///
/// # Errors
/// As of [`over_http`]. What has come stays in the file, unless the disk is full.
pub fn download(wanted: &Wanted, roots: &Path, file: &fs::File) -> Result<(), String> {
    let headers = headers(wanted);
    let request = Request { headers: &headers, ..Request::get(&wanted.url) };
    let how = Fetch {
        limit: DOWNLOAD_LIMIT,
        deadline: DOWNLOAD_DEADLINE,
        roots: roots.to_path_buf(),
        ..Fetch::default()
    };
    let size = host::http::download(&request, &how, file);
    if let Err(FetchError::Write { .. }) = size {
        // It would take its space for nothing. What cannot be emptied is removed as well.
        let _ = file.set_len(0);
    }
    size.map(drop).map_err(|error| host::error::chain(&error))
}

fn headers(wanted: &Wanted) -> Vec<(&str, &str)> {
    wanted.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// A regular file of at most the limit. Links are not followed: a name in the root may lead out
/// of it.
fn read(path: &Path) -> Option<Vec<u8>> {
    let state = fs::symlink_metadata(path).ok()?;
    if !state.is_file() || state.len() > LIMIT {
        return None;
    }
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Keeps an answer. What cannot be kept is asked for again.
fn keep(path: &Path, bytes: &[u8]) {
    if read(path).is_some_and(|kept| kept == bytes) {
        return;
    }
    if let Some(directory) = path.parent() {
        let _ = make_private(directory);
    }
    let _ = host::durable::write(path, bytes, 0o600);
}

/// Makes a directory right below that of this program, both root's alone; what is above them is
/// everybody's, also where it is the first boot that makes it.
pub(crate) fn make_private(directory: &Path) -> io::Result<()> {
    let own = directory.parent().unwrap_or(directory);
    if let Some(above) = own.parent() {
        fs::create_dir_all(above)?;
    }
    for path in [own, directory] {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn want(url: &str, sha256: Option<String>, path: Option<&str>) -> Wanted {
        let path = path.map(str::to_string);
        Wanted { url: url.to_string(), sha256, headers: Vec::new(), path }
    }

    /// Fetches one thing while the network answers this.
    fn fetch(root: &Path, wanted: &Wanted, answer: Result<&str, &str>) -> Result<String, String> {
        let mut get =
            |_: &Wanted| answer.map(|text| text.as_bytes().to_vec()).map_err(str::to_string);
        let bytes = Fetcher::new(&root, Some(root), &mut get).fetch(wanted)?;
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn bytes_with_a_hash_need_no_network_once_they_are_there() {
        let root = tempfile::tempdir().unwrap();
        let file = want("https://a/x?token=s3cret", Some(sha256(b"x")), Some("/etc/x"));
        let wrong = fetch(root.path(), &file, Ok("y")).unwrap_err();
        assert!(
            wrong.starts_with("what https://a/x?... answers is not what was asked for"),
            "{wrong}"
        );
        assert_eq!(fetch(root.path(), &file, Ok("x")), Ok("x".to_string()));
        // The file itself is what is kept of it.
        assert_eq!(fetch(root.path(), &file, Err("down")), Err("down".to_string()));
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/x"), "x").unwrap();
        assert_eq!(fetch(root.path(), &file, Err("down")), Ok("x".to_string()));

        let include = want("https://a/y", Some(sha256(b"y")), None);
        assert_eq!(fetch(root.path(), &include, Ok("y")), Ok("y".to_string()));
        assert_eq!(fetch(root.path(), &include, Err("down")), Ok("y".to_string()));
    }

    #[test]
    fn bytes_without_a_hash_are_asked_for_again_and_kept_for_bad_times() {
        let root = tempfile::tempdir().unwrap();
        let keys = want("https://a/keys", None, None);
        assert_eq!(fetch(root.path(), &keys, Err("down")), Err("down".to_string()));
        assert_eq!(fetch(root.path(), &keys, Ok("1")), Ok("1".to_string()));
        assert_eq!(fetch(root.path(), &keys, Ok("2")), Ok("2".to_string()));
        assert_eq!(fetch(root.path(), &keys, Err("down")), Ok("2".to_string()));

        let mode =
            |path: &str| fs::metadata(root.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("var"), mode("var/lib")), (0o755, 0o755));
        assert_eq!((mode("var/lib/coreos-init"), mode(&KEPT[1..])), (0o700, 0o700));

        let mut get = |_: &Wanted| Ok(Vec::new());
        let files = root.path();
        let mut fetcher = Fetcher::new(&files, Some(root.path()), &mut get);
        fetcher.fetch(&want("https://a/others", None, None)).unwrap();
        fetcher.forget_others();
        assert_eq!(fs::read_dir(root.path().join(&KEPT[1..])).unwrap().count(), 1);
    }
}
