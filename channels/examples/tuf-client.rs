//! The client with the command line that the TUF conformance suite speaks.
//!
//! It must be linked dynamically there, so that the suite can show it another time:
//!
//! ```sh
//! RUSTFLAGS="-C target-feature=-crt-static" \
//!     cargo build -p channels --example tuf-client --target-dir target/conformance
//! pytest --entrypoint target/conformance/x86_64-unknown-linux-gnu/debug/examples/tuf-client
//! ```

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use channels::client::{self, Settings, View};
use channels::fetch::Http;
use channels::store::{DirectoryStore, Store};
use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    /// Where trusted metadata is kept.
    #[arg(long)]
    metadata_dir: PathBuf,
    /// Address of the repository's metadata.
    #[arg(long, default_value = "")]
    metadata_url: String,
    /// A target to download; may be given several times.
    #[arg(long)]
    target_name: Vec<String>,
    /// Address of the repository's targets.
    #[arg(long, default_value = "")]
    target_base_url: String,
    /// Where downloaded targets go.
    #[arg(long, default_value = ".")]
    target_dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Trust this root.
    Init {
        /// A file with root metadata.
        root: PathBuf,
    },
    /// Bring the metadata up to date.
    Refresh,
    /// Download the targets.
    Download,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", host::error::report(&*error));
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::disallowed_methods)]
fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let store = DirectoryStore::new(&arguments.metadata_dir);
    if let Command::Init { root } = &arguments.command {
        store.save("root", &fs::read(root)?)?;
        return Ok(());
    }
    let how = host::http::Fetch::default();
    let fetch = Http::split(&arguments.metadata_url, &arguments.target_base_url, how);
    let now = SystemTime::now().into();
    let view = client::update(&fetch, &store, &Settings::default(), now)?;
    if let Command::Download = arguments.command {
        for name in &arguments.target_name {
            download(&view, name, &arguments.target_dir)?;
        }
    }
    Ok(())
}

/// Downloads a target unless it is there already.
fn download(view: &View<'_>, name: &str, directory: &Path) -> Result<(), Box<dyn Error>> {
    let target = view.find(name)?;
    let path = directory.join(name.replace('%', "%25").replace('/', "%2F"));
    let kept =
        fs::File::open(&path).and_then(|file| io::copy(&mut target.check(file), &mut io::sink()));
    if kept.is_err() {
        host::durable::write(&path, &view.fetch(&target)?, 0o644)?;
    }
    Ok(())
}
