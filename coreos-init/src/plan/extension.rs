//! `coreos.extensions`: what systemd-sysext finds, and what it is checked by.

use cloud_config::{Config, Extension, ExtensionSource, Span};

use super::{Draft, Effect, InstalledUnit, in_entry};
use crate::extension::merged::Expected;
use crate::extension::{MERGED, path_of};

impl Draft<'_> {
    pub(super) fn extensions(&mut self, config: &Config) {
        for extension in &config.extensions {
            let name = &extension.name.value;
            if let Some(Err(why)) = self.context.extensions.get(name) {
                self.error(
                    span_of(extension),
                    format!("the extension `{name}` is not used: {why}"),
                );
                continue;
            }
            let origin = in_entry("coreos.extensions", extension.name.span, extension.span);
            let target = path_of(extension);
            self.put(format!("{MERGED}/{name}.raw"), origin, Effect::Link { target });
            // Where systemd looks for it: beside the image, by its name.
            if let Some(hash) = &extension.root_hash {
                let text = format!("{}\n", hash.value);
                self.put_file(format!("{MERGED}/{name}.roothash"), origin, text, 0o644);
            }
            // Of two with one name the last counts.
            self.extensions.retain(|earlier| earlier.name != *name);
            self.extensions.push(expected(extension));
        }
    }

    /// A unit that an extension brings: it is there once the extension is merged.
    pub(super) fn unit_of_extension(&self, name: &str) -> Option<&InstalledUnit> {
        let ready = self.context.extensions.values().filter_map(|prepared| prepared.as_ref().ok());
        ready.filter_map(|ready| ready.units.get(name)).next()
    }
}

fn expected(extension: &Extension) -> Expected {
    Expected {
        name: extension.name.value.clone(),
        line: Some(extension.name.span.start.line).filter(|line| *line > 0),
        sha256: match &extension.source {
            ExtensionSource::Remote(remote) => Some(remote.sha256.clone()),
            ExtensionSource::File { .. } => None,
        },
        root_hash: extension.root_hash.as_ref().map(|hash| hash.value.clone()),
    }
}

fn span_of(extension: &Extension) -> Span {
    match &extension.source {
        ExtensionSource::Remote(remote) => remote.span,
        ExtensionSource::File { span, .. } => *span,
    }
}
