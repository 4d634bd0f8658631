//! Command line of the installer, and the way into it as a machine's first program.
//!
//! Exit codes: 0 installed, 1 not installed, 2 misused.

use std::fs::File;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use coreos_install::config::Config;
use coreos_install::dialogue::{self, Answer, line};
use coreos_install::image::Image;
use coreos_install::survey::{self, Places};
use coreos_install::system;
use coreos_install::terminal::Terminal;
use host::error::chain;

/// Installs the system on a disk, which it erases.
///
/// Without --device it lists the disks of this machine and asks.
#[derive(Debug, Parser)]
#[command(name = "coreos-install")]
struct Cli {
    /// The image, as `image export --format install` makes it
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// The disk, such as /dev/sda or a link below /dev/disk
    #[arg(long, value_name = "DISK")]
    device: Option<PathBuf>,
    /// Cloud-config for the machine, or a directory with user-data, meta-data and network-config
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Erase what the disk of this name holds; it must be the name of --device
    #[arg(long, value_name = "NAME", requires = "device")]
    force_erase: Option<String>,
    /// List the disks and leave
    #[arg(long, conflicts_with_all = ["device", "config"])]
    list: bool,
}

fn main() -> ExitCode {
    if std::process::id() == 1 {
        system::run();
    }
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), String> {
    let places = Places::default();
    let image = Image::open(&cli.image).map_err(|error| chain(&error))?;
    if cli.list {
        for disk in survey::disks(&places) {
            println!("{}", line(&disk, image.header.size));
        }
        return Ok(());
    }
    let config = cli.config.as_deref().map(Config::read).transpose();
    let config = config.map_err(|error| chain(&error))?;
    let mut terminal = terminal().map_err(|error| format!("cannot open the terminal: {error}"))?;
    let (disk, said) = match &cli.device {
        Some(path) => {
            let disk = survey::disk(&places, path).map_err(|error| error.to_string())?;
            (disk, cli.force_erase.clone())
        }
        None if std::io::stdin().is_terminal() => loop {
            match dialogue::choose(&mut terminal, &survey::disks(&places), image.header.size) {
                Answer::Disk(disk, said) => break (*disk, said),
                Answer::Again => {}
                Answer::Leave => return Err("nothing was chosen, nothing was written".to_owned()),
            }
        },
        None => return Err("nobody can be asked here: name the disk with --device".to_owned()),
    };
    system::report(&mut terminal, image, &disk, config.as_ref(), said.as_deref())
}

/// Standard output and input as files.
fn terminal() -> std::io::Result<Terminal> {
    let open =
        |path: &str, write: bool| File::options().read(!write).write(write).open(Path::new(path));
    Ok(Terminal::new(open("/dev/stdout", true)?, open("/dev/stdin", false)?))
}
