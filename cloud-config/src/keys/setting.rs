//! A setting of a service: its value, checked, as the environment of the service has it.

use crate::decoder::{Decoder, Text};
use crate::finding::quoted;
use crate::syntax::check::{self, Check};
use crate::tree::Entry;

/// Reads the value of a setting.
pub(super) fn setting(decoder: &mut Decoder<'_>, entry: &Entry, check: Check) -> Option<Text> {
    let mut text = decoder.entry_line(entry)?;
    if let Err(why) = check.check(text.probe()) {
        let mut message = format!("{} {why}", quoted(&entry.key.written));
        if check.may_show() && !text.value.is_empty() {
            message = format!("{message}, found {}", quoted(&text.value));
        }
        decoder.error(text.span, message);
        return None;
    }
    if let Some(flag) = check::flag(&text.value).filter(|_| check == Check::Flag) {
        text.value = flag.to_string();
    }
    Some(text)
}

/// The variable of a program for one of its options.
pub(super) fn variable(prefix: &str, option: &str) -> String {
    format!("{prefix}_{}", option.to_ascii_uppercase())
}

/// A value for a unit file, where systemd would expand a percent sign.
pub(super) fn without_specifiers(value: &str) -> String {
    value.replace('%', "%%")
}
