//! A build by nobody in particular: no capability, no loop device, nothing writable but the
//! output and the cache.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;
use support::checks::check_image;
use support::{Project, Run, content};

/// `nobody`.
const UID: u32 = 65_534;

/// Makes everything read-only but `$1`, puts nothing into /dev that a build could use, gives up
/// every right and goes on as nobody.
const CONFINE: &str = r#"
set -eu
mount --bind "$1" "$1"
mount -t tmpfs -o mode=0755 tmpfs /dev
mknod -m 666 /dev/null c 1 3
findmnt -rno TARGET | while read -r target; do
    case "$target" in
        "$1" | /proc* | /sys*) ;;
        *) mount -o remount,bind,ro "$target" 2>/dev/null || true ;;
    esac
done
shift
exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs \
    --bounding-set=-all --inh-caps=-all --ambient-caps=-all -- "$@"
"#;

fn confined(project: &Project, program: &[&str]) -> Run {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--", "sh", "-c", CONFINE, "sh"]);
    command.arg(project.path("work")).args(program);
    project.prepare(&mut command);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    Run::of(&mut command)
}

#[test]
fn a_build_needs_no_right_at_all() {
    let project = Project::new();
    let (image, arguments) = (env!("CARGO_BIN_EXE_image"), Project::build_arguments("work/output"));
    let arguments: Vec<String> = arguments
        .into_iter()
        .map(|argument| argument.replace("--cache=cache", "--cache=work/cache"))
        .collect();
    fs::create_dir(project.path("work")).unwrap();
    if !nix::unistd::geteuid().is_root() {
        println!("not root: built as this user, on writable file systems");
        Run::of(project.command().args(&arguments)).succeeded();
        check_image(&project.path("work/output"));
        return;
    }
    chown(project.path("work"), Some(UID), Some(UID)).unwrap();
    // Nobody may look into the directory of the test, and into those above the program.
    fs::set_permissions(project.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(image, project.path("image")).unwrap();
    let program = project.path("image");
    let program = program.to_str().unwrap();

    let may_not = "touch cannot 2>&1; ls /dev; grep Cap /proc/self/status; id -u";
    let run = confined(&project, &["sh", "-c", may_not]).succeeded();
    assert!(run.stdout.contains("Read-only file system"), "{}", run.stdout);
    assert!(run.stdout.contains("CapEff:\t0000000000000000"), "{}", run.stdout);
    assert!(run.stdout.contains("CapBnd:\t0000000000000000"), "{}", run.stdout);
    assert!(run.stdout.contains("\nnull\n") && !run.stdout.contains("loop"), "{}", run.stdout);
    assert!(run.stdout.ends_with("\n65534\n"), "{}", run.stdout);

    let words: Vec<&str> =
        [program].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    confined(&project, &words).succeeded();
    check_image(&project.path("work/output"));
    // The same bytes as by root: owners are not those of who builds.
    project.build(&[]).succeeded();
    let root = |output: &str| content(&project.path(&format!("{output}/coreos_1.2.3.root")));
    assert!(root("output").is_some() && root("work/output") == root("output"));
}

#[test]
fn another_path_user_and_time_give_the_same_build() {
    let (first, second) = (Project::new(), Project::new());
    first.build(&[]).succeeded();
    // Long before, in another time zone, with another mask.
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec faketime '2001-02-03 04:05:06' \"$@\"", "sh"]);
    command.arg(env!("CARGO_BIN_EXE_image")).args(Project::build_arguments("output"));
    second.prepare(&mut command);
    command.env("TZ", "Pacific/Auckland").env("LC_ALL", "C").env("SOURCE_DATE_EPOCH", "1");
    Run::of(&mut command).succeeded();
    for name in first.names("output").iter().filter(|name| *name != "stamp.json") {
        let path = format!("output/{name}");
        assert!(content(&first.path(&path)) == content(&second.path(&path)), "{name}");
    }
}

#[test]
fn a_build_is_verified_by_building_it_again() {
    let project = Project::new();
    project.build(&[]).succeeded();
    let verify = |project: &Project| {
        let arguments: Vec<String> = Project::build_arguments("unused")
            .into_iter()
            .filter(|argument| argument != "build" && !argument.starts_with("--output"))
            .collect();
        Run::of(project.command().args(["verify-build", "output"]).args(arguments))
    };
    let run = verify(&project).succeeded();
    let files = project.names("output").len() - 1;
    assert_eq!(run.stdout, format!("identical: {files} files\n"));
    assert!(!project.path("output.rebuilt").exists());

    // One byte of the root, in both of the files that have it.
    let raw = project.path("output/coreos.raw");
    let root = content(&project.path("output/coreos_1.2.3.root")).unwrap();
    let mut bytes = content(&raw).unwrap();
    let place = bytes.windows(4096).position(|window| window == &root[..4096]).unwrap();
    bytes[place + 5000] ^= 1;
    fs::write(&raw, bytes).unwrap();
    let run = verify(&project).failed(&format!("1 of {files} files are not as they were built"));
    assert!(run.stdout.contains("coreos.raw: differs\n  1 bytes from "), "{}", run.stdout);
    assert!(run.stdout.contains(", in root-a from 0x1388"), "{}", run.stdout);

    let nothing = Run::of(project.command().args(["verify-build", "overlay"]));
    nothing.failed("overlay holds no build");
}
