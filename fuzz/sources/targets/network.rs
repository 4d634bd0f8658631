//! Descriptions of networks in every language: findings have places, and what is understood can
//! be written for networkd with nothing in it that begins another line.
#![no_main]

use cloud_config::network::{Format, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let formats: Vec<_> = Format::all().collect();
    let format = formats[usize::from(*first) % formats.len()];
    let (network, findings) = parse(format, text);
    for finding in &findings {
        assert!(finding.span.start.line >= 1 && finding.span.start.column >= 1);
        assert!(!finding.line(format.name()).contains('\n'));
    }
    for (name, content) in network.to_networkd() {
        assert!(!name.contains('/') && name.len() < 128, "{name:?}");
        let sound = |line: &str| {
            line.is_empty()
                || (line.starts_with('[') && line.ends_with(']'))
                || line.split_once('=').is_some_and(|(key, _)| {
                    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric())
                })
        };
        assert!(content.lines().all(sound), "{content}");
        assert!(!content.contains('\r'), "{content:?}");
    }
    assert_eq!(parse(format, text), (network, findings));
});
