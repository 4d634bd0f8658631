//! The directory of the keys, and signing with what is in it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ed25519_dalek::{Signer, SigningKey};

use super::PublishError;
use super::key_file::{self, PrivateFile};
use crate::metadata::{Authority, Key, Signature};

/// Asks for the passphrase of a key; the second argument tells that it is a new one.
pub type Ask<'a> = &'a dyn Fn(&str, bool) -> io::Result<String>;

/// A directory of keys.
pub struct Keyring<'a> {
    directory: PathBuf,
    keys: Vec<KeyEntry>,
    ask: Ask<'a>,
    /// Keys whose passphrase was given, so that it is asked for once.
    opened: RefCell<BTreeMap<String, SigningKey>>,
}

/// One key.
#[derive(Debug, Clone)]
pub struct KeyEntry {
    /// The name of its files, without what follows the dot: `ROLE-ID`.
    pub name: String,
    /// The public part.
    pub key: Key,
    /// Where the private part is.
    pub secret: Secret,
}

/// Where the private part of a key is.
#[derive(Debug, Clone)]
pub enum Secret {
    /// Elsewhere.
    Absent,
    /// In a file.
    File(PrivateFile),
    /// Behind a command that takes what to sign on its standard input.
    Command(String),
}

/// How a new key's private part is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// In a file, encrypted with a passphrase that is asked for.
    Passphrase,
    /// In a file as it is: for keys that a machine signs with, unattended.
    None,
}

impl fmt::Debug for Keyring<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl KeyEntry {
    /// Whether a person must type something to sign with it.
    pub fn needs_passphrase(&self) -> bool {
        matches!(&self.secret, Secret::File(file) if file.is_encrypted())
    }

    /// Whether it can sign here.
    pub fn can_sign(&self) -> bool {
        !matches!(self.secret, Secret::Absent)
    }

    fn holder(&self) -> Option<Vec<u8>> {
        self.key.public().map(|public| public.holder().to_vec())
    }
}

impl<'a> Keyring<'a> {
    /// The keys in a directory; none if it does not exist.
    pub fn open(directory: &Path, ask: Ask<'a>) -> Result<Keyring<'a>, PublishError> {
        let mut keyring = Keyring {
            directory: directory.to_owned(),
            keys: Vec::new(),
            ask,
            opened: RefCell::default(),
        };
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(keyring),
            Err(error) => return Err(PublishError::file("read", directory)(error)),
        };
        for entry in entries {
            let path = entry.map_err(PublishError::file("read", directory))?.path();
            if path.extension().is_some_and(|extension| extension == "pub") {
                keyring.keys.push(read_entry(&path)?);
            }
        }
        keyring.keys.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(keyring)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The keys, by their names.
    pub fn keys(&self) -> &[KeyEntry] {
        &self.keys
    }

    /// The entry of a key, whatever its id.
    pub fn find(&self, key: &Key) -> Option<&KeyEntry> {
        let holder = key.public()?.holder().to_vec();
        self.keys.iter().find(|entry| entry.holder().as_ref() == Some(&holder))
    }

    /// The key of this name or with an id that begins so.
    pub fn named(&self, name: &str) -> Result<&KeyEntry, PublishError> {
        let fits = |entry: &&KeyEntry| {
            entry.name == name || (name.len() >= 8 && entry.key.id().starts_with(name))
        };
        let missing =
            || PublishError::NoKey { name: name.to_owned(), keys: self.directory.clone() };
        self.keys.iter().find(fits).ok_or_else(missing)
    }

    /// Makes a key for a role.
    pub fn generate(
        &mut self,
        role: &str,
        protection: Protection,
    ) -> Result<&KeyEntry, PublishError> {
        let failed = |source| PublishError::Key { path: self.directory.clone(), source };
        let key = key_file::generate().map_err(failed)?;
        let public = Key::ed25519(key.verifying_key().as_bytes());
        let name = entry_name(role, &public);
        let passphrase = match protection {
            Protection::Passphrase => Some(self.passphrase(&name, true)?),
            Protection::None => None,
        };
        let text = key_file::write_private(&key, passphrase.as_deref()).map_err(failed)?;
        let secret = Secret::File(PrivateFile::parse(&text).map_err(failed)?);
        if passphrase.is_some() {
            self.opened.borrow_mut().insert(name.clone(), key.clone());
        }
        self.create_directory()?;
        self.write(&name, "key", text.as_bytes(), 0o600)?;
        self.add(name, public, secret)
    }

    /// Takes note of a key whose private part is elsewhere, or behind a command.
    pub fn register(
        &mut self,
        role: &str,
        public: &[u8; 32],
        command: Option<&str>,
    ) -> Result<&KeyEntry, PublishError> {
        let key = Key::ed25519(public);
        if key.public().is_none() {
            let reason =
                "the public key is one of the weak ones, that anybody can sign for".to_owned();
            return Err(PublishError::Nonsense { reason });
        }
        let name = entry_name(role, &key);
        self.create_directory()?;
        let mut secret = Secret::Absent;
        if let Some(command) = command {
            self.write(&name, "command", format!("{command}\n").as_bytes(), 0o600)?;
            secret = Secret::Command(command.to_owned());
        }
        self.add(name, key, secret)
    }

    /// The public part is written last: a key without it does not exist.
    fn add(&mut self, name: String, key: Key, secret: Secret) -> Result<&KeyEntry, PublishError> {
        if let Some(public) = key.public() {
            let bytes: [u8; 32] = public.holder().try_into().expect("an Ed25519 key has 32 bytes");
            self.write(&name, "pub", key_file::write_public(&bytes).as_bytes(), 0o644)?;
        }
        self.keys.push(KeyEntry { name, key, secret });
        Ok(self.keys.last().expect("one was just added"))
    }

    fn create_directory(&self) -> Result<(), PublishError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(PublishError::file("create", &self.directory))
    }

