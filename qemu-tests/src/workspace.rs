//! Where the built programs and the built image are.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A checkout of this project, as far as machines need it.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
    images: PathBuf,
}

impl Workspace {
    /// The checkout that this crate was built in. `images` overrides the
    /// folder of the built image.
    pub fn here(images: Option<PathBuf>) -> Self {
        Self::at(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), images)
    }

    /// The checkout at `root`.
    pub fn at(root: &Path, images: Option<PathBuf>) -> Self {
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let images = images.unwrap_or_else(|| root.join("target/image"));
        Self { root, images }
    }

    /// The checkout itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where machines have their folders.
    pub fn machines(&self) -> PathBuf {
        self.root.join("target/machines")
    }

    /// The config that newcomers start with.
    pub fn example(&self) -> PathBuf {
        self.root.join("examples/cloud-config.yaml")
    }

    /// The built disk image.
    pub fn image(&self) -> Result<PathBuf> {
        built(self.images.join("coreos.raw"), "image")
    }

    /// The boot entry of the built image: kernel and initrd as one program of EFI.
    pub fn boot_entry(&self) -> Result<PathBuf> {
        let files = std::fs::read_dir(&self.images).into_iter().flatten().flatten();
        let entry = files.map(|file| file.path()).find(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("coreos_") && name.ends_with(".efi")
        });
        built(entry.unwrap_or_else(|| self.images.join("coreos_VERSION.efi")), "image")
    }

    /// The built root, as a file system image.
    pub fn root_image(&self) -> Result<PathBuf> {
        let entries = std::fs::read_dir(&self.images).into_iter().flatten().flatten();
        let mut roots: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "root"))
            .collect();
        // Of several versions the newest.
        roots.sort();
        built(roots.pop().unwrap_or_else(|| self.images.join("coreos.root")), "image")
    }

    /// Where nodes have their folders.
    pub fn nodes(&self) -> PathBuf {
        self.root.join("target/nodes")
    }

    /// The built program `name`.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        built(self.root.join("target/x86_64-unknown-linux-gnu/release").join(name), "image")
    }
}

fn built(path: PathBuf, target: &'static str) -> Result<PathBuf> {
    if path.is_file() { Ok(path) } else { Err(Error::NotBuilt { path, target }) }
}
