//! What the installer asks somebody: which disk, and the name of one that is not empty.

use crate::judge::{Refusal, judge};
use crate::size;
use crate::survey::Disk;
use crate::terminal::Talk;

/// What somebody chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This disk; erased under this name, if it holds anything.
    Disk(Box<Disk>, Option<String>),
    /// To look for disks again.
    Again,
    /// Nothing: leave.
    Leave,
}

/// One line about a disk.
pub fn line(disk: &Disk, needs: u64) -> String {
    let mut about = vec![size(disk.size)];
    about.extend([disk.model.clone(), disk.serial.clone()].into_iter().filter(|s| !s.is_empty()));
    if disk.removable {
        about.push("removable".to_owned());
    }
    match judge(disk, needs, None) {
        Ok(()) => about.push("empty".to_owned()),
        Err(Refusal::HoldsData { data, .. }) => about.push(format!("holds {data}")),
        Err(refusal) => about.push(format!("cannot be taken: {refusal}")),
    }
    format!("{:10} {}", disk.name, about.join(", "))
}

/// Asks for a disk out of `disks`.
pub fn choose(talk: &mut impl Talk, disks: &[Disk], needs: u64) -> Answer {
    talk.say("");
    talk.say("Disks of this machine:");
    for (index, disk) in disks.iter().enumerate() {
        talk.say(&format!("  {}) {}", index + 1, line(disk, needs)));
    }
    if disks.is_empty() {
        talk.say("  none");
    }
    let question = "Install on which disk? (its number or name; r looks again, q leaves)";
    loop {
        let Some(answer) = talk.ask(question) else { return Answer::Leave };
        let disk = match answer.as_str() {
            "" => continue,
            "r" => return Answer::Again,
            "q" => return Answer::Leave,
            other => {
                let number = other.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                let name = other.trim_start_matches("/dev/");
                let named = disks.iter().find(|disk| disk.name == name);
                named.or_else(|| number.and_then(|index| disks.get(index)))
            }
        };
        let Some(disk) = disk else {
            talk.say(&format!("There is no disk {answer}."));
            continue;
        };
        match judge(disk, needs, None) {
            Ok(()) => return Answer::Disk(Box::new(disk.clone()), None),
            Err(Refusal::HoldsData { data, name }) => {
                talk.say(&format!("{name} holds {data}. All of it will be lost."));
                let question = format!("Type the name of the disk, {name}, to erase it:");
                match talk.ask(&question) {
                    None => return Answer::Leave,
                    Some(said) if said == name => {
                        return Answer::Disk(Box::new(disk.clone()), Some(said));
                    }
                    Some(_) => talk.say("That is not its name; nothing was written."),
                }
            }
            Err(refusal) => talk.say(&format!("{refusal}.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Somebody who answers, and what was said to them.
    struct Somebody {
        answers: VecDeque<&'static str>,
        heard: String,
    }

    impl Talk for Somebody {
        fn say(&mut self, line: &str) {
            self.heard.push_str(&format!("{line}\n"));
        }
        fn show(&mut self, _line: &str) {}
        fn ask(&mut self, question: &str) -> Option<String> {
            self.say(question);
            self.answers.pop_front().map(str::to_owned)
        }
    }

    fn disk(name: &str, data: Option<&str>) -> Disk {
        Disk {
            name: name.to_owned(),
            node: format!("/dev/{name}").into(),
            size: 10 << 30,
            sector: 512,
            read_only: false,
            removable: false,
            model: "Old Disk".to_owned(),
            serial: "42".to_owned(),
            uses: Vec::new(),
            data: data.map(str::to_owned),
        }
    }

    fn ask(answers: &[&'static str]) -> (Answer, String) {
        let mut somebody =
            Somebody { answers: answers.iter().copied().collect(), heard: String::new() };
        let used = Disk { uses: vec!["sdc is swap".to_owned()], ..disk("sdc", None) };
        let disks = [disk("sda", None), disk("sdb", Some("2 partitions")), used];
        (choose(&mut somebody, &disks, 8 << 30), somebody.heard)
    }

    #[test]
    fn an_empty_disk_is_taken_by_number_or_name() {
        for answer in ["1", "sda", "/dev/sda"] {
            let (chosen, heard) = ask(&["", answer]);
            assert_eq!(chosen, Answer::Disk(Box::new(disk("sda", None)), None));
            assert!(heard.contains("1) sda        10.7 GB, Old Disk, 42, empty\n"), "{heard}");
            assert!(heard.contains("holds 2 partitions\n"), "{heard}");
        }
    }

    #[test]
    fn a_disk_with_data_is_taken_only_by_its_typed_name() {
        let (chosen, heard) = ask(&["2", "yes", "2", "sdb"]);
        let wanted = disk("sdb", Some("2 partitions"));
        assert_eq!(chosen, Answer::Disk(Box::new(wanted), Some("sdb".to_owned())));
        assert!(heard.contains("That is not its name"), "{heard}");
    }

    #[test]
    fn the_wrong_answer_is_told_and_asked_again() {
        let (chosen, heard) = ask(&["7", "0", "vda", "3", "q"]);
        assert_eq!(chosen, Answer::Leave);
        for complaint in ["There is no disk 7.", "There is no disk 0.", "There is no disk vda."] {
            assert!(heard.contains(complaint), "{heard}");
        }
        assert!(heard.contains("sdc is in use: sdc is swap."), "{heard}");
        assert_eq!(ask(&["r"]).0, Answer::Again);
        assert_eq!(ask(&[]).0, Answer::Leave);
    }
}