    fn write(
        &self,
        name: &str,
        extension: &str,
        bytes: &[u8],
        mode: u32,
    ) -> Result<(), PublishError> {
        let path = self.directory.join(format!("{name}.{extension}"));
        host::durable::write(&path, bytes, mode)
            .map_err(|error| PublishError::file("write", path)(error.source))
    }

    fn passphrase(&self, name: &str, new: bool) -> Result<String, PublishError> {
        (self.ask)(name, new)
            .map_err(|source| PublishError::NoPassphrase { name: name.to_owned(), source })
    }

    /// Signs for a role with as many of its keys as must sign. Keys that need no passphrase are
    /// taken first.
    pub fn sign(
        &self,
        authority: &Authority<'_>,
        message: &[u8],
    ) -> Result<Vec<Signature>, PublishError> {
        let mut available: Vec<(&str, &KeyEntry)> = Vec::new();
        let mut holders = BTreeSet::new();
        for (id, key) in authority.keys() {
            if let Some(entry) = self.find(key)
                && entry.can_sign()
                && holders.insert(entry.holder())
            {
                available.push((id, entry));
            }
        }
        let need = authority.allowed.threshold;
        if (available.len() as u64) < need {
            let (role, keys) = (authority.role.to_owned(), self.directory.clone());
            return Err(PublishError::MissingKeys { role, have: available.len(), need, keys });
        }
        available.sort_by_key(|(_, entry)| entry.needs_passphrase());
        available.truncate(usize::try_from(need).unwrap_or(usize::MAX));
        available.into_iter().map(|(id, entry)| self.sign_with(id, entry, message)).collect()
    }

    /// Signs with one key, which is known under this id.
    pub fn sign_with(
        &self,
        id: &str,
        entry: &KeyEntry,
        message: &[u8],
    ) -> Result<Signature, PublishError> {
        let bytes = match &entry.secret {
            Secret::Absent => {
                let (name, keys) = (format!("{}.key", entry.name), self.directory.clone());
                return Err(PublishError::NoKey { name, keys });
            }
            Secret::File(file) => self.unlock(entry, file)?.sign(message).to_bytes().to_vec(),
            Secret::Command(command) => run(&entry.name, command, message)?,
        };
        if !entry.key.public().is_some_and(|public| public.verifies(message, &bytes)) {
            let (name, reason) = (entry.name.clone(), "its signature is not valid".to_owned());
            return Err(PublishError::Command { name, reason });
        }
        Ok(Signature { keyid: id.to_owned(), sig: hex::encode(bytes) })
    }

    fn unlock(&self, entry: &KeyEntry, file: &PrivateFile) -> Result<SigningKey, PublishError> {
        if let Some(key) = self.opened.borrow().get(&entry.name) {
            return Ok(key.clone());
        }
        let passphrase = match file.is_encrypted() {
            true => self.passphrase(&entry.name, false)?,
            false => String::new(),
        };
        let path = self.directory.join(format!("{}.key", entry.name));
        let key = match file.open(&passphrase) {
            Ok(key) => key,
            Err(source) => return Err(PublishError::Key { path, source }),
        };
        if entry.holder().as_deref() != Some(key.verifying_key().as_bytes()) {
            return Err(PublishError::KeyMismatch { path });
        }
        self.opened.borrow_mut().insert(entry.name.clone(), key.clone());
        Ok(key)
    }
}

fn entry_name(role: &str, key: &Key) -> String {
    format!("{role}-{}", &key.id()[..8])
}

fn read_entry(public: &Path) -> Result<KeyEntry, PublishError> {
    let failed = |source| PublishError::Key { path: public.to_owned(), source };
    let text = fs::read_to_string(public).map_err(PublishError::file("read", public))?;
    let key = Key::ed25519(&key_file::read_public(&text).map_err(failed)?);
    let name = public.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let (private, command) = (public.with_extension("key"), public.with_extension("command"));
    let secret = if let Some(text) = read_private(&private)? {
        let parsed = PrivateFile::parse(&text);
        Secret::File(parsed.map_err(|source| PublishError::Key { path: private, source })?)
    } else if let Some(text) = read_private(&command)? {
        Secret::Command(text.trim().to_owned())
    } else {
        Secret::Absent
    };
    Ok(KeyEntry { name, key, secret })
}

/// Reads a file that only its owner may read.
fn read_private(path: &Path) -> Result<Option<String>, PublishError> {
    let read = PublishError::file("read", path);
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read(error)),
        Ok(metadata) if metadata.mode() & 0o077 != 0 => {
            return Err(PublishError::KeyExposed { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    fs::read_to_string(path).map(Some).map_err(read)
}

/// Has a command sign: what to sign goes to its standard input, and the signature comes back on
/// its standard output, as 64 bytes or in hexadecimal digits.
fn run(name: &str, command: &str, message: &[u8]) -> Result<Vec<u8>, PublishError> {
    let failed = |reason: String| PublishError::Command { name: name.to_owned(), reason };
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut input) = child.stdin.take() {
        // A command that reads nothing fails by its output.
        match input.write_all(message) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(failed(error.to_string()));
            }
            _ => {}
        }
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(output.status.to_string()));
    }
    if output.stdout.len() == 64 {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let bytes = hex::decode(text.trim()).unwrap_or_default();
    match bytes.len() {
        64 => Ok(bytes),
        _ => Err(failed("it printed no signature: 64 bytes or 128 hexadecimal digits".to_owned())),
    }
}

#[cfg(test)]
#[path = "keyring_tests.rs"]
mod tests;
