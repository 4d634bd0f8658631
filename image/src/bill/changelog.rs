//! Faults that a package's changelog says were mended, by version: `deb-changelog(5)`.

use std::collections::BTreeSet;
use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::Fixes;

/// The longest changelog that is read, unpacked: the kernel's has less than half.
const LONGEST: u64 = 16 << 20;
/// Versions that are kept: those of some years.
const VERSIONS: usize = 60;

/// The versions that mended faults, the newest first; plain text or gzip.
pub(super) fn fixes(bytes: &[u8]) -> Vec<Fixes> {
    let mut text = Vec::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        // What of a damaged one can be read is better than nothing.
        let _ = MultiGzDecoder::new(bytes).take(LONGEST).read_to_end(&mut text);
    } else {
        text = bytes.to_vec();
    }
    let mut found: Vec<Fixes> = Vec::new();
    let mut versions = 0;
    for line in String::from_utf8_lossy(&text).lines() {
        if let Some(version) = heading(line) {
            versions += 1;
            if versions > VERSIONS {
                break;
            }
            found.push(Fixes { version: version.to_owned(), cves: BTreeSet::new() });
        } else if let Some(last) = found.last_mut() {
            last.cves.extend(cves(line));
        }
    }
    found.retain(|fixes| !fixes.cves.is_empty());
    found
}

/// The version of `name (version) distribution; urgency=low`.
fn heading(line: &str) -> Option<&str> {
    if line.starts_with(char::is_whitespace) {
        return None;
    }
    let (_, rest) = line.split_once(" (")?;
    let (version, rest) = rest.split_once(')')?;
    rest.contains(';').then_some(version)
}

/// Identifiers in a line: `CVE-`, a year, a number.
fn cves(line: &str) -> impl Iterator<Item = String> {
    line.match_indices("CVE-").filter_map(|(at, _)| {
        let rest = &line[at + 4..];
        let (year, rest) = rest.split_once('-')?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let good = year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()) && digits > 0;
        good.then(|| format!("CVE-{year}-{}", &rest[..digits]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, GzBuilder};
    use std::io::Write as _;

    const TEXT: &str = "openssl (3.5.1-1+deb13u2) trixie-security; urgency=high\n\n  \
        * CVE-2026-0001 (Bad), see also CVE-2026-12345.\n  * CVE-x, CVE-20-1, CVE-2026-\n\n \
        -- A <a@b>  Thu, 26 Nov 2026 10:00:00 +0000\n\n\
        openssl (3.5.1-1) unstable; urgency=low\n\n  * New version.\n\n \
        -- A <a@b>  Thu, 25 Nov 2026 10:00:00 +0000\n\n\
        openssl (3.5.0-1) unstable; urgency=low\n\n  * Fix CVE-2025-7.\n";

    #[test]
    fn faults_belong_to_the_version_that_mended_them() {
        let mut packed = GzBuilder::new().write(Vec::new(), Compression::default());
        packed.write_all(TEXT.as_bytes()).expect("memory");
        let packed = packed.finish().expect("memory");
        for bytes in [TEXT.as_bytes(), &packed] {
            let found = fixes(bytes);
            let versions: Vec<&str> = found.iter().map(|fixes| fixes.version.as_str()).collect();
            assert_eq!(versions, ["3.5.1-1+deb13u2", "3.5.0-1"]);
            let cves: Vec<&str> = found[0].cves.iter().map(String::as_str).collect();
            assert_eq!(cves, ["CVE-2026-0001", "CVE-2026-12345"]);
        }
        assert!(fixes(&packed[..packed.len() / 2]).len() <= 2);
        assert!(fixes(b"\x1f\x8b rubbish").is_empty());
    }
}
