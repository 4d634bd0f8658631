//! What a machine says of its own provisioning: `report.json`, read leniently,
//! for it is another program's file and may know more than is known here.

use std::time::Duration;

use serde_json::Value;

/// Where the machine keeps it.
pub const PATH: &str = "/run/coreos-init/report.json";

/// The machine's report.
#[derive(Clone, Debug, PartialEq)]
pub struct Report(Value);

impl Report {
    /// Reads one. `None` if it is no JSON object with a status.
    pub fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        value.get("status")?.as_str()?;
        Some(Self(value))
    }

    /// What it came to: `provisioned`, `degraded` or `unconfigured`.
    pub fn status(&self) -> &str {
        text(&self.0, "status")
    }

    /// Whether the machine is as its config asks.
    pub fn is_provisioned(&self) -> bool {
        self.status() == "provisioned"
    }

    /// The kind of source that the config came from; empty if there was none.
    pub fn source(&self) -> &str {
        self.0.get("configuration").map_or("", |used| text(used, "source"))
    }

    /// Why the machine is not as its config asks, one line each.
    pub fn trouble(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.list("findings").filter(|one| one["error"] == true).map(finding).collect();
        lines.extend(self.list("failures").filter_map(Value::as_str).map(str::to_owned));
        for item in self.list("items") {
            if let Some(reason) = failure(item) {
                lines.push(format!("{}: {reason}", text(item, "path")));
            }
        }
        for job in self.list("jobs") {
            if let Some(reason) = failure(job) {
                lines.push(format!("{} {}: {reason}", text(job, "verb"), text(job, "unit")));
            }
        }
        for extension in self.list("extensions") {
            if let Some(reason) = failure(extension) {
                lines.push(format!("extension {}: {reason}", text(extension, "name")));
            }
        }
        lines
    }

    /// What is doubtful in the config, one line each.
    pub fn warnings(&self) -> Vec<String> {
        self.list("findings").filter(|one| one["error"] == false).map(finding).collect()
    }

    /// What became of a system extension: `verified`, `unverified`, or why it is not merged.
    pub fn extension(&self, name: &str) -> Option<&str> {
        let found = self.list("extensions").find(|one| text(one, "name") == name)?;
        failure(found).or_else(|| found["outcome"].as_str())
    }

    /// What was done and noticed, as a table for a person.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = vec![("status", self.status().to_owned())];
        let used = self.0.get("configuration").filter(|used| used.is_object());
        rows.push(("config", used.map_or("none found", |used| text(used, "place")).to_owned()));
        rows.extend(self.trouble().into_iter().map(|line| ("failed", line)));
        rows.extend(self.warnings().into_iter().map(|line| ("warning", line)));
        rows.extend(self.list("notes").filter_map(Value::as_str).map(|one| ("note", one.into())));
        for variable in self.list("variables") {
            let (name, value) = (text(variable, "name"), text(variable, "value"));
            rows.push(("address", format!("${name} = {value} ({})", text(variable, "origin"))));
        }
        for item in self.list("items").filter(|item| failure(item).is_none()) {
            rows.push(("file", format!("{} ({})", text(item, "path"), text(item, "outcome"))));
        }
        for job in self.list("jobs").filter(|job| failure(job).is_none()) {
            let (verb, unit) = (text(job, "verb"), text(job, "unit"));
            rows.push(("unit", format!("{verb} {unit} ({})", text(job, "outcome"))));
        }
        rows
    }

    /// How long each part of provisioning took, by the machine's own clock.
    pub fn stages(&self) -> Vec<(String, Duration)> {
        let took = |stage: &Value| {
            Some((
                text(stage, "name").to_owned(),
                Duration::from_millis(stage["duration_ms"].as_u64()?),
            ))
        };
        self.list("stages").filter_map(took).collect()
    }

    /// The most memory that provisioning used, in KiB.
    pub fn peak_memory(&self) -> Option<u64> {
        self.0["peak_memory_kib"].as_u64()
    }

    fn list(&self, key: &str) -> impl Iterator<Item = &Value> {
        self.0[key].as_array().into_iter().flatten()
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// The reason in an outcome that is `{"failed": reason}`.
fn failure(value: &Value) -> Option<&str> {
    value.pointer("/outcome/failed")?.as_str()
}

fn finding(one: &Value) -> String {
    let mut line = format!("user-data:{}:{}: {}", one["line"], one["column"], text(one, "message"));
    if let Some(hint) = one["hint"].as_str() {
        line.push_str("; ");
        line.push_str(hint);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"{
        "status": "degraded",
        "configuration": {"source": "disc", "place": "/dev/sr0 (config-2)", "name": "user-data"},
        "findings": [
            {"error": false, "line": 11, "column": 5, "message": "`units` is old", "hint": "move it"},
            {"error": true, "line": 4, "column": 2, "message": "unknown key `contnet`"}
        ],
        "failures": ["no lease on eth0"],
        "notes": ["content/0000 is not used"],
        "items": [
            {"path": "/etc/a", "section": "write_files", "outcome": "written"},
            {"path": "/etc/b", "section": "write_files", "outcome": {"failed": "no space"}}
        ],
        "variables": [{"name": "private_ipv4", "value": "10.0.2.15", "origin": "DHCP on eth0"}],
        "jobs": [
            {"unit": "etcd.service", "verb": "start", "line": 3, "outcome": "under-way"},
            {"unit": "x.service", "verb": "start", "line": 4, "outcome": {"failed": "it failed"}}
        ],
        "stages": [{"name": "initrd/root", "start_ms": 1500, "duration_ms": 40}],
        "peak_memory_kib": 9000,
        "of a later version": [1, 2]
    }"#;

    #[test]
    fn a_report_tells_what_was_done_and_what_was_not() {
        let report = Report::parse(REPORT).unwrap();
        assert!(!report.is_provisioned());
        assert_eq!(report.source(), "disc");
        let rows: Vec<String> =
            report.rows().into_iter().map(|(name, text)| format!("{name}: {text}")).collect();
        assert_eq!(
            rows,
            [
                "status: degraded",
                "config: /dev/sr0 (config-2)",
                "failed: user-data:4:2: unknown key `contnet`",
                "failed: no lease on eth0",
                "failed: /etc/b: no space",
                "failed: start x.service: it failed",
                "warning: user-data:11:5: `units` is old; move it",
                "note: content/0000 is not used",
                "address: $private_ipv4 = 10.0.2.15 (DHCP on eth0)",
                "file: /etc/a (written)",
                "unit: start etcd.service (under-way)",
            ]
        );
        assert_eq!(report.stages(), [("initrd/root".to_owned(), Duration::from_millis(40))]);
        assert_eq!(report.peak_memory(), Some(9000));
    }

    #[test]
    fn what_is_missing_is_empty_and_no_report_is_none() {
        let bare = Report::parse(r#"{"status": "unconfigured"}"#).unwrap();
        let rows = bare.rows();
        assert_eq!(rows, [("status", "unconfigured".into()), ("config", "none found".into())]);
        assert!(bare.trouble().is_empty() && bare.source().is_empty());
        for text in ["", "{", "[]", "{}", r#"{"status": 1}"#, "null"] {
            assert_eq!(Report::parse(text), None, "{text}");
        }
    }
}
