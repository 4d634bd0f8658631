//! What an installer was told beforehand: words on the kernel command line, or in a file that came
//! with it.

use std::path::PathBuf;

/// What words begin with.
const PREFIX: &str = "coreos.install.";

/// Which disk is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice {
    /// Somebody is asked.
    #[default]
    Ask,
    /// The only one that can be taken.
    Auto,
    /// This one.
    Named(PathBuf),
}

/// What happens afterwards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Finish {
    /// The machine starts anew.
    #[default]
    Reboot,
    /// The machine is switched off.
    PowerOff,
}

/// An unattended installation, or the lack of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// Which disk.
    pub device: Choice,
    /// The name of a disk that may hold data and is erased.
    pub force_erase: Option<String>,
    /// What happens afterwards.
    pub finish: Finish,
}

impl Words {
    /// Understands the words of this program; others are somebody else's. Later ones count.
    pub fn parse(text: &str) -> Result<Words, String> {
        let mut words = Words::default();
        for word in text.split_whitespace().filter_map(|word| word.strip_prefix(PREFIX)) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match (name, value) {
                ("device", "auto") => words.device = Choice::Auto,
                ("device", path) if path.starts_with("/dev/") => {
                    words.device = Choice::Named(path.into());
                }
                ("device", _) => return Err(told(word, "auto or a path such as /dev/vda")),
                ("force-erase", "") => return Err(told(word, "the name of a disk")),
                ("force-erase", name) => words.force_erase = Some(name.to_owned()),
                ("finish", "reboot") => words.finish = Finish::Reboot,
                ("finish", "poweroff") => words.finish = Finish::PowerOff,
                ("finish", _) => return Err(told(word, "reboot or poweroff")),
                _ => return Err(told(word, "device=, force-erase= or finish=")),
            }
        }
        Ok(words)
    }
}

fn told(word: &str, expected: &str) -> String {
    format!("{PREFIX}{word} makes no sense: expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_and_those_of_others_passed_over() {
        let words = Words::parse(
            "quiet coreos.install.device=/dev/sda x=y\ncoreos.install.force-erase=sda \
             coreos.install.finish=poweroff",
        );
        let device = Choice::Named("/dev/sda".into());
        let force_erase = Some("sda".to_owned());
        assert_eq!(words, Ok(Words { device, force_erase, finish: Finish::PowerOff }));
        assert_eq!(Words::parse("quiet splash"), Ok(Words::default()));
        assert_eq!(Words::parse("coreos.install.device=auto").map(|w| w.device), Ok(Choice::Auto));
    }

    #[test]
    fn a_word_that_makes_no_sense_stops_an_unattended_installation() {
        for (text, complaint) in [
            ("coreos.install.device=sda", "a path such as /dev/vda"),
            ("coreos.install.device", "a path such as /dev/vda"),
            ("coreos.install.force-erase=", "the name of a disk"),
            ("coreos.install.finish=later", "reboot or poweroff"),
            ("coreos.install.devcie=auto", "device=, force-erase= or finish="),
        ] {
            let error = Words::parse(text).expect_err(text);
            assert!(error.contains(complaint), "{error}");
        }
    }
}
