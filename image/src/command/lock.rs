//! `image lock`: writes down exactly which packages an image is made of.

use crate::AnyError;
use clap::Args;
use image::lock::change::{self, Change};
use image::lock::{Lock, LockError, update};
use image::manifest::Manifest;
use image::progress::{Event, Progress, Style};
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::sources::Sources;

#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    #[command(flatten)]
    sources: Sources,
    /// Take what the archives have now
    #[arg(long)]
    update: bool,
    /// Show what would change and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object per line instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(args: &LockArgs, style: Style) -> Result<(), AnyError> {
    let path = args.sources.lock();
    let manifest = Manifest::read(&args.sources.manifest)?;
    let old = match Lock::read(&path) {
        Ok(old) => old,
        // One that cannot be understood is written anew.
        Err(LockError::Invalid { .. }) if args.update => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(old) = &old
        && !args.update
    {
        Lock::read_for(&manifest, &path, &args.sources.manifest)?;
        return tell(&[], old, &path, "fits the manifest", args.json);
    }
    let progress = Progress::new(style);
    let request = update::Request {
        manifest: &manifest,
        old: old.as_ref(),
        keyring: &args.sources.keyring,
        cache: &args.sources.cache,
        now: now(),
    };
    let new = update::update(&request, &progress)?;
    drop(progress);
    let changes = change::between(old.as_ref(), &new);
    if args.dry_run {
        return tell(&changes, &new, &path, "was not written", args.json);
    }
    // Shown first: it can be thought over before a build.
    tell(&changes, &new, &path, "written", args.json)?;
    host::durable::write(&path, new.to_text().as_bytes(), 0o644)?;
    Ok(())
}

fn tell(
    changes: &[Change],
    lock: &Lock,
    path: &Path,
    what: &str,
    json: bool,
) -> Result<(), AnyError> {
    if json {
        let outcome = serde_json::json!({
            "lock": path, "packages": lock.packages.len(), "changes": changes, "what": what,
        });
        Event::Result { outcome: &outcome }.print();
        return Ok(());
    }
    let mut out = io::stdout().lock();
    for change in changes {
        writeln!(out, "{change}")?;
    }
    let count = match changes.len() {
        0 => "nothing changes".to_owned(),
        1 => "one package changes".to_owned(),
        count => format!("{count} packages change"),
    };
    writeln!(out, "{}: {} packages, {count}; {what}", path.display(), lock.packages.len())?;
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "the day on which signatures are checked")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
