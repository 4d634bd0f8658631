//! `swap` and `mounts`: lines of fstab(5), which systemd makes units of, and the unit that makes
//! the file to swap to.

use cloud_config::{Config, Swap};

use super::{Draft, Origin, at, block};

const FSTAB: &str = "/etc/fstab";
const SERVICE: &str = "coreos-init-swapfile.service";
const SCRIPT: &str = "/etc/coreos-init/swapfile";

impl Draft<'_> {
    pub(super) fn storage(&mut self, config: &Config) {
        let mut lines = String::new();
        let mut origin = None;
        if let Some(swap) = &config.swap {
            let path = &swap.path.value;
            lines.push_str(&format!(
                "{path} none swap sw,nofail,x-systemd.requires={SERVICE} 0 0\n"
            ));
            origin.get_or_insert(at("swap", swap.path.span));
            self.swap_file(swap);
        }
        for mount in &config.mounts {
            lines.push_str(&mount.fields.join(" "));
            lines.push('\n');
            origin.get_or_insert(at("mounts", mount.span));
        }
        let existing = self.context.facts.fstab.as_ref();
        let base = existing.map_or("", |existing| existing.text.as_str());
        let text = block::with(base, &lines);
        if text == base {
            return;
        }
        let gone = Origin { section: "no longer configured", span: None, entry: None };
        self.put_edited(FSTAB, origin.unwrap_or(gone), existing, text, 0o644);
    }

    /// The unit that makes the file before it is swapped to.
    fn swap_file(&mut self, swap: &Swap) {
        let origin = at("swap", swap.path.span);
        let path = &swap.path.value;
        let directory = super::parent(path);
        let unit = format!(
            "[Unit]\n\
             Description=Make the swap file {path}\n\
             DefaultDependencies=no\n\
             RequiresMountsFor={directory}\n\
             Before=swap.target shutdown.target\n\
             Conflicts=shutdown.target\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             RemainAfterExit=yes\n\
             ExecStart=/bin/sh {SCRIPT}\n"
        );
        self.put_file(format!("/etc/systemd/system/{SERVICE}"), origin, unit, 0o644);
        self.put_file(SCRIPT.to_string(), origin, script(swap), 0o644);
    }
}

/// Makes the file anew if it is not there or has another size. Memory is counted up to the next
/// GiB, and `auto` leaves three quarters of the free space.
fn script(swap: &Swap) -> String {
    const MOST: u64 = 8 << 30;
    let size = match swap.size {
        Some(bytes) => format!("size={bytes}\n"),
        None => format!(
            "most={}\n\
             if [ -e \"$file\" ]; then exit 0; fi\n\
             while read -r name kib unit; do\n  \
             case $name in MemTotal:) size=$(( (kib + 1048575) / 1048576 * 1073741824 )) ;; esac\n\
             done </proc/meminfo\n\
             free=$(( $(df --output=avail -B1 \"${{file%/*}}\" | tail -n1) / 4 ))\n\
             [ \"$size\" -le \"$most\" ] || size=$most\n\
             [ \"$size\" -le \"$free\" ] || size=$(( free / 1048576 * 1048576 ))\n",
            swap.most.unwrap_or(MOST)
        ),
    };
    format!(
        "#!/bin/sh\n\
         # From `swap` of the cloud-config.\n\
         set -eu\n\
         file={path}\n\
         {size}\
         if [ -e \"$file\" ] && [ \"$(stat -c %s \"$file\")\" -eq \"$size\" ]; then exit 0; fi\n\
         umask 077\n\
         rm -f \"$file\" \"$file.new\"\n\
         fallocate -l \"$size\" \"$file.new\"\n\
         mkswap \"$file.new\" >/dev/null\n\
         mv \"$file.new\" \"$file\"\n",
        path = quoted(&swap.path.value),
    )
}

/// A word for a shell that takes it as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
