//! What the new machine will be configured by, checked before anything is written.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cloud_config::{Bundle, Finding, Severity, Values, network};

/// Files of a configuration, by the name that the machine looks for.
pub const FILES: [&str; 3] = ["user-data", "meta-data", "network-config"];

/// A configuration that a machine would accept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// The files that there are, by name.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// What is doubtful about them, a line each.
    pub doubts: Vec<String>,
}

/// Why a configuration is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read the configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A machine would refuse it.
    #[error("the configuration would be refused by the machine, nothing was written:\n{}", mistakes.join("\n"))]
    Refused {
        /// Every mistake with its place.
        mistakes: Vec<String>,
    },
}

impl Config {
    /// Reads the configuration at `path`: user-data, or a directory with the files of one.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let metadata = fs::metadata(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let files = if metadata.is_dir() {
            let paths = FILES.iter().map(|&name| (name, path.join(name)));
            paths
                .filter(|(_, path)| path.exists())
                .map(|(name, path)| Ok((name, read(&path)?)))
                .collect::<Result<Vec<_>, ConfigError>>()?
        } else {
            vec![(FILES[0], read(path)?)]
        };
        Config::check(files)
    }

    /// Checks the files of a configuration as the machine will.
    pub fn check(files: Vec<(&'static str, Vec<u8>)>) -> Result<Config, ConfigError> {
        let mut lines: Vec<(bool, String)> = Vec::new();
        for (name, bytes) in &files {
            let line = |finding: &Finding, line| (finding.severity == Severity::Error, line);
            match *name {
                "user-data" => {
                    let bundle = Bundle::local(name, bytes);
                    let findings = bundle.decode(&Values::Unknown).1;
                    lines.extend(findings.iter().map(|found| line(found, bundle.line(found))));
                }
                "network-config" => {
                    let findings = match std::str::from_utf8(bytes) {
                        Ok(text) => network::parse(network::Format::NetworkConfig, text).1,
                        Err(_) => vec![Finding::error(Default::default(), "it is not UTF-8")],
                    };
                    lines.extend(findings.iter().map(|found| line(found, found.line(name))));
                }
                _ => {}
            }
        }
        let of = |wanted: bool| {
            let chosen = lines.iter().filter(move |(error, _)| *error == wanted);
            chosen.map(|(_, line)| line.clone()).collect::<Vec<_>>()
        };
        let (mistakes, doubts) = (of(true), of(false));
        if mistakes.is_empty() {
            Ok(Config { files, doubts })
        } else {
            Err(ConfigError::Refused { mistakes })
        }
    }
}

/// Reads a file as far as any machine would.
fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let mut bytes = Vec::new();
    let limit = cloud_config::MAX_USER_DATA as u64 + 1;
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_would_refuse_is_refused_with_its_place() {
        let check = |text: &str| Config::check(vec![("user-data", text.as_bytes().to_vec())]);
        assert!(check("#cloud-config\nhostname: one\n").is_ok());
        assert!(check("#!/bin/sh\ntrue\n").is_ok());
        let error = check("#cloud-config\nhostname: [\n").expect_err("broken").to_string();
        assert!(error.contains("\nuser-data:"), "{error}");
    }

    #[test]
    fn a_directory_is_read_by_its_names() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path();
        fs::write(path.join("user-data"), "#cloud-config\n").expect("written");
        fs::write(path.join("meta-data"), "local-hostname: one\n").expect("written");
        fs::write(path.join("other"), "").expect("written");
        let config = Config::read(path).expect("good");
        let names: Vec<&str> = config.files.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["user-data", "meta-data"]);
        assert_eq!(Config::read(&path.join("user-data")).expect("good").files.len(), 1);
        assert!(Config::read(&path.join("nothing")).is_err());
    }
}
