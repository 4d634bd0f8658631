//! Several boots, one table: what each stage takes, and how it varies.

use std::process::ExitCode;
use std::time::Duration;

use qemu_tests::provisioning::{self, Provisioned};
use qemu_tests::{Accelerator, Result};

use super::options::MachineOptions;
use super::{native, table};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many boots
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    boots: u32,
}

/// One row: a stage, and its duration in each boot that had it.
type Row = (String, Vec<Duration>);

pub(crate) fn run(wanted: &MachineOptions, options: &Options) -> Result<ExitCode> {
    let limit = Duration::from_secs(wanted.time_limit);
    // Before any QEMU: the kernel tells the most memory of all children together.
    let native = native::rows(&wanted.workspace(), &wanted.config())?;
    let mut boots = Vec::new();
    let mut accelerator = Accelerator::Tcg;
    for number in 1..=options.boots {
        let hardware = wanted.hardware("bench")?;
        accelerator = hardware.accelerator();
        let machine = hardware.boot(None)?;
        let boot = provisioning::wait(&machine, limit)?;
        println!("boot {number}: {} in {:.1} s", boot.report.status(), boot.at.as_secs_f64());
        boots.push(boot);
        machine.power_cut();
    }
    println!(
        "\nfrom power-on, with {accelerator}: median (least to most) of {} boots",
        boots.len()
    );
    print!("{}", table::rows(lines(&outer(&boots))));
    println!("\nprovisioning itself, by the machine's clock");
    print!("{}", table::rows(lines(&inner(&boots))));
    let memory = boots.iter().filter_map(|boot| boot.report.peak_memory()).max();
    print!("{}", table::rows(memory.map(|kib| ("memory", format!("{kib} KiB at most")))));
    println!("\ncoreos-init on this host, mean of many runs");
    print!("{}", table::rows(native));
    let provisioned = boots.iter().all(|boot| boot.report.is_provisioned());
    Ok(if provisioned { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The stages by the host's clock, and the whole.
fn outer(boots: &[Provisioned]) -> Vec<Row> {
    let mut rows = Vec::new();
    for boot in boots {
        for stage in &boot.stages {
            add(&mut rows, stage.name, stage.took);
        }
    }
    for boot in boots {
        add(&mut rows, "all, to provisioned", boot.at);
    }
    rows
}

/// The stages by the machine's clock.
fn inner(boots: &[Provisioned]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, took) in boots.iter().flat_map(|boot| boot.report.stages()) {
        add(&mut rows, &name, took);
    }
    rows
}

fn add(rows: &mut Vec<Row>, name: &str, took: Duration) {
    match rows.iter_mut().find(|(known, _)| known == name) {
        Some((_, all)) => all.push(took),
        None => rows.push((name.to_owned(), vec![took])),
    }
}

fn lines(rows: &[Row]) -> impl Iterator<Item = (&str, String)> {
    rows.iter().map(|(name, all)| {
        let mut sorted = all.clone();
        sorted.sort();
        // A row is made with its first duration.
        let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
        let median = table::duration(sorted[sorted.len() / 2]);
        let (least, most) = (table::duration(least), table::duration(most));
        (name.as_str(), format!("{median}  ({} to {})", least.trim(), most.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_median_and_the_extremes() {
        let mut rows = Vec::new();
        for milliseconds in [300, 100, 200] {
            add(&mut rows, "kernel", Duration::from_millis(milliseconds));
        }
        add(&mut rows, "initrd", Duration::from_secs(2));
        let lines: Vec<_> = lines(&rows).collect();
        assert_eq!(lines[0], ("kernel", "   200 ms  (100 ms to 300 ms)".to_owned()));
        assert_eq!(lines[1], ("initrd", "   2.0 s  (2.0 s to 2.0 s)".to_owned()));
    }
}
