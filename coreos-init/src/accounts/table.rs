//! One account database: lines of fields between colons, each kept as it was written.

/// The text of one database. A line that does not parse is carried along, never matched.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    lines: Vec<String>,
    changed: bool,
}

impl Table {
    pub(super) fn parse(text: &str) -> Table {
        let text = text.strip_suffix('\n').unwrap_or(text);
        let lines =
            if text.is_empty() { Vec::new() } else { text.split('\n').map(String::from).collect() };
        Table { lines, changed: false }
    }

    /// The new text, if anything was changed.
    pub(super) fn text(&self) -> Option<String> {
        self.changed.then(|| self.lines.iter().map(|line| format!("{line}\n")).collect())
    }

    /// The fields of every entry, in order.
    pub(super) fn rows(&self) -> impl Iterator<Item = Vec<&str>> {
        self.lines.iter().map(|line| line.split(':').collect::<Vec<_>>()).filter(|r| r.len() > 1)
    }

    /// The fields of the first entry of that name; the first is what the C library uses.
    pub(super) fn row(&self, name: &str) -> Option<Vec<&str>> {
        self.rows().find(|row| row[0] == name)
    }

    pub(super) fn push(&mut self, fields: &[&str]) {
        self.lines.push(fields.join(":"));
        self.changed = true;
    }

    /// Sets one field of an entry; an entry that ends before it is filled up.
    pub(super) fn set(&mut self, name: &str, field: usize, value: &str) {
        let Some(line) = self.lines.iter_mut().find(|line| is_entry(line, name)) else { return };
        let mut fields: Vec<&str> = line.split(':').collect();
        if fields.len() <= field {
            fields.resize(field + 1, "");
        }
        if fields[field] != value {
            fields[field] = value;
            *line = fields.join(":");
            self.changed = true;
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        let before = self.lines.len();
        self.lines.retain(|line| !is_entry(line, name));
        self.changed |= self.lines.len() != before;
    }

    /// Whether `member` is in the comma-separated list that is the last field of an entry.
    pub(super) fn has_member(&self, name: &str, member: &str) -> bool {
        self.row(name).is_some_and(|row| members(&row).any(|m| m == member))
    }

    pub(super) fn add_member(&mut self, name: &str, member: &str) {
        let Some(row) = self.row(name) else { return };
        if !members(&row).any(|m| m == member) {
            let list: Vec<&str> = members(&row).chain([member]).collect();
            let list = list.join(",");
            self.set(name, MEMBERS, &list);
        }
    }

    pub(super) fn remove_member(&mut self, name: &str, member: &str) {
        let Some(row) = self.row(name) else { return };
        if members(&row).any(|m| m == member) {
            let list: Vec<&str> = members(&row).filter(|m| *m != member).collect();
            let list = list.join(",");
            self.set(name, MEMBERS, &list);
        }
    }
}

/// The field of `group` and of `gshadow` that lists the members.
const MEMBERS: usize = 3;

/// The members of a group's entry.
pub(super) fn members<'a>(row: &[&'a str]) -> impl Iterator<Item = &'a str> {
    row.get(MEMBERS).copied().unwrap_or("").split(',').filter(|member| !member.is_empty())
}

fn is_entry(line: &str, name: &str) -> bool {
    line.split_once(':').is_some_and(|(first, _)| first == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_it_does_not_understand() {
        let text = "# a comment\nroot:x:0:0:root:/root:/bin/sh\n\nnonsense\nbob:x:7\n";
        let mut table = Table::parse(text);
        assert_eq!(table.text(), None);
        table.set("bob", 4, "Bob");
        assert_eq!(
            table.text().unwrap(),
            "# a comment\nroot:x:0:0:root:/root:/bin/sh\n\nnonsense\nbob:x:7::Bob\n"
        );
    }

    #[test]
    fn setting_what_is_set_changes_nothing() {
        let mut table = Table::parse("wheel:x:10:bob");
        table.set("wheel", 2, "10");
        table.add_member("wheel", "bob");
        table.remove_member("wheel", "eve");
        table.remove("nobody");
        assert_eq!(table.text(), None);
    }

    #[test]
    fn members_come_and_go_in_order() {
        let mut table = Table::parse("wheel:x:10:\n");
        for member in ["bob", "eve", "bob", "ann"] {
            table.add_member("wheel", member);
        }
        assert_eq!(table.text().unwrap(), "wheel:x:10:bob,eve,ann\n");
        table.remove_member("wheel", "eve");
        assert_eq!(table.text().unwrap(), "wheel:x:10:bob,ann\n");
    }

    #[test]
    fn an_empty_text_has_no_lines() {
        let mut table = Table::parse("");
        table.push(&["a", "b"]);
        assert_eq!(table.text().unwrap(), "a:b\n");
    }
}
