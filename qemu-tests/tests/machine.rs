//! A machine with nothing on its disk: firmware is enough to try its console
//! and its buttons.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use qemu_tests::{Accelerator, Error, Firmware, Hardware, Mark};

/// Firmware alone, on a busy host.
const LIMIT: Duration = Duration::from_secs(240);

fn hardware(machines: &Path) -> Hardware {
    let image = machines.join("empty.raw");
    fs::write(&image, vec![0; 1 << 20]).unwrap();
    let firmware = Firmware::find(Path::new(qemu_tests::firmware::FOLDER)).unwrap();
    Hardware::new(machines, "empty", &image, Accelerator::Tcg, &firmware).unwrap()
}

/// One boot asks everything: emulated firmware takes its time.
#[test]
fn an_empty_machine_reaches_the_firmware_shell_and_obeys() {
    let machines = tempfile::tempdir().unwrap();
    let mut hardware = hardware(machines.path()).memory(512).isolated().screen();
    hardware.add_disk(16).unwrap();
    let folder = hardware.folder().to_owned();
    let machine = hardware.boot(None).unwrap();
    let console = machine.console();

    console.wait_for(&["Shell>"], Mark::default(), LIMIT).unwrap();
    let mark = console.mark();
    console.type_in("map\r").unwrap();
    console.wait_for(&["BLK0:"], mark, LIMIT).unwrap();
    let blocks = machine.control().command("query-block", &serde_json::json!({})).unwrap();
    assert!(blocks.to_string().contains("disk-1.qcow2"), "{blocks}");

    let error = machine.log_in(Duration::from_millis(300)).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains("Shell>"), "{error}");

    let picture = machines.path().join("screen.ppm");
    machine.picture(&picture).unwrap();
    assert!(fs::read(&picture).unwrap().starts_with(b"P6"));

    assert_eq!(machine.resets(), 0);
    machine.reset().unwrap();
    machine.wait_for_reset(0, LIMIT).unwrap();

    let port = machine.target().address.port();
    assert!(TcpListener::bind(("127.0.0.1", port)).is_err());
    assert!(machine.is_on());
    let hardware = machine.power_cut();
    TcpListener::bind(("127.0.0.1", port)).unwrap();

    // The same hardware again: its logs go on.
    let machine = hardware.boot(None).unwrap();
    machine.control().command("quit", &serde_json::json!({})).unwrap();
    machine.wait_off(LIMIT).unwrap();
    let error = machine.console().wait_for(&["login:"], Mark::default(), LIMIT).unwrap_err();
    assert!(matches!(error, Error::Stopped { .. }), "{error}");
    let times = fs::read_to_string(folder.join("console.times")).unwrap();
    assert_eq!(times.matches("--- power on").count(), 2);
}

#[test]
fn what_qemu_refuses_is_told_in_its_words() {
    let machines = tempfile::tempdir().unwrap();
    let missing = machines.path().join("missing.iso");
    let error = hardware(machines.path()).disc(Some(missing)).boot(None).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("missing.iso") && text.contains("No such file"), "{text}");
}

#[test]
fn a_missing_image_is_named_and_leaves_no_disk() {
    let machines = tempfile::tempdir().unwrap();
    let firmware = Firmware::find(Path::new(qemu_tests::firmware::FOLDER)).unwrap();
    let image = machines.path().join("coreos.raw");
    let made = Hardware::new(machines.path(), "none", &image, Accelerator::Tcg, &firmware);
    let error = made.unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("make image"), "{error}");
    assert!(!machines.path().join("none/disk.qcow2").exists());
}
