//! What an image is made of: options that several commands have.

use std::path::PathBuf;

use clap::Args;
use image::lock;

#[derive(Debug, Args)]
pub(crate) struct Sources {
    /// What the image is made of
    #[arg(long, value_name = "FILE", default_value = "image/coreos.toml")]
    pub(crate) manifest: PathBuf,
    /// Its exact packages [default: beside the manifest, coreos.lock for coreos.toml]
    #[arg(long, value_name = "FILE")]
    lock: Option<PathBuf>,
    /// Directory that keeps packages
    #[arg(long, value_name = "DIR", default_value = "target/packages")]
    pub(crate) cache: PathBuf,
    /// The keys that the archives are signed with
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/usr/share/keyrings/debian-archive-keyring.gpg"
    )]
    pub(crate) keyring: PathBuf,
}

impl Sources {
    /// The file of the lock.
    pub(crate) fn lock(&self) -> PathBuf {
        self.lock.clone().unwrap_or_else(|| lock::path_for(&self.manifest))
    }
}
