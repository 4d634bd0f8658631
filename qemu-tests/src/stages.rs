//! A console's stamped lines → how long each stage of the boot took.
//!
//! The host's clock decides. The kernel's own stamps (`[    1.234567] …`) only
//! help to place what it printed late, for the serial line is opened long
//! after it has started.

use std::time::Duration;

use crate::console::Line;

/// One stage of a boot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stage {
    /// What was at work.
    pub name: &'static str,
    /// How long.
    pub took: Duration,
}

/// The stages of one boot in their order. `login` is when somebody could log
/// in, `ready` when the machine said that it is provisioned. A stage whose end
/// does not show on the console is part of the next.
pub fn stages(lines: &[Line], login: Duration, ready: Duration) -> Vec<Stage> {
    let kernel_start = kernel_start(lines);
    let stub = first(lines, &["EFI stub"]);
    let initrd = first(lines, &["Run /init as init process"]).or(first(lines, &["coreos-init:"]));
    let systemd = first(lines, &["systemd[1]: systemd 2", "Welcome to "]);
    let placed = |line: Option<&Line>| {
        line.map(|line| match (kernel_start, stamp(&line.text)) {
            (Some(start), Some(stamp)) => start + stamp,
            _ => line.at,
        })
    };
    let ends = [
        ("firmware", stub.map(|line| line.at).or(kernel_start)),
        ("kernel", placed(initrd)),
        ("initrd", placed(systemd)),
        ("systemd, to ssh", Some(login)),
        ("provisioning, the rest", Some(ready)),
    ];
    let mut before = Duration::ZERO;
    let mut stages = Vec::new();
    for (name, end) in ends {
        if let Some(end) = end {
            stages.push(Stage { name, took: end.saturating_sub(before) });
            before = before.max(end);
        }
    }
    stages
}

/// When the kernel's clock started: no line can come before its stamp, and
/// some line came soon after it.
fn kernel_start(lines: &[Line]) -> Option<Duration> {
    lines.iter().filter_map(|line| line.at.checked_sub(stamp(&line.text)?)).min()
}

fn first<'a>(lines: &'a [Line], words: &[&str]) -> Option<&'a Line> {
    lines.iter().find(|line| words.iter().any(|word| line.text.contains(word)))
}

/// The kernel's stamp of a line.
fn stamp(text: &str) -> Option<Duration> {
    let (stamp, _) = text.strip_prefix('[')?.split_once(']')?;
    Duration::try_from_secs_f64(stamp.trim().parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: u64, text: &str) -> Line {
        Line { at: Duration::from_millis(at), text: text.to_owned() }
    }

    fn table(lines: &[Line], login: u64, ready: u64) -> Vec<(&'static str, u128)> {
        let stages = stages(lines, Duration::from_millis(login), Duration::from_millis(ready));
        stages.iter().map(|stage| (stage.name, stage.took.as_millis())).collect()
    }

    #[test]
    fn stages_end_at_the_lines_that_begin_the_next() {
        let lines = [
            line(3000, "BdsDxe: starting Boot0002"),
            line(4000, "EFI stub: Loaded initrd from LINUX_EFI_INITRD_MEDIA_GUID device path"),
            // All lines of the kernel's first second come at once.
            line(6500, "[    0.000000] Linux version 6.12"),
            line(6500, "[    1.500000] printk: console [ttyS0] enabled"),
            line(7500, "[    2.000000] Run /init as init process"),
            line(8000, "coreos-init: config disc /dev/sr0"),
            line(9000, "[    4.000000] systemd[1]: systemd 257.9 running in system mode"),
            line(9500, "Welcome to the system!"),
        ];
        assert_eq!(
            table(&lines, 20_000, 21_000),
            [
                ("firmware", 4000),
                ("kernel", 3000),
                ("initrd", 2000),
                ("systemd, to ssh", 11_000),
                ("provisioning, the rest", 1000)
            ]
        );
    }

    #[test]
    fn an_end_that_does_not_show_lengthens_the_next_stage() {
        let quiet = [line(9000, "coreos-init: no configuration")];
        assert_eq!(
            table(&quiet, 20_000, 20_000),
            [("kernel", 9000), ("systemd, to ssh", 11_000), ("provisioning, the rest", 0)]
        );
        assert_eq!(
            table(&[], 5000, 6000),
            [("systemd, to ssh", 5000), ("provisioning, the rest", 1000)]
        );
    }

    #[test]
    fn stages_add_up_to_the_whole_even_out_of_order() {
        let odd = [line(9000, "Welcome to "), line(9500, "EFI stub: again")];
        let total: u128 = table(&odd, 20_000, 19_000).iter().map(|(_, took)| took).sum();
        assert_eq!(total, 20_000);
    }

    #[test]
    fn only_the_kernels_stamps_are_stamps() {
        for (text, want) in [
            ("[    1.234567] x", Some(1_234_567)),
            ("[12345.000001] x", Some(12_345_000_001)),
            ("[  OK  ] Started", None),
            ("[  -1.0] x", None),
            ("[ inf ] x", None),
            ("no stamp", None),
        ] {
            assert_eq!(stamp(text).map(|s| s.as_micros()), want, "{text}");
        }
    }
}
