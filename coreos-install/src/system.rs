//! The installer as the first program of a machine: `/init` of an initrd that has nothing but it,
//! kernel modules and the image.
//!
//! kernel interfaces → modules → image, configuration, words → a disk → reboot or power-off

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use host::error::chain;
use host::modules::Modules;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

use crate::config::Config;
use crate::dialogue::{self, Answer};
use crate::image::Image;
use crate::install::install;
use crate::judge::{judge, only_one};
use crate::size;
use crate::survey::{self, Disk, Places};
use crate::terminal::{Talk, Terminal};
use crate::words::{Choice, Finish, Words};
use crate::write::Step;

/// The packed image in the initrd.
const IMAGE: &str = "/image";
/// The configuration that came with the installer.
const CONFIG: &str = "/config";
/// Words that came with the installer.
const WORDS: &str = "/words";
/// How long controllers may take to bring up their disks, and how long nothing new must come.
const SETTLE: Duration = Duration::from_secs(10);
const QUIET: Duration = Duration::from_millis(1500);
const INTERVAL: Duration = Duration::from_millis(50);
/// How long the last line stays readable.
const READING_TIME: Duration = Duration::from_secs(3);

/// Runs the installer. Never returns: the machine is restarted or switched off.
pub fn run() -> ! {
    let ready = prepare();
    let mut talk = Terminal::consoles(Path::new("/sys"), Path::new("/dev"));
    if let Err(error) = ready {
        talk.say(&format!("error: cannot prepare this machine: {error}"));
    }
    let finish = attend(&mut talk);
    sleep(READING_TIME);
    loop {
        nix::unistd::sync();
        let mode = match finish {
            Finish::Reboot => RebootMode::RB_AUTOBOOT,
            Finish::PowerOff => RebootMode::RB_POWER_OFF,
        };
        let _: Result<Infallible, _> = reboot(mode);
        sleep(READING_TIME);
    }
}

fn prepare() -> io::Result<()> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    for (kind, target, flags) in [
        ("proc", "/proc", quiet),
        ("sysfs", "/sys", quiet),
        ("devtmpfs", "/dev", MsFlags::MS_NOSUID),
    ] {
        fs::create_dir_all(target)?;
        mount(Some(kind), target, Some(kind), flags, None::<&str>)?;
    }
    let mut modules = Modules::open(Path::new("/lib/modules"));
    modules.load_always();
    let begin = Instant::now();
    let mut last = begin;
    while begin.elapsed() < SETTLE && last.elapsed() < QUIET {
        if modules.load_for_devices(Path::new("/sys")) > 0 {
            last = Instant::now();
        }
        sleep(INTERVAL);
    }
    Ok(())
}

/// Installs as it was told, or as somebody says; tells what happens then.
fn attend(talk: &mut Terminal) -> Finish {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    // What came with the installer counts less than what the boot loader was told.
    let told = format!("{} {}", read(WORDS), read("/proc/cmdline"));
    let words = match Words::parse(&told) {
        Ok(words) => words,
        Err(mistake) => {
            talk.say(&format!("error: {mistake}"));
            Words::default()
        }
    };
    if words.device != Choice::Ask {
        match unattended(talk, &words) {
            Ok(()) => return words.finish,
            Err(error) => {
                talk.say(&format!("error: {error}"));
                talk.say("Nobody needs to answer: the machine waits until somebody does.");
            }
        }
    }
    loop {
        match ask(talk) {
            Ok(Some(finish)) => return finish,
            Ok(None) => return Finish::PowerOff,
            Err(error) => talk.say(&format!("error: {error}")),
        }
    }
}

fn unattended(talk: &mut Terminal, words: &Words) -> Result<(), String> {
    let places = Places::default();
    let image = Image::open(Path::new(IMAGE)).map_err(|error| chain(&error))?;
    let disk = match &words.device {
        Choice::Named(path) => survey::disk(&places, path).map_err(|error| error.to_string())?,
        Choice::Auto | Choice::Ask => {
            let disks = survey::disks(&places);
            // A disk that may be erased is one that was named.
            let named = disks.iter().find(|disk| Some(&disk.name) == words.force_erase.as_ref());
            match named {
                Some(disk) => disk.clone(),
                None => only_one(&disks, image.header.size)?.clone(),
            }
        }
    };
    let said = words.force_erase.as_deref();
    judge(&disk, image.header.size, said).map_err(|error| error.to_string())?;
    carry_out(talk, image, &disk, said)
}

/// One round of questions; none if somebody wants to leave.
fn ask(talk: &mut Terminal) -> Result<Option<Finish>, String> {
    let image = Image::open(Path::new(IMAGE)).map_err(|error| chain(&error))?;
    talk.say("");
    talk.say(&format!("This installs version {} on a disk of this machine.", image.header.version));
    let disks = survey::disks(&Places::default());
    match dialogue::choose(talk, &disks, image.header.size) {
        Answer::Again => ask(talk),
        Answer::Leave => Ok(None),
        Answer::Disk(disk, said) => {
            carry_out(talk, image, &disk, said.as_deref())?;
            let _ = talk.ask("Take the installation medium out, then press Enter to restart:");
            Ok(Some(Finish::Reboot))
        }
    }
}

fn carry_out(
    talk: &mut Terminal,
    image: Image,
    disk: &Disk,
    said: Option<&str>,
) -> Result<(), String> {
    let config = if Path::new(CONFIG).exists() {
        Some(Config::read(Path::new(CONFIG)).map_err(|error| chain(&error))?)
    } else {
        None
    };
    report(talk, image, disk, config.as_ref(), said)
}

/// Installs, and shows how far it is.
pub fn report(
    talk: &mut impl Talk,
    image: Image,
    disk: &Disk,
    config: Option<&Config>,
    said: Option<&str>,
) -> Result<(), String> {
    for doubt in config.iter().flat_map(|config| &config.doubts) {
        talk.say(&format!("warning: {doubt}"));
    }
    let (version, total) = (image.header.version.clone(), image.header.data());
    talk.say(&format!("Installing version {version} on {} ({})", disk.name, size(disk.size)));
    let (mut step, mut done, mut shown) = (Step::Writing, 0, u64::MAX);
    let installed = install(image, disk, config, said, &mut |now, bytes| {
        if now != step {
            (step, done) = (now, 0);
        }
        done += bytes;
        let percent = done * 100 / total.max(1);
        if percent != shown {
            shown = percent;
            let what = match step {
                Step::Writing => "writing",
                Step::Checking => "reading back",
            };
            talk.show(&format!("{what}: {percent} % of {}", size(total)));
        }
    });
    installed.map_err(|error| chain(&error))?;
    let config = match config {
        Some(_) => "with its configuration",
        None => "without a configuration: attach a config disc when it boots",
    };
    talk.say(&format!("Version {version} is installed on {} and verified, {config}.", disk.name));
    Ok(())
}
