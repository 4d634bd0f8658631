//! The bill as CycloneDX 1.5, in JSON.

use disk::guid::Guid;
use serde_json::{Value, json};

use super::{Bill, Item, Subject, purl, time};

/// The document.
pub(super) fn document(bill: &Bill, subject: &Subject<'_>) -> String {
    let Subject { id, name, version, suite, root_hash, epoch } = *subject;
    let serial = Guid::derive(root_hash.as_bytes(), "bill of materials");
    let components: Vec<Value> =
        bill.packages.iter().map(|(name, item)| component(name, item, suite)).collect();
    let contained: Vec<String> =
        bill.packages.iter().map(|(name, item)| purl(name, item, suite)).collect();
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": format!("urn:uuid:{serial}"),
        "version": 1,
        "metadata": {
            "timestamp": time(epoch),
            "tools": { "components": [{ "type": "application", "name": "image" }] },
            "component": {
                "type": "operating-system",
                "bom-ref": id,
                "name": name,
                "version": version,
            },
        },
        "components": components,
        "dependencies": [{ "ref": id, "dependsOn": contained }],
    });
    let mut text = serde_json::to_string_pretty(&document).expect("maps with string keys");
    text.push('\n');
    text
}

fn component(name: &str, item: &Item, suite: &str) -> Value {
    let address = purl(name, item, suite);
    let licences: Vec<Value> = item
        .licences
        .iter()
        .map(|licence| {
            // What SPDX does not know has a name, not an identifier.
            match licence.strip_prefix("LicenseRef-") {
                Some(name) => json!({ "license": { "name": name } }),
                None => json!({ "license": { "id": licence } }),
            }
        })
        .collect();
    let mut component = json!({
        "type": "library",
        "bom-ref": address,
        "name": name,
        "version": item.version,
        "purl": address,
        "description": item.description,
        "publisher": item.maintainer,
        "properties": [
            { "name": "source", "value": item.source },
            { "name": "source-version", "value": item.source_version },
        ],
    });
    if !licences.is_empty() {
        component["licenses"] = json!(licences);
    }
    if !item.homepage.is_empty() {
        component["externalReferences"] = json!([{ "type": "website", "url": item.homepage }]);
    }
    component
}
