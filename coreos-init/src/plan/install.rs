//! `[Install]` of a unit file, and the links that enabling the unit makes of it.

/// The section `[Install]`, its texts read in the order unit file, drop-ins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Install {
    aliases: Vec<String>,
    /// Directory suffix and target, such as `wants` and `multi-user.target`.
    wanted: Vec<(&'static str, String)>,
    /// Units that are enabled together with this one.
    pub(super) also: Vec<String>,
    default_instance: Option<String>,
}

/// What enabling a unit comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Links {
    /// Paths below the unit directory; each points at the unit file.
    pub(super) paths: Vec<String>,
    /// What of it cannot be done.
    pub(super) problems: Vec<String>,
}

/// The directories of dependencies, by key.
const DEPENDENCIES: [(&str, &str); 3] =
    [("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds")];

impl Install {
    pub(super) fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Install {
        let mut install = Install::default();
        for text in texts {
            let mut inside = false;
            for line in logical_lines(text) {
                if let Some(section) = line.strip_prefix('[') {
                    inside = section.trim_end() == "Install]";
                } else if let (true, Some((key, value))) = (inside, line.split_once('=')) {
                    install.set(key.trim(), value);
                }
            }
        }
        install
    }

    /// An assignment adds to the list; an empty one clears it.
    fn set(&mut self, key: &str, value: &str) {
        let words = value.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_string());
        let empty = value.trim().is_empty();
        match key {
            "Alias" if empty => self.aliases.clear(),
            "Alias" => self.aliases.extend(words),
            "Also" if empty => self.also.clear(),
            "Also" => self.also.extend(words),
            "DefaultInstance" => self.default_instance = Some(value.trim().to_string()),
            _ => {
                let Some((_, kind)) = DEPENDENCIES.iter().find(|(name, _)| *name == key) else {
                    return;
                };
                if empty {
                    self.wanted.retain(|(other, _)| other != kind);
                } else {
                    self.wanted.extend(words.map(|word| (*kind, word)));
                }
            }
        }
    }

    /// Whether there is anything to enable.
    pub(super) fn is_empty(&self) -> bool {
        self.aliases.is_empty() && self.wanted.is_empty() && self.also.is_empty()
    }

    /// The links that enable the unit `name`, which may be an instance of a template.
    pub(super) fn links(&self, name: &str) -> Links {
        let mut links = Links::default();
        let instance = match (Name::of(name), &self.default_instance) {
            (Some(Name { prefix, instance: Some(""), suffix }), Some(default)) => {
                Some(format!("{prefix}@{default}.{suffix}"))
            }
            (Some(Name { instance: Some(""), .. }), None) if !self.wanted.is_empty() => {
                links.problems.push(format!(
                    "`{name}` is a template without DefaultInstance=: enable an instance of it"
                ));
                None
            }
            _ => Some(name.to_string()),
        };
        for (kind, target) in &self.wanted {
            let Some(instance) = &instance else { break };
            match expand(target, instance) {
                Ok(target) => links.paths.push(format!("{target}.{kind}/{instance}")),
                Err(problem) => links.problems.push(problem),
            }
        }
        let shown = instance.as_deref().unwrap_or(name);
        for alias in &self.aliases {
            match expand(alias, shown) {
                Ok(alias) if alias == name => {}
                Ok(alias) if can_be_alias(&alias, name) => links.paths.push(alias),
                Ok(alias) => {
                    links.problems.push(format!("`{alias}` cannot be an alias of `{name}`"));
                }
                Err(problem) => links.problems.push(problem),
            }
        }
        links
    }
}

/// The units that are enabled together with one that says this.
pub(crate) fn also(text: &str) -> Vec<String> {
    Install::parse([text]).also
}

/// The file that a unit's name stands for if there is none of the name itself: an instance's
/// template.
pub(crate) fn template_of(name: &str) -> Option<String> {
    match Name::of(name)? {
        Name { prefix, instance: Some(instance), suffix } if !instance.is_empty() => {
            Some(format!("{prefix}@.{suffix}"))
        }
        _ => None,
    }
}

/// `prefix@instance.suffix` in its parts; the instance of a template is empty.
struct Name<'a> {
    prefix: &'a str,
    instance: Option<&'a str>,
    suffix: &'a str,
}

impl Name<'_> {
    fn of(name: &str) -> Option<Name<'_>> {
        let (stem, suffix) = name.rsplit_once('.')?;
        Some(match stem.split_once('@') {
            Some((prefix, instance)) => Name { prefix, instance: Some(instance), suffix },
            None => Name { prefix: stem, instance: None, suffix },
        })
    }
}

/// Whether a unit can have this second name: one of its own type, for an instance also one of
/// its template, and never another instance.
fn can_be_alias(alias: &str, name: &str) -> bool {
    let (Some(alias), Some(name)) = (Name::of(alias), Name::of(name)) else { return false };
    let instances = match (alias.instance, name.instance) {
        (None, None) => true,
        (Some(""), Some(_)) => true,
        (Some(alias), Some(name)) => alias == name,
        _ => false,
    };
    alias.suffix == name.suffix && instances
}

fn suffix(name: &str) -> Option<&str> {
    Some(name.rsplit_once('.')?.1)
}

/// Replaces the specifiers that stand for the unit's own name.
fn expand(word: &str, name: &str) -> Result<String, String> {
    let parts = Name::of(name);
    let parts = parts.as_ref();
    let mut out = String::new();
    let mut rest = word.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let specifier = rest.next();
        out.push_str(match (specifier, parts) {
            (Some('%'), _) => "%",
            (Some('n'), _) => name,
            (Some('N'), Some(_)) => name.rsplit_once('.').map_or(name, |(stem, _)| stem),
            (Some('p'), Some(parts)) => parts.prefix,
            (Some('i'), Some(parts)) => parts.instance.unwrap_or(""),
            _ => return Err(format!("the specifier in `{word}` is not known when enabling")),
        });
    }
    if out.is_empty() || out.contains('/') || suffix(&out).is_none() || out.starts_with('.') {
        return Err(format!("`{word}` in [Install] is no unit name"));
    }
    Ok(out)
}

/// The lines of a unit file without comments, continued lines joined.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with(['#', ';']) || (line.is_empty() && open.is_none()) {
            continue;
        }
        let mut whole = open.take().unwrap_or_default();
        if let Some(start) = line.strip_suffix('\\') {
            whole.push_str(start);
            whole.push(' ');
            open = Some(whole);
        } else {
            whole.push_str(line);
            lines.push(whole);
        }
    }
    lines.extend(open);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(name: &str, text: &str) -> Vec<String> {
        let links = Install::parse([text]).links(name);
        let problems = links.problems.into_iter().map(|problem| format!("! {problem}"));
        links.paths.into_iter().chain(problems).collect()
    }

    #[test]
    fn every_way_of_enabling_has_its_links() {
        let cases: &[(&str, &str, &[&str])] = &[
            (
                "a.service",
                "[Unit]\nWantedBy=no.target\n[Install]\nWantedBy=multi-user.target b.target\nRequiredBy=c.target\nUpheldBy=d.service\n",
                &[
                    "multi-user.target.wants/a.service",
                    "b.target.wants/a.service",
                    "c.target.requires/a.service",
                    "d.service.upholds/a.service",
                ],
            ),
            (
                "a.service",
                "[Install]\nAlias=b.service a.service c.socket\n",
                &["b.service", "! `c.socket` cannot be an alias of `a.service`"],
            ),
            (
                "a.service",
                "[Install]\nWantedBy=x.target\nWantedBy=\nWantedBy=y.target\n",
                &["y.target.wants/a.service"],
            ),
            (
                "a.service",
                "[Install]\nWantedBy=x.target \\\n  # remark\n  y.target\n",
                &["x.target.wants/a.service", "y.target.wants/a.service"],
            ),
            ("a.service", "[Install]\n# WantedBy=x.target\n;WantedBy=x.target\n", &[]),
            (
                "g@tty1.service",
                "[Install]\nWantedBy=getty.target\nAlias=a@%i.service a@.service a@b.service %p-%i.service\n",
                &[
                    "getty.target.wants/g@tty1.service",
                    "a@tty1.service",
                    "a@.service",
                    "! `a@b.service` cannot be an alias of `g@tty1.service`",
                    "! `g-tty1.service` cannot be an alias of `g@tty1.service`",
                ],
            ),
            (
                "g@.service",
                "[Install]\nWantedBy=getty.target\nDefaultInstance=tty1\n",
                &["getty.target.wants/g@tty1.service"],
            ),
            (
                "g@.service",
                "[Install]\nWantedBy=getty.target\n",
                &[
                    "! `g@.service` is a template without DefaultInstance=: enable an instance of it",
                ],
            ),
            (
                "a.service",
                "[Install]\nWantedBy=%H.target ../../x.target x\n",
                &[
                    "! the specifier in `%H.target` is not known when enabling",
                    "! `../../x.target` in [Install] is no unit name",
                    "! `x` in [Install] is no unit name",
                ],
            ),
            ("a.service", "", &[]),
        ];
        for (name, text, expected) in cases {
            assert_eq!(links(name, text), *expected, "{name}: {text}");
        }
    }

    #[test]
    fn drop_ins_add_to_the_unit_file() {
        let install =
            Install::parse(["[Install]\nWantedBy=a.target\n", "[Install]\nWantedBy=b.target\n"]);
        assert_eq!(
            install.links("x.service").paths,
            ["a.target.wants/x.service", "b.target.wants/x.service"]
        );
        assert!(Install::parse(["[Service]\nExecStart=/bin/true\n"]).is_empty());
    }

    #[test]
    fn instances_have_templates() {
        assert_eq!(template_of("a@b.service").as_deref(), Some("a@.service"));
        assert_eq!(template_of("a@.service"), None);
        assert_eq!(template_of("a.service"), None);
        assert_eq!(template_of("a"), None);
    }
}
